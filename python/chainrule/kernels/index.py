"""Reading and writing by index along an axis, triangles, running sums.

Indices are int64 or int32. Results are fresh; what writes does so in place, into a C-contiguous ``y``, and returns it.
Elements that are moved may have any dtype, those that are added float32 or float64. ValueError for an index that is out
of range or a shape that doesn't fit, TypeError for another dtype.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from chainrule import _core

__all__ = [
    "cumsum",
    "gather",
    "index_add",
    "index_copy",
    "index_places",
    "index_select",
    "scatter",
    "scatter_add",
    "tril",
    "triu",
]

Array = np.ndarray[Any, Any]


def index_places(index: Array, n: int, base: Array | None = None, from_end: bool = True) -> Array:
    """base * n + index, with an index in [-n, n) counted from the end where negative: places in what two axes merge to.

    Both broadcast. Without ``base`` (int64 places of the axes before) it is 0. ``from_end`` False: want [0, n).
    """
    return _core.index_places(index, n, base, from_end)


def index_select(x: Array, index: Array, axis: int = 0) -> Array:
    """The entries ``index`` (one dimension, in [0, n)) of x along ``axis``."""
    return _core.index_select(x, index, axis)


def index_copy(y: Array, index: Array, source: Array, axis: int = 0) -> Array:
    """The entries ``index`` of y along ``axis`` replaced by those of ``source``; of duplicates the last stays."""
    return _core.index_copy(y, index, source, axis)


def index_add(y: Array, index: Array, source: Array, axis: int = 0) -> Array:
    """The entries of ``source`` added to the entries ``index`` of y along ``axis``, in the order of the index."""
    return _core.index_add(y, index, source, axis)


def gather(x: Array, index: Array, axis: int) -> Array:
    """Along ``axis`` the elements that ``index`` names; its shape is x's but for that axis."""
    return _core.gather(x, index, axis)


def scatter(y: Array, index: Array, source: Array, axis: int) -> Array:
    """Elements of y along ``axis`` replaced by those of ``source``, of index's shape; of duplicates the last stays."""
    return _core.scatter(y, index, source, axis)


def scatter_add(y: Array, index: Array, source: Array, axis: int) -> Array:
    """Elements of ``source`` added to those of y that ``index`` names along ``axis``, in the order of the index."""
    return _core.scatter_add(y, index, source, axis)


def cumsum(x: Array, axis: int) -> Array:
    """Running sums along ``axis``, added in order."""
    return _core.cumsum(x, axis)


def tril(x: Array, diagonal: int = 0) -> Array:
    """The lower triangle of the last two axes: zeros above ``diagonal``."""
    return _core.tril(x, diagonal)


def triu(x: Array, diagonal: int = 0) -> Array:
    """The upper triangle of the last two axes: zeros below ``diagonal``."""
    return _core.triu(x, diagonal)
