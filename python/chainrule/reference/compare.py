"""Twins of the comparisons and casts."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["cast", "eq", "ge", "gt", "le", "logical_and", "logical_or", "logical_xor", "lt", "ne"]

Array = Any  # NumPy arrays; NumPy annotates what its functions return as Any
Operand = Any


def cast(x: Array, dtype: Any) -> Array:
    to = np.dtype(dtype)
    if x.dtype.kind != "f" or to.kind not in "iu":
        return x.astype(to)
    whole = np.dtype(np.int64) if to.kind == "u" else to  # a uint8 is the low byte of an int64
    low = np.iinfo(whole).min
    fits = (x >= low) & (x < -float(low))
    return np.where(fits, np.trunc(np.where(fits, x, 0)).astype(whole), low).astype(to)


def eq(a: Operand, b: Operand) -> Array:
    return np.equal(a, b)


def ne(a: Operand, b: Operand) -> Array:
    return np.not_equal(a, b)


def lt(a: Operand, b: Operand) -> Array:
    return np.less(a, b)


def le(a: Operand, b: Operand) -> Array:
    return np.less_equal(a, b)


def gt(a: Operand, b: Operand) -> Array:
    return np.greater(a, b)


def ge(a: Operand, b: Operand) -> Array:
    return np.greater_equal(a, b)


def logical_and(a: Operand, b: Operand) -> Array:
    return np.logical_and(a, b)


def logical_or(a: Operand, b: Operand) -> Array:
    return np.logical_or(a, b)


def logical_xor(a: Operand, b: Operand) -> Array:
    return np.logical_xor(a, b)
