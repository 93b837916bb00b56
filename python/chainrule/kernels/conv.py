"""Convolutions of images (batch, channels, height, width), and their gradients.

Images may lie in either memory format, contiguous (NCHW) or channels_last (NHWC): docs/memory-formats.md. y has the
format of x, dx that of dy; weights and their gradients are contiguous. All arrays have one dtype, float32 or float64.

``stride``, ``padding`` (zeros on every side) and ``dilation`` are ints or pairs (height, width). The weight is
(cout, cin / groups, kh, kw); an axis of n elements gives
floor((n + 2 padding - dilation (kernel - 1) - 1) / stride) + 1 outputs.
The order of every sum is fixed by the shapes alone: docs/numerics.md.

All raise TypeError for a wrong dtype and ValueError for shapes or options that don't fit, naming the argument.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from chainrule import _core

__all__ = ["conv2d", "conv2d_backward_bias", "conv2d_backward_input", "conv2d_backward_weight"]

Array = np.ndarray
Size = int | Sequence[int]


def conv2d(
    x: Array,
    weight: Array,
    bias: Array | None = None,
    stride: Size = 1,
    padding: Size = 0,
    dilation: Size = 1,
    groups: int = 1,
    activation: str = "none",
    residual: Array | None = None,
) -> Array:
    """y[n, o, v, u] = f(bias[o] + residual[n, o, v, u] + sum over c, ky, kx of weight[o, c, ky, kx] x[n, c, iy, ix]).

    iy = v stride - padding + ky dilation, ix likewise; c runs over the cin / groups channels of o's group. f is one of
    the activations of :func:`chainrule.kernels.linear`. ``residual`` has the shape of y, in either memory format. It
    is added after the bias, with the bits of an addition afterwards. Every size but the kernel's and cout may be 0.
    """
    return _core.conv2d(x, weight, bias, stride, padding, dilation, groups, activation, residual)


def conv2d_backward_input(
    dy: Array,
    weight: Array,
    input_shape: Sequence[int],
    stride: Size = 1,
    padding: Size = 0,
    dilation: Size = 1,
    groups: int = 1,
) -> Array:
    """Gradient of :func:`conv2d` with respect to x: dy (batch, cout, oh, ow) spread back through the weight.

    Of shape ``input_shape``, in the memory format of dy.
    """
    return _core.conv2d_backward_input(dy, weight, input_shape, stride, padding, dilation, groups)


def conv2d_backward_weight(
    dy: Array,
    x: Array,
    weight_shape: Sequence[int],
    stride: Size = 1,
    padding: Size = 0,
    dilation: Size = 1,
    groups: int = 1,
) -> Array:
    """Gradient of :func:`conv2d` with respect to the weight: dy times x at every tap.

    Of shape ``weight_shape``, contiguous. dy is copied where it doesn't lie as x does.
    """
    return _core.conv2d_backward_weight(dy, x, weight_shape, stride, padding, dilation, groups)


def conv2d_backward_bias(dy: Array) -> Array:
    """Gradient of :func:`conv2d` with respect to the bias, (cout,): dy's sum over batch, height and width."""
    return _core.conv2d_backward_bias(dy)
