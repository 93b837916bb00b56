"""Comparisons to bool, and casts between dtypes: float32, float64, int32, int64, uint8, bool.

Comparisons broadcast as NumPy's do and read any view where it lies. Both operands have one dtype; one of them may be a
number that this dtype holds. TypeError for another dtype, ValueError for shapes that don't broadcast.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from chainrule import _core

__all__ = ["cast", "eq", "ge", "gt", "le", "logical_and", "logical_or", "logical_xor", "lt", "ne"]

Array = np.ndarray[Any, Any]
Operand = Any  # an array, or a number where the other is an array


def cast(x: Array, dtype: Any) -> Array:
    """x in another dtype. Floats become integers towards zero, what isn't zero True.

    NaN and floats that are out of range give the lowest int32 or int64; in uint8 the low byte of that int64.
    """
    return _core.cast(x, np.dtype(dtype))


def eq(a: Operand, b: Operand) -> Array:
    """Where a == b."""
    return _core.eq(a, b)


def ne(a: Operand, b: Operand) -> Array:
    """Where a != b: NaN is unequal to itself."""
    return _core.ne(a, b)


def lt(a: Operand, b: Operand) -> Array:
    """Where a < b."""
    return _core.lt(a, b)


def le(a: Operand, b: Operand) -> Array:
    """Where a <= b."""
    return _core.le(a, b)


def gt(a: Operand, b: Operand) -> Array:
    """Where a > b."""
    return _core.gt(a, b)


def ge(a: Operand, b: Operand) -> Array:
    """Where a >= b."""
    return _core.ge(a, b)


def logical_and(a: Operand, b: Operand) -> Array:
    """Where neither is zero."""
    return _core.logical_and(a, b)


def logical_or(a: Operand, b: Operand) -> Array:
    """Where one isn't zero."""
    return _core.logical_or(a, b)


def logical_xor(a: Operand, b: Operand) -> Array:
    """Where exactly one isn't zero."""
    return _core.logical_xor(a, b)
