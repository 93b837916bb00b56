"""Twins of the pooling kernels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from chainrule.reference.window import Array, Pair, Size, pad_to_windows, pair, taps

__all__ = [
    "adaptive_avg_pool2d",
    "adaptive_avg_pool2d_backward",
    "avg_pool2d",
    "avg_pool2d_backward",
    "max_pool2d",
    "max_pool2d_backward",
    "max_pool2d_gather",
]


def _outputs(size: int, kernel: int, stride: int, padding: int, dilation: int, ceil_mode: bool) -> int:
    room = size + 2 * padding - dilation * (kernel - 1) - 1
    out = (room + (stride - 1 if ceil_mode else 0)) // stride + 1
    return out - 1 if ceil_mode and (out - 1) * stride >= size + padding else out


def _grid(shape: Sequence[int], kernel: Pair, stride: Pair, padding: Pair, dilation: Pair, ceil_mode: bool) -> Pair:
    h, w = (_outputs(shape[i - 2], kernel[i], stride[i], padding[i], dilation[i], ceil_mode) for i in (0, 1))
    return h, w


def max_pool2d(
    x: Array,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    return_indices: bool = True,
) -> tuple[Array, Array | None]:
    k, p, d = pair(kernel_size), pair(padding), pair(dilation)
    s = k if stride is None else pair(stride)
    out = _grid(x.shape, k, s, p, d, ceil_mode)
    places = np.arange(x.shape[2] * x.shape[3], dtype=np.int64).reshape(x.shape[2:])
    where = pad_to_windows(places, out, k, s, p, d, -1)  # -1: padding
    values = pad_to_windows(x, out, k, s, p, d, 0)
    best = np.full((*x.shape[:2], *out), -np.inf, x.dtype)
    indices = np.full(best.shape, -1, np.int64)
    for (_, _, v), (_, _, at) in zip(taps(values, out, k, s, d), taps(where, out, k, s, d), strict=True):
        take = (at >= 0) & ((indices < 0) | (v > best) | np.isnan(v))
        best, indices = np.where(take, v, best), np.where(take, at, indices)
    return best, indices if return_indices else None


def max_pool2d_backward(dy: Array, indices: Array, input_shape: Sequence[int]) -> Array:
    n, c, h, w = input_shape
    dx = np.zeros((n, c, h * w), dy.dtype)
    for place in np.ndindex(*indices.shape[2:]):
        at = indices[(slice(None), slice(None), *place)]
        image, channel = np.nonzero(at >= 0)
        dx[image, channel, at[image, channel]] += dy[(image, channel, *place)]
    return dx.reshape(n, c, h, w)


def max_pool2d_gather(x: Array, indices: Array) -> Array:
    n, c = x.shape[:2]
    flat = indices.reshape(n, c, indices.shape[2] * indices.shape[3])
    y = np.take_along_axis(x.reshape(n, c, x.shape[2] * x.shape[3]), np.maximum(flat, 0), axis=2)
    return np.where(flat >= 0, y, np.zeros((), x.dtype)).reshape(indices.shape)


def _divisors(
    shape: Sequence[int], out: Pair, k: Pair, s: Pair, p: Pair, count_include_pad: bool, override: int | None
) -> Array:
    if override is not None:
        return np.full(out, override)
    counts = []
    for axis in (0, 1):
        size = shape[axis - 2]
        start = np.arange(out[axis]) * s[axis] - p[axis]
        end = np.minimum(start + k[axis], size + p[axis])
        counts.append(end - start if count_include_pad else np.minimum(end, size) - np.maximum(start, 0))
    return counts[0][:, None] * counts[1]


def avg_pool2d(
    x: Array,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Array:
    k, p, d = pair(kernel_size), pair(padding), (1, 1)
    s = k if stride is None else pair(stride)
    out = _grid(x.shape, k, s, p, d, ceil_mode)
    padded = pad_to_windows(x, out, k, s, p, d, 0)
    y: Array = np.zeros((*x.shape[:2], *out), x.dtype)
    for _, _, v in taps(padded, out, k, s, d):
        y += v
    y /= _divisors(x.shape, out, k, s, p, count_include_pad, divisor_override).astype(x.dtype)
    return y


def avg_pool2d_backward(
    dy: Array,
    input_shape: Sequence[int],
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Array:
    k, p, d = pair(kernel_size), pair(padding), (1, 1)
    s = k if stride is None else pair(stride)
    out = _grid(input_shape, k, s, p, d, ceil_mode)
    each = dy / _divisors(input_shape, out, k, s, p, count_include_pad, divisor_override).astype(dy.dtype)
    dx = pad_to_windows(np.zeros(tuple(input_shape), dy.dtype), out, k, s, p, d, 0)
    for _, _, v in taps(dx, out, k, s, d):
        v += each
    return np.ascontiguousarray(dx[:, :, p[0] : p[0] + input_shape[2], p[1] : p[1] + input_shape[3]])


def _bins(size: int, bins: int) -> list[slice]:
    return [slice(i * size // bins, -(-(i + 1) * size // bins)) for i in range(bins)]


def adaptive_avg_pool2d(x: Array, output_size: Size) -> Array:
    out = pair(output_size)
    y = np.zeros((*x.shape[:2], *out), x.dtype)
    for i, rows in enumerate(_bins(x.shape[2], out[0])):
        for j, columns in enumerate(_bins(x.shape[3], out[1])):
            y[:, :, i, j] = x[:, :, rows, columns].mean(axis=(2, 3))
    return y


def adaptive_avg_pool2d_backward(dy: Array, input_shape: Sequence[int]) -> Array:
    dx = np.zeros(tuple(input_shape), dy.dtype)
    for i, rows in enumerate(_bins(input_shape[2], dy.shape[2])):
        for j, columns in enumerate(_bins(input_shape[3], dy.shape[3])):
            area = (rows.stop - rows.start) * (columns.stop - columns.start)
            dx[:, :, rows, columns] += (dy[:, :, i, j] / area)[:, :, None, None]
    return dx
