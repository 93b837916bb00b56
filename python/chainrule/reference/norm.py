"""Twins of the normalisations."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from chainrule.reference.matmul import ACTIVATIONS

__all__ = ["batch_norm", "batch_norm_backward", "layer_norm", "layer_norm_backward"]

Array = Any  # NumPy arrays; NumPy annotates what its functions return as Any


def _standard(x: Array, axis: int | tuple[int, ...], eps: float) -> tuple[Array, Array, Array]:
    mean = np.mean(x, axis, keepdims=True)
    variance = np.mean((x - mean) ** 2, axis, keepdims=True)
    return mean, 1 / np.sqrt(variance + eps), variance


def layer_norm(
    x: Array, weight: Array | None = None, bias: Array | None = None, eps: float = 1e-5, axes: int = 1
) -> tuple[Array, Array, Array]:
    mean, rstd, _ = _standard(x, tuple(range(x.ndim - axes, x.ndim)), eps)
    y = (x - mean) * rstd
    y = y if weight is None else y * weight
    outer = x.shape[: x.ndim - axes]
    return y if bias is None else y + bias, mean.reshape(outer), rstd.reshape(outer)


def layer_norm_backward(
    dy: Array,
    x: Array,
    mean: Array,
    rstd: Array,
    weight: Array | None = None,
    axes: int = 1,
    needs: tuple[bool, bool, bool] = (True, True, True),
) -> tuple[Array | None, Array | None, Array | None]:
    inner = tuple(range(x.ndim - axes, x.ndim))
    outer = tuple(range(x.ndim - axes))
    wide = (*mean.shape, *(1,) * axes)
    h = (x - mean.reshape(wide)) * rstd.reshape(wide)
    g = dy if weight is None else dy * weight
    n = math.prod(x.shape[a] for a in inner)
    dx = rstd.reshape(wide) * (g - np.sum(g, inner, keepdims=True) / n - h * np.sum(g * h, inner, keepdims=True) / n)
    grads = dx, np.sum(dy * h, outer), np.sum(dy, outer)
    return tuple(d if need else None for d, need in zip(grads, needs, strict=True))  # type: ignore[return-value]


def _channels(x: Array, *per_channel: Array | None) -> list[Array]:
    """Arrays of one number per channel, shaped to broadcast with x; 1 for None."""
    wide = [-1 if a == 1 else 1 for a in range(x.ndim)]
    return [np.ones((), x.dtype) if p is None else p.reshape(wide) for p in per_channel]


def _affine(h: Array, weight: Array | None, bias: Array | None) -> Array:
    (w,) = _channels(h, weight)
    return h * w if bias is None else h * w + _channels(h, bias)[0]


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
    others = tuple(a for a in range(x.ndim) if a != 1)
    if training:
        mean, rstd, variance = _standard(x, others, eps)
        m = x.size // x.shape[1] if x.shape[1] else 2
        if running_mean is not None:
            running_mean[:] = (1 - momentum) * running_mean + momentum * mean.reshape(-1)
        if running_var is not None:
            running_var[:] = (1 - momentum) * running_var + momentum * variance.reshape(-1) * (m / (m - 1))
    else:
        mean, variance = _channels(x, running_mean, running_var)
        rstd = 1 / np.sqrt(variance + eps)
    y = _affine((x - mean) * rstd, weight, bias)
    if residual is not None:
        y = y + residual
    return ACTIVATIONS[activation][0](y), mean.reshape(-1), rstd.reshape(-1)


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
) -> tuple[Array | None, Array | None, Array | None]:
    others = tuple(a for a in range(x.ndim) if a != 1)
    mu, r, w = _channels(x, mean, rstd, weight)
    h = (x - mu) * r
    if activation == "relu":
        dy = dy * (_affine(h, weight, bias) > 0)
    m = max(1, x.size // max(1, x.shape[1]))
    dbias, dweight = np.sum(dy, others, keepdims=True), np.sum(dy * h, others, keepdims=True)
    dx = w * r * (dy - dbias / m - h * dweight / m) if training else w * r * dy
    grads = dx, dweight.reshape(-1), dbias.reshape(-1)
    return tuple(d if need else None for d, need in zip(grads, needs, strict=True))  # type: ignore[return-value]
