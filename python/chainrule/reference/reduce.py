"""Twins of the reductions."""

from __future__ import annotations

import builtins
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

__all__ = ["amax", "amin", "argmax", "argmin", "max", "mean", "min", "sum", "var_mean"]

Array = Any  # NumPy arrays; NumPy annotates what its functions return as Any
Axes = int | Sequence[int] | None


def _tuple(axis: Axes) -> int | tuple[int, ...] | None:
    return tuple(axis) if isinstance(axis, Sequence) else axis


def _flat(x: Array, axis: Axes) -> Array:
    """x with its reduced axes last, as one: there NumPy adds in pairs, along others one by one, which is less exact."""
    reduced = range(x.ndim) if axis is None else [axis] if isinstance(axis, int) else axis
    last = sorted(a % x.ndim for a in reduced)
    kept = [a for a in range(x.ndim) if a not in last]
    shape = [x.shape[a] for a in kept]
    return np.ascontiguousarray(x.transpose(kept + last)).reshape([*shape, math.prod(x.shape[a] for a in last)])


def _out(y: Array, x: Array, axis: Axes, keepdims: bool) -> Array:
    """y, which lacks the reduced axes, with them as 1 where keepdims."""
    return np.expand_dims(y, tuple(range(x.ndim)) if axis is None else axis) if keepdims else y


def sum(x: Array, axis: Axes = None, keepdims: bool = False) -> Array:
    return _out(np.sum(_flat(x, axis), -1), x, axis, keepdims)


def mean(x: Array, axis: Axes = None, keepdims: bool = False) -> Array:
    with np.errstate(invalid="ignore"):
        return sum(x, axis, keepdims) / np.asarray(_flat(x, axis).shape[-1], x.dtype)


def amax(x: Array, axis: Axes = None, keepdims: bool = False) -> Array:
    return np.amax(x, _tuple(axis), keepdims=keepdims)


def amin(x: Array, axis: Axes = None, keepdims: bool = False) -> Array:
    return np.amin(x, _tuple(axis), keepdims=keepdims)


def max(x: Array, axis: int | None = None, keepdims: bool = False) -> tuple[Array, Array]:
    return np.amax(x, axis, keepdims=keepdims), np.argmax(x, axis, keepdims=keepdims)


def min(x: Array, axis: int | None = None, keepdims: bool = False) -> tuple[Array, Array]:
    return np.amin(x, axis, keepdims=keepdims), np.argmin(x, axis, keepdims=keepdims)


def argmax(x: Array, axis: int | None = None, keepdims: bool = False) -> Array:
    return np.argmax(x, axis, keepdims=keepdims)


def argmin(x: Array, axis: int | None = None, keepdims: bool = False) -> Array:
    return np.argmin(x, axis, keepdims=keepdims)


def var_mean(x: Array, axis: Axes = None, correction: float = 1, keepdims: bool = False) -> tuple[Array, Array]:
    flat = _flat(x, axis)
    n = flat.shape[-1]
    mean = np.mean(flat, -1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        variance = np.sum((flat - mean) ** 2, -1) / np.asarray(builtins.max(0, n - correction), x.dtype)
    return _out(variance, x, axis, keepdims), _out(mean[..., 0], x, axis, keepdims)
