"""Sliding windows in NumPy, shared by the twins of pools and convolutions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

Array = np.ndarray
Size = int | Sequence[int]
Pair = tuple[int, int]


def pair(x: Size) -> Pair:
    """(x, x) for an int, a pair as it is."""
    return (x, x) if isinstance(x, (int, np.integer)) else (int(x[0]), int(x[-1]))


def pad_to_windows(
    x: Array, out: Pair, kernel: Pair, stride: Pair, padding: Pair, dilation: Pair, fill: float
) -> Array:
    """x with `padding` in front, and enough behind that every window lies inside."""
    widths = [(0, 0)] * (x.ndim - 2)
    for axis in (0, 1):
        need = (out[axis] - 1) * stride[axis] + (kernel[axis] - 1) * dilation[axis] + 1
        size = x.shape[axis - 2]
        widths.append((padding[axis], max(0, need - size - padding[axis])))
    return np.pad(x, widths, constant_values=fill)


def taps(padded: Array, out: Pair, kernel: Pair, stride: Pair, dilation: Pair) -> Iterator[tuple[int, int, Array]]:
    """(ky, kx, view): for each tap, row by row, the elements that all windows see there, of shape (..., *out)."""
    for ky in range(kernel[0]):
        for kx in range(kernel[1]):
            top, left = ky * dilation[0], kx * dilation[1]
            rows = slice(top, top + (out[0] - 1) * stride[0] + 1, stride[0])
            columns = slice(left, left + (out[1] - 1) * stride[1] + 1, stride[1])
            yield ky, kx, padded[..., rows, columns]
