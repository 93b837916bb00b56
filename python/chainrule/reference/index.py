"""Twins of what reads and writes by index, of triangles and running sums."""

from __future__ import annotations

from typing import Any

import numpy as np

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

Array = Any  # NumPy arrays; NumPy annotates what its functions return as Any


def index_places(index: Array, n: int, base: Array | None = None, from_end: bool = True) -> Array:
    places = np.where(index < 0, index + n, index).astype(np.int64)
    return places if base is None else base * n + places


def index_select(x: Array, index: Array, axis: int = 0) -> Array:
    return np.take(x, index, axis)


def index_copy(y: Array, index: Array, source: Array, axis: int = 0) -> Array:
    rows = np.moveaxis(y, axis, 0)
    for i, row in zip(index, np.moveaxis(source, axis, 0), strict=True):
        rows[i] = row
    return y


def index_add(y: Array, index: Array, source: Array, axis: int = 0) -> Array:
    np.add.at(np.moveaxis(y, axis, 0), index, np.moveaxis(source, axis, 0))
    return y


def gather(x: Array, index: Array, axis: int) -> Array:
    return np.take_along_axis(x, index, axis)


def _grid(index: Array, axis: int) -> tuple[Array, ...]:
    grid = list(np.indices(index.shape, sparse=True))
    grid[axis] = index
    return tuple(grid)


def scatter(y: Array, index: Array, source: Array, axis: int) -> Array:
    along = np.moveaxis(y, axis, 0)
    for places, values in zip(np.moveaxis(index, axis, 0), np.moveaxis(source, axis, 0), strict=True):
        np.put_along_axis(along, places[np.newaxis], values[np.newaxis], 0)
    return y


def scatter_add(y: Array, index: Array, source: Array, axis: int) -> Array:
    np.add.at(y, _grid(index, axis), source)
    return y


def cumsum(x: Array, axis: int) -> Array:
    return np.cumsum(x, axis, dtype=x.dtype)


def tril(x: Array, diagonal: int = 0) -> Array:
    return np.tril(x, diagonal)


def triu(x: Array, diagonal: int = 0) -> Array:
    return np.triu(x, diagonal)
