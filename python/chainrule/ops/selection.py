"""What an index selects: where elements are read, added and replaced. Each knows the kernels for it.

``Basic`` is a view. ``Rows`` are entries along one dimension, or along several that one place names together. ``Along``
names an element per element. ``Anywhere`` is any other index of NumPy's: masks, index arrays with something between.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from chainrule import kernels
from chainrule.ops.memory import FLOATS, MOVABLE, broadcast_copy, choose, write
from chainrule.recording.state import numpy_path

__all__: list[str] = []

Array = Any  # NumPy arrays; NumPy annotates what indexing returns as Any
Index = tuple[Any, ...]


class Basic:
    """Ints, slices, None and Ellipsis."""

    def __init__(self, index: Index) -> None:
        self.index = index

    def shape(self, x: Array) -> tuple[int, ...]:
        return x[self.index].shape  # type: ignore[no-any-return]

    def read(self, x: Array) -> Array:
        return kernels.copy(x[self.index])

    def add(self, x: Array, values: Array) -> None:
        place = x[self.index]
        write(place, kernels.add(place, values) if x.dtype in FLOATS else place + values)

    def set(self, x: Array, values: Array) -> None:
        write(x[self.index], values)


class Rows:
    """Entries of ``count`` dimensions from ``axis`` on, merged, at ``places``; they come out in the shape ``to``."""

    def __init__(self, axis: int, count: int, places: Array, to: tuple[int, ...]) -> None:
        self.axis = axis
        self.count = count
        self.places = places  # in one dimension, in range
        self.to = to

    def shape(self, x: Array) -> tuple[int, ...]:
        return (*x.shape[: self.axis], *self.to, *x.shape[self.axis + self.count :])

    def _merged(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        end = self.axis + self.count
        return (*shape[: self.axis], math.prod(shape[self.axis : end]), *shape[end:])

    def read(self, x: Array) -> Array:
        rows = kernels.copy(x).reshape(self._merged(x.shape)) if self.count > 1 and not x.flags.c_contiguous else x
        rows = rows.reshape(self._merged(x.shape))
        return kernels.index_select(rows, self.places, self.axis).reshape(self.shape(x))

    def _values(self, x: Array, values: Array) -> Array:
        shape = self.shape(x)
        wide = broadcast_copy(values, shape, x.dtype)
        return wide.reshape((*x.shape[: self.axis], self.places.size, *x.shape[self.axis + self.count :]))

    def add(self, x: Array, values: Array) -> None:
        if x.dtype not in FLOATS:
            numpy_path("index_add of integers")
            merged = x.reshape(self._merged(x.shape))
            np.add.at(
                np.moveaxis(merged, self.axis, 0), self.places, np.moveaxis(self._values(x, values), self.axis, 0)
            )
            return
        kernels.index_add(x.reshape(self._merged(x.shape)), self.places, self._values(x, values), self.axis)

    def set(self, x: Array, values: Array) -> None:
        y = x if x.flags.c_contiguous else kernels.copy(x)
        if y.dtype in MOVABLE:
            kernels.index_copy(y.reshape(self._merged(x.shape)), self.places, self._values(x, values), self.axis)
        else:
            numpy_path(f"assignment by index to {y.dtype}")
            np.moveaxis(y.reshape(self._merged(x.shape)), self.axis, 0)[self.places] = np.moveaxis(
                self._values(x, values), self.axis, 0
            )
        if y is not x:
            write(x, y)


class Along:
    """Per element of ``index`` the element at that place of ``axis``, at the element's own place elsewhere."""

    def __init__(self, axis: int, index: Array) -> None:
        self.axis = axis
        self.index = index

    def shape(self, x: Array) -> tuple[int, ...]:
        return self.index.shape  # type: ignore[no-any-return]

    def _part(self, x: Array) -> Array:
        """What of x the index's places lie in."""
        part: Any = (*[slice(None if d == self.axis else n) for d, n in enumerate(self.index.shape)], ...)
        return x[part]

    def read(self, x: Array) -> Array:
        return kernels.gather(self._part(x), self.index, self.axis)

    def _change(self, kernel: Any, x: Array, values: Array) -> None:
        part = self._part(x)
        y = part if part.flags.c_contiguous else kernels.copy(part)
        kernel(y, self.index, broadcast_copy(values, self.index.shape, x.dtype), self.axis)
        if y is not part:
            write(part, y)

    def add(self, x: Array, values: Array) -> None:
        if x.dtype in FLOATS:
            return self._change(kernels.scatter_add, x, values)
        numpy_path("scatter_add of integers")
        return np.add.at(x, self._grid(), values)

    def set(self, x: Array, values: Array) -> None:
        if x.dtype in MOVABLE:
            return self._change(kernels.scatter, x, values)
        numpy_path(f"scatter to {x.dtype}")
        x[self._grid()] = values
        return None

    def _grid(self) -> Index:
        grid: list[Any] = list(np.ogrid[tuple(slice(0, n) for n in self.index.shape)])
        grid[self.axis] = self.index
        return tuple(grid)


