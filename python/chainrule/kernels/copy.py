"""Copies between views of any strides, one value everywhere, fresh memory. Floating, integer and bool dtypes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from chainrule import _core

__all__ = ["copy", "empty", "fill", "full"]

Array = np.ndarray[Any, Any]


def copy(x: Array, out: Array | None = None) -> Array:
    """The elements of x in C order; or written to ``out``, to whose shape x broadcasts.

    ``out`` may be any view of x's dtype whose elements don't share memory; where it overlaps x, x is read first.
    TypeError for another dtype, ValueError for a shape that doesn't fit and for an ``out`` that can't be written.
    """
    return _core.copy(x, out)


def fill(out: Array, value: Any) -> Array:
    """``value``, a number, everywhere in ``out``, which may be any view whose elements don't share memory."""
    return _core.fill(out, value)


def empty(shape: Sequence[int], dtype: Any = np.float32) -> Array:
    """Whatever the memory holds: an array from the pool, aligned to 64 bytes."""
    return _core.empty(shape, np.dtype(dtype))


def full(shape: Sequence[int], value: Any, dtype: Any = np.float32) -> Array:
    """``value``, a number, everywhere in a fresh array."""
    return _core.fill(_core.empty(shape, np.dtype(dtype)), value)
