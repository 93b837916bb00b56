"""Normalisation of rows and of channels.

All arrays have one dtype, float32 or float64. All raise TypeError for another one and ValueError for shapes or options
that don't fit, naming the argument.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from chainrule import _core

__all__ = ["batch_norm", "batch_norm_backward", "layer_norm", "layer_norm_backward"]

Array = np.ndarray[Any, Any]
Grads = tuple[Array | None, Array | None, Array | None]


def layer_norm(
    x: Array, weight: Array | None = None, bias: Array | None = None, eps: float = 1e-5, axes: int = 1
) -> tuple[Array, Array, Array]:
    """(x - mean) rstd weight + bias over the last ``axes`` axes; rstd = 1 / sqrt(var + eps), var of correction 0.

    weight and bias have the shape of those axes. Returns y, mean and rstd (of the other axes' shape), all contiguous.
    """
    return _core.layer_norm(x, weight, bias, eps, axes)


def layer_norm_backward(
    dy: Array,
    x: Array,
    mean: Array,
    rstd: Array,
    weight: Array | None = None,
    axes: int = 1,
    needs: tuple[bool, bool, bool] = (True, True, True),
) -> Grads:
    """dx, dweight and dbias of :func:`layer_norm`; None for those that ``needs`` leaves out."""
    return _core.layer_norm_backward(dy, x, mean, rstd, weight, axes, needs)


def batch_norm(
    x: Array,
    weight: Array | None = None,
    bias: Array | None = None,
    running_mean: Array | None = None,
    running_var: Array | None = None,
    training: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
    residual: Array | None = None,
    activation: str = "none",
) -> tuple[Array, Array, Array]:
    """f((x - mean) rstd weight + bias + residual) for each channel of x (batch, channels, ...).

    The parameters are (channels,). f is one of the activations of :func:`chainrule.kernels.linear`. ``residual`` has
    the shape of x; images may lie in either memory format. It is added after the bias; it and f give the bits of an
    addition and an activation afterwards.
    Training uses the batch's own mean and variance (correction 0), and moves ``running_mean`` and ``running_var``
    (correction 1) towards them by ``momentum``, in place; else those two are used. Returns y, and mean and rstd
    (channels,). Images, x of four dimensions, may lie in either memory format, which y then has too; its choice changes
    the order of sums (docs/numerics.md).
    ValueError for a channel of fewer than two values in training.
    """
    return _core.batch_norm(x, weight, bias, running_mean, running_var, training, momentum, eps, residual, activation)


def batch_norm_backward(
    dy: Array,
    x: Array,
    mean: Array,
    rstd: Array,
    weight: Array | None = None,
    training: bool = True,
    needs: tuple[bool, bool, bool] = (True, True, True),
    bias: Array | None = None,
    activation: str = "none",
) -> Grads:
    """dx, dweight and dbias of :func:`batch_norm`; None for those that ``needs`` leaves out.

    ``activation`` is "none" or "relu". With relu, dy is the gradient of the activation's result; where that was 0 is
    seen from x and the forward pass's weight and ``bias`` (else not used); it had no residual.
    dx of images has the memory format of x; dy is copied where it doesn't lie so.
    """
    return _core.batch_norm_backward(dy, x, mean, rstd, weight, training, needs, bias, activation)
