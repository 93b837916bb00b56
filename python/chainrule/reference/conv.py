"""Twins of the convolutions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from chainrule.reference.matmul import ACTIVATIONS
from chainrule.reference.window import Array, Pair, Size, pad_to_windows, pair, taps

__all__ = ["conv2d", "conv2d_backward_bias", "conv2d_backward_input", "conv2d_backward_weight"]


def _window(
    x_shape: Sequence[int], w_shape: Sequence[int], stride: Size, padding: Size, dilation: Size
) -> tuple[Pair, Pair, Pair, Pair, Pair]:
    """(out, kernel, stride, padding, dilation)."""
    k, s, p, d = (int(w_shape[2]), int(w_shape[3])), pair(stride), pair(padding), pair(dilation)
    out = [(x_shape[i + 2] + 2 * p[i] - d[i] * (k[i] - 1) - 1) // s[i] + 1 for i in (0, 1)]
    return (out[0], out[1]), k, s, p, d


def _grouped(x: Array, groups: int) -> Array:
    """(batch, channels, h, w) as (batch, groups, channels / groups, h, w)."""
    return x.reshape(x.shape[0], groups, x.shape[1] // groups, *x.shape[2:])


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
    out, k, s, p, d = _window(x.shape, weight.shape, stride, padding, dilation)
    padded = _grouped(pad_to_windows(x, out, k, s, p, d, 0), groups)
    w = weight.reshape(groups, weight.shape[0] // groups, *weight.shape[1:])
    z = np.zeros((x.shape[0], groups, w.shape[1], *out), x.dtype)
    for ky, kx, seen in taps(padded, out, k, s, d):
        z += np.einsum("goc,ngcvu->ngovu", w[..., ky, kx], seen)
    z = z.reshape(x.shape[0], weight.shape[0], *out)
    if bias is not None:
        z = z + bias[:, None, None]
    if residual is not None:
        z = z + residual
    return ACTIVATIONS[activation][0](z)


def conv2d_backward_input(
    dy: Array,
    weight: Array,
    input_shape: Sequence[int],
    stride: Size = 1,
    padding: Size = 0,
    dilation: Size = 1,
    groups: int = 1,
) -> Array:
    out, k, s, p, d = _window(input_shape, weight.shape, stride, padding, dilation)
    padded = pad_to_windows(np.zeros(tuple(input_shape), dy.dtype), out, k, s, p, d, 0)
    w = weight.reshape(groups, weight.shape[0] // groups, *weight.shape[1:])
    for ky, kx, seen in taps(_grouped(padded, groups), out, k, s, d):
        seen += np.einsum("goc,ngovu->ngcvu", w[..., ky, kx], _grouped(dy, groups))
    return np.ascontiguousarray(padded[:, :, p[0] : p[0] + input_shape[2], p[1] : p[1] + input_shape[3]])


def conv2d_backward_weight(
    dy: Array,
    x: Array,
    weight_shape: Sequence[int],
    stride: Size = 1,
    padding: Size = 0,
    dilation: Size = 1,
    groups: int = 1,
) -> Array:
    out, k, s, p, d = _window(x.shape, weight_shape, stride, padding, dilation)
    padded = _grouped(pad_to_windows(x, out, k, s, p, d, 0), groups)
    dw: Array = np.zeros((groups, weight_shape[0] // groups, *weight_shape[1:]), x.dtype)
    for ky, kx, seen in taps(padded, out, k, s, d):
        dw[..., ky, kx] = np.einsum("ngovu,ngcvu->goc", _grouped(dy, groups), seen)
    return dw.reshape(tuple(weight_shape))


def conv2d_backward_bias(dy: Array) -> Array:
    db: Array = dy.sum(axis=(0, 2, 3))
    return db
