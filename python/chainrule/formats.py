"""Memory formats: in which order the elements of images (batch, channels, height, width) lie.

``channels_last`` keeps a pixel's channels together, ``contiguous_format`` is C order. Shapes, indices and values don't
depend on it; strides, and the speed of some layers, do. What a format means: docs/memory-formats.md.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from chainrule import _core, kernels

__all__ = ["channels_last", "channels_last_3d", "contiguous_format", "memory_format", "preserve_format"]

Array = np.ndarray[Any, Any]


class memory_format:
    """The type of the formats."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return f"chainrule.{self._name}"

    def __reduce__(self) -> str:
        return self._name  # as None or a class: the one that there is


contiguous_format = memory_format("contiguous_format")
preserve_format = memory_format("preserve_format")
channels_last = memory_format("channels_last")
channels_last_3d = memory_format("channels_last_3d")  # of volumes, which chainrule has no operations for: refused

_LAST = (0, 2, 3, 1)  # channels_last as a permutation, and back
_FIRST = (0, 3, 1, 2)


def checked(op: str, wanted: Any, ndim: int | None = None, preserve: bool = True) -> memory_format:
    """The format that an argument names; refuses one that a tensor of that rank can't have."""
    if not isinstance(wanted, memory_format):
        raise TypeError(f"{op}: argument 'memory_format' is {wanted!r}, want a chainrule.memory_format")
    if wanted is channels_last_3d:
        raise RuntimeError(f"{op}: argument 'memory_format' is chainrule.channels_last_3d, which is not supported")
    if wanted is preserve_format and not preserve:
        raise RuntimeError(f"{op}: preserve memory format is unsupported by the {op} operator")
    if wanted is channels_last and ndim is not None and ndim != 4:
        raise RuntimeError(
            f"required rank 4 tensor to use channels_last format ({op}: argument 'memory_format', rank {ndim})"
        )
    return wanted


def empty(shape: tuple[int, ...], dtype: Any, wanted: memory_format = contiguous_format) -> Array:
    """Whatever the memory holds, in a format other than preserve_format."""
    if wanted is not channels_last:
        return kernels.empty(shape, dtype)
    return kernels.empty([shape[d] for d in _LAST], dtype).transpose(_FIRST)


def empty_like(array: Array, dtype: Any, wanted: memory_format = preserve_format) -> Array:
    """Whatever the memory holds, in the shape of an array."""
    if wanted is not preserve_format:
        return empty(array.shape, dtype, wanted)
    made: Array = _core.empty_like(array, np.dtype(dtype))
    return made


def copy(array: Array, wanted: memory_format = preserve_format) -> Array:
    """A copy in memory of its own."""
    if wanted is contiguous_format:
        return kernels.copy(array)
    return kernels.copy(array, empty_like(array, array.dtype, wanted))


def is_dense(array: Array) -> bool:
    """Whether the elements lie together, in whatever order; False may also mean an odd stride of a size of 1."""
    if array.flags.c_contiguous:
        return True
    return array.strides == tuple([s * array.itemsize for s in _core.dense_strides(array)])


def is_contiguous(array: Array, wanted: memory_format) -> bool:
    """Whether the elements lie in this order; sizes of 1 don't matter."""
    if wanted is contiguous_format:
        return bool(array.flags.c_contiguous)
    return array.ndim == 4 and bool(array.transpose(_LAST).flags.c_contiguous)


def format_of(array: Array) -> memory_format:
    """channels_last where the strides, as they are written, put the channels inside of the pixels: the kernels' rule.

    So images of one channel or one pixel have a format too, and so have views that leave out some pixels.
    """
    return channels_last if _core.is_channels_last(array) else contiguous_format


Order = tuple[int, ...]


def order_of(array: Array) -> Order:
    """The dimensions from the slowest to the fastest, as in a dense array that lies as this one."""
    strides = _core.dense_strides(array)
    return tuple(sorted(range(array.ndim), key=lambda d: (-strides[d], array.shape[d] == 1)))


def in_order(order: Order, shape: tuple[int, ...], make: Callable[[tuple[int, ...]], Array]) -> Array:
    """An array of that shape whose memory is what ``make`` gives for the sizes in that order."""
    place = [0] * len(order)
    for i, d in enumerate(order):
        place[d] = i
    return make(tuple([shape[d] for d in order])).transpose(place)
