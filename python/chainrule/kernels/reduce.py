"""Reductions over any axes. ``axis`` is None (all), an int or a tuple; ``keepdims`` keeps reduced axes with size 1.

Sums run in an order fixed by the shape alone (chunks, then a tree): the same bits for any number of threads. Arrays are
float32 or float64: TypeError for another dtype, ValueError for an axis that isn't there or comes twice.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from chainrule import _core

__all__ = ["amax", "amin", "argmax", "argmin", "max", "mean", "min", "sum", "var_mean"]

Array = np.ndarray
Axes = int | Sequence[int] | None


def sum(x: Array, axis: Axes = None, keepdims: bool = False) -> Array:
    """Sum over the axes; 0 over nothing."""
    return _core.sum(x, axis, keepdims)


def mean(x: Array, axis: Axes = None, keepdims: bool = False) -> Array:
    """Mean over the axes; NaN over nothing."""
    return _core.mean(x, axis, keepdims)


def amax(x: Array, axis: Axes = None, keepdims: bool = False) -> Array:
    """The largest element over the axes; NaN where there is one. Raises ValueError over nothing."""
    return _core.amax(x, axis, keepdims)


def amin(x: Array, axis: Axes = None, keepdims: bool = False) -> Array:
    """The smallest element over the axes; NaN where there is one. Raises ValueError over nothing."""
    return _core.amin(x, axis, keepdims)


def max(x: Array, axis: int | None = None, keepdims: bool = False) -> tuple[Array, Array]:
    """The largest element along one axis (None: of the flattened array) and its first place, as int64.

    A NaN is larger than everything. Raises ValueError over nothing.
    """
    return _core.max(x, axis, keepdims)


def min(x: Array, axis: int | None = None, keepdims: bool = False) -> tuple[Array, Array]:
    """The smallest element along one axis (None: of the flattened array) and its first place, as int64.

    A NaN is smaller than everything. Raises ValueError over nothing.
    """
    return _core.min(x, axis, keepdims)


def argmax(x: Array, axis: int | None = None, keepdims: bool = False) -> Array:
    """The places that :func:`max` returns."""
    return _core.argmax(x, axis, keepdims)


def argmin(x: Array, axis: int | None = None, keepdims: bool = False) -> Array:
    """The places that :func:`min` returns."""
    return _core.argmin(x, axis, keepdims)


def var_mean(x: Array, axis: Axes = None, correction: float = 1, keepdims: bool = False) -> tuple[Array, Array]:
    """Variance and mean over the axes: sum((x - mean)²) / max(0, n - correction), exactly 0 for constant data.

    Chunks' moments are joined by the formula of Chan, Golub and LeVeque (1979). Raises ValueError over nothing.
    """
    return _core.var_mean(x, axis, correction, keepdims)
