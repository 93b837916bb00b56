"""Pooling over the last two axes of arrays (batch, channels, height, width).

Windows are PyTorch's: ``kernel_size``, ``stride`` (default: the kernel's size), ``padding`` (at most half of the
window) and ``dilation`` are ints or pairs (height, width). An axis of n elements gives
``floor((n + 2 padding - dilation (kernel - 1) - 1) / stride) + 1`` outputs; with ``ceil_mode`` ceil instead of floor,
without a last window that would start in the padding at the end.

Images may lie in either memory format, contiguous or channels_last (docs/memory-formats.md): y and the indices have
that of x, dx has that of dy; indices that lie otherwise than x or dy are copied. x and dy are float32 or float64,
indices int64.

All raise TypeError for a wrong dtype and ValueError for a wrong rank, shape or window, naming the argument.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from chainrule import _core

__all__ = [
    "adaptive_avg_pool2d",
    "adaptive_avg_pool2d_backward",
    "avg_pool2d",
    "avg_pool2d_backward",
    "max_pool2d",
    "max_pool2d_backward",
    "max_pool2d_gather",
]

Array = np.ndarray
Size = int | Sequence[int]


def max_pool2d(
    x: Array,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    return_indices: bool = True,
) -> tuple[Array, Array | None]:
    """The largest element of each window, and its int64 position in its plane, row * width + column, in either memory
    format (None unless ``return_indices``).

    The first of equal elements is taken; a NaN is larger than any number, the last one counts. Padding is never taken.
    A window without elements (only a dilated one can be) gives -inf and -1.
    """
    return _core.max_pool2d(x, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def max_pool2d_backward(dy: Array, indices: Array, input_shape: Sequence[int]) -> Array:
    """Gradient of :func:`max_pool2d`: dx[indices] += dy in every plane, in the order of the outputs.

    dy and the int64 indices have one shape; ``input_shape`` is x's. ValueError for an index outside the plane.
    """
    return _core.max_pool2d_backward(dy, indices, input_shape)


def max_pool2d_gather(x: Array, indices: Array) -> Array:
    """Gradient of :func:`max_pool2d_backward` with respect to dy: x[indices] in every plane (0 for index -1)."""
    return _core.max_pool2d_gather(x, indices)


def avg_pool2d(
    x: Array,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Array:
    """The sum of each window over its number of elements.

    Padding counts as elements unless ``count_include_pad`` is False (a window of ceil_mode that reaches past
    the padding counts only up to it); ``divisor_override`` divides by one number everywhere. Taps are added row by row.
    """
    return _core.avg_pool2d(x, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)


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
    """Gradient of :func:`avg_pool2d` for x of shape ``input_shape``: each dy / divisor, added over its window."""
    return _core.avg_pool2d_backward(
        dy, input_shape, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override
    )


def adaptive_avg_pool2d(x: Array, output_size: Size) -> Array:
    """Averages over a grid of ``output_size`` bins; bin i of O over n elements: [floor(i n/O), ceil((i+1) n/O))."""
    return _core.adaptive_avg_pool2d(x, output_size)


def adaptive_avg_pool2d_backward(dy: Array, input_shape: Sequence[int]) -> Array:
    """Gradient of :func:`adaptive_avg_pool2d` for x of shape ``input_shape``; dy's last two sizes are the bins."""
    return _core.adaptive_avg_pool2d_backward(dy, input_shape)