class Mask:
    """Where a bool array over the leading dimensions is True; how many that are is known only by looking."""

    def __init__(self, mask: Array) -> None:
        self.mask = mask

    def _wide(self, x: Array) -> Array:
        return self.mask.reshape(self.mask.shape + (1,) * (x.ndim - self.mask.ndim))

    def shape(self, x: Array) -> tuple[int, ...]:
        numpy_path("indexing with a mask")
        return x[self.mask].shape  # type: ignore[no-any-return]

    def read(self, x: Array) -> Array:
        numpy_path("indexing with a mask")
        return kernels.copy(x[self.mask])

    def add(self, x: Array, values: Array) -> None:
        numpy_path("indexing with a mask")
        x[self.mask] += values

    def set(self, x: Array, values: Array) -> None:
        if values.size == 1:
            write(x, choose(self._wide(x), values.reshape(()), x))
        else:
            numpy_path("indexing with a mask")
            x[self.mask] = values


class Anywhere:
    """What NumPy's own indexing does."""

    def __init__(self, index: Index) -> None:
        self.index = index

    def shape(self, x: Array) -> tuple[int, ...]:
        return x[self.index].shape  # type: ignore[no-any-return]

    def read(self, x: Array) -> Array:
        numpy_path("indexing with masks or with several arrays apart")
        return kernels.copy(np.asarray(x[self.index]))

    def add(self, x: Array, values: Array) -> None:
        numpy_path("indexing with masks or with several arrays apart")
        np.add.at(x, self.index, values)

    def set(self, x: Array, values: Array) -> None:
        numpy_path("indexing with masks or with several arrays apart")
        x[self.index] = values


Selection = Basic | Rows | Along | Mask | Anywhere


def int64(index: Array) -> Array:
    """An index array as the kernels take it."""
    if index.dtype == np.int64:
        return index
    if index.dtype == np.int32 or index.dtype == np.uint8:
        return kernels.cast(index, np.int64)
    return index.astype(np.int64)


def selection(index: Index, shape: tuple[int, ...]) -> Selection:
    """What slices, Ellipses, masks and index arrays select of an array of this shape. Arrays are copied or replaced."""
    arrays = [i for i in index if isinstance(i, np.ndarray)]
    if len(arrays) == 1 and arrays[0].dtype == bool and arrays[0].ndim and index[0] is arrays[0]:
        mask = arrays[0]
        if mask.shape == shape[: mask.ndim] and all(i is Ellipsis or i == slice(None) for i in index[1:]):
            return Mask(kernels.copy(mask))
    ndim = sum(1 if i.dtype != bool else i.ndim for i in arrays) + sum(isinstance(i, slice) for i in index)
    dims: list[Any] = []  # per dimension of x: a slice or an array
    for i in index:
        dims += [slice(None)] * max(len(shape) - ndim, 0) if i is Ellipsis else [i]
    first = next((d for d, i in enumerate(dims) if isinstance(i, np.ndarray)), 0)
    run = dims[first : first + len(arrays)]
    simple = all(isinstance(i, np.ndarray) and i.dtype != bool for i in run) and len(dims) <= len(shape)
    if simple and all(isinstance(i, slice) and i == slice(None) for i in dims[:first] + dims[first + len(run) :]):
        try:
            to = np.broadcast_shapes(*[a.shape for a in run])
        except ValueError:
            shapes = [list(a.shape) for a in run]
            raise IndexError(f"shape mismatch: indexing tensors of shapes {shapes} could not be broadcast") from None
        places: Array | None = None
        for d, array in enumerate(run):
            n = shape[first + d]
            try:
                places = kernels.index_places(int64(array), n, places)
            except ValueError as error:
                raise IndexError(f"index is out of bounds for dimension {first + d} with size {n}: {error}") from None
        assert places is not None
        return Rows(first, len(run), places.reshape(-1), to)
    return Anywhere(tuple(kernels.copy(i) if isinstance(i, np.ndarray) else i for i in index))
