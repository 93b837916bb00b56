"""Joining tensors, choosing between them, repeating and casting."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import Any

import numpy as np

from chainrule import kernels
from chainrule.autograd import Context, Function
from chainrule.broadcasting import common_shape
from chainrule.dtypes import get_default_dtype
from chainrule.formats import channels_last, contiguous_format, copy, empty, format_of
from chainrule.ops.indexing import index_select, nonzero
from chainrule.ops.memory import cast_array, choose, zeros
from chainrule.ops.view import Slice, broadcast_to, clone, dimension, reshape, unbroadcast, unsqueeze, view_of
from chainrule.recording.state import numpy_path
from chainrule.tensor import Tensor, constant, wrap

__all__ = [
    "atleast_1d",
    "cast",
    "cat",
    "concat",
    "concatenate",
    "hstack",
    "meshgrid",
    "repeat_interleave",
    "stack",
    "tile",
    "vstack",
    "where",
]


class Cast(Function):
    @staticmethod
    def forward(ctx: Context, x: Tensor, dtype: np.dtype[Any]) -> Tensor:
        ctx.dtype = x._array.dtype
        return wrap(cast_array(x._array, dtype))

    @staticmethod
    def backward(ctx: Context, dy: Tensor) -> Any:
        return cast(dy, ctx.dtype), None


class Cat(Function):
    @staticmethod
    def forward(ctx: Context, dim: int, *tensors: Tensor) -> Tensor:
        ctx.dim, ctx.sizes = dim, [x._array.shape[dim] for x in tensors]
        arrays = [x._array for x in tensors]
        shape = list(arrays[0].shape)
        shape[dim] = sum(ctx.sizes)
        last = all(format_of(x) is channels_last for x in arrays)
        y = empty(tuple(shape), arrays[0].dtype, channels_last if last else contiguous_format)
        end = 0
        for array, size in zip(arrays, ctx.sizes, strict=True):
            start, end = end, end + size
            place: Any = (*[slice(None)] * dim, slice(start, end), ...)
            kernels.copy(array, y[place])
        return wrap(y)

    @staticmethod
    def backward(ctx: Context, dy: Tensor) -> Any:
        parts: list[Tensor | None] = []
        start = 0
        for size, need in zip(ctx.sizes, ctx.needs_input_grad[1:], strict=True):
            index = (*[slice(None)] * ctx.dim, slice(start, start + size), ...)
            parts.append(view_of(dy, Slice, index) if need else None)
            start += size
        return (None, *parts)


class Where(Function):
    @staticmethod
    def forward(ctx: Context, condition: np.ndarray[Any, Any], x: Tensor, y: Tensor) -> Tensor:
        ctx.condition, ctx.shapes = condition, (x._array.shape, y._array.shape)
        return wrap(choose(condition, x._array, y._array))

    @staticmethod
    def backward(ctx: Context, dz: Tensor) -> Any:
        zero = wrap(zeros((), dz._array.dtype))
        _, need_x, need_y = ctx.needs_input_grad
        dx = unbroadcast(Where.apply(ctx.condition, dz, zero), ctx.shapes[0]) if need_x else None
        dy = unbroadcast(Where.apply(ctx.condition, zero, dz), ctx.shapes[1]) if need_y else None
        return None, dx, dy


def cast(input: Tensor, dtype: np.dtype[Any]) -> Tensor:
    """A copy in another dtype; the same tensor if it has it."""
    if input._array.dtype == dtype:
        return input
    return Cast.apply(input, dtype)  # type: ignore[no-any-return]


def _tensors(op: str, tensors: Sequence[Tensor]) -> list[Tensor]:
    listed = list(tensors)
    if not listed:
        raise RuntimeError(f"{op}: expected a non-empty list of Tensors")
    for i, x in enumerate(listed):
        if not isinstance(x, Tensor):
            raise TypeError(f"{op}: element {i} of argument 'tensors' is a {type(x).__name__}, want a Tensor")
    return listed


def cat(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """The tensors one after the other along ``dim``; the other sizes must agree. Empty 1-d tensors are skipped."""
    given = _tensors("cat", tensors)
    if any(x._array.ndim == 0 for x in given):
        raise RuntimeError("zero-dimensional tensor cannot be concatenated")
    dtype = reduce(promoted, [x._array.dtype for x in given])
    parts = [x for x in given if x._array.shape != (0,)] or given[:1]
    ndim = parts[0]._array.ndim
    d = dimension("cat", dim, ndim)
    first = parts[0].shape
    for i, x in enumerate(parts):
        if x._array.ndim != ndim or any(a != b for k, (a, b) in enumerate(zip(first, x.shape, strict=True)) if k != d):
            raise RuntimeError(
                f"Sizes of tensors must match except in dimension {d}. Expected {list(first)} but got {list(x.shape)} "
                f"for tensor number {i} in the list."
            )
    return Cat.apply(d, *[cast(x, dtype) for x in parts])  # type: ignore[no-any-return]


concat = cat
concatenate = cat


def stack(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Tensors of one shape along a new dimension ``dim``."""
    given = _tensors("stack", tensors)
    for i, x in enumerate(given):
        if x.shape != given[0].shape:
            raise RuntimeError(
                f"stack expects each tensor to be equal size, but got {list(given[0].shape)} at entry 0 and "
                f"{list(x.shape)} at entry {i}"
            )
    d = dimension("stack", dim, given[0]._array.ndim + 1)
    return cat([unsqueeze(x, d) for x in given], d)


def atleast_1d(input: Tensor) -> Tensor:
    """A 0-d tensor as (1,); others as they are."""
    return input if input._array.ndim else reshape(input, (1,))


def hstack(tensors: Sequence[Tensor]) -> Tensor:
    """Along the second dimension; 1-d tensors along the first."""
    given = [atleast_1d(x) for x in _tensors("hstack", tensors)]
    return cat(given, 0 if given[0]._array.ndim == 1 else 1)


def vstack(tensors: Sequence[Tensor]) -> Tensor:
    """Along the first dimension; 1-d tensors are rows."""
    return cat([x if x._array.ndim > 1 else reshape(x, (1, -1)) for x in _tensors("vstack", tensors)], 0)


def where(condition: Tensor, input: Any = None, other: Any = None) -> Any:
    """``input`` where ``condition`` (bool) is True, else ``other``, all broadcast; alone, the places that are True."""
    if input is None and other is None:
        return nonzero(condition, as_tuple=True)
    if not isinstance(condition, Tensor) or condition._array.dtype != np.bool_:
        got = condition.dtype if isinstance(condition, Tensor) else type(condition).__name__
        raise RuntimeError(f"where expected condition to be a boolean tensor, but got {got}")
    x, y = input, other
    if not isinstance(x, Tensor) and not isinstance(y, Tensor):
        dtype = np.asarray([x, y]).dtype
        dtype = get_default_dtype() if dtype.kind == "f" else dtype
        x, y = wrap(np.asarray(x, dtype)), wrap(np.asarray(y, dtype))
    elif not isinstance(x, Tensor):
        x = number_like(x, y)
    elif not isinstance(y, Tensor):
        y = number_like(y, x)
    if x._array.dtype != y._array.dtype:
        dtype = promote(x, y)
        x, y = cast(x, dtype), cast(y, dtype)
    common_shape("where", condition.shape, x.shape, y.shape)
    return Where.apply(copy(condition._array), x, y)


def number_like(number: Any, tensor: Tensor) -> Tensor:
    """A Python number as 0-d: of the tensor's dtype, or of its own kind's default where that is a higher one."""
    own = np.asarray(number).dtype
    if _RANK[own.kind] <= _RANK[tensor._array.dtype.kind]:
        dtype = tensor._array.dtype
    else:
        dtype = get_default_dtype() if own.kind == "f" else own
    return constant(np.asarray(np.asarray(number).astype(dtype)))


def promote(x: Tensor, y: Tensor) -> np.dtype[Any]:
    """The common dtype as in PyTorch: a 0-d tensor counts only where its kind is higher."""
    a, b = x.dtype, y.dtype
    if a == b:
        return a
    if bool(x._array.ndim) != bool(y._array.ndim):
        full, scalar = (a, b) if x._array.ndim else (b, a)
        return full if _RANK[scalar.kind] <= _RANK[full.kind] else scalar
    return promoted(a, b)


_RANK = {"b": 0, "u": 1, "i": 1, "f": 2}


def promoted(a: np.dtype[Any], b: np.dtype[Any]) -> np.dtype[Any]:
    """The common dtype of tensors with dimensions: float beats integer beats bool, then the wider one."""
    if _RANK[a.kind] != _RANK[b.kind]:
        return a if _RANK[a.kind] > _RANK[b.kind] else b
    return np.result_type(a, b)


def tile(input: Tensor, dims: Sequence[int]) -> Tensor:
    """Copies side by side, ``dims[i]`` along dimension i; leading dimensions are added."""
    times, shape = list(dims), list(input.shape)
    if any(n < 0 for n in times):
        raise RuntimeError(f"Trying to create tensor with negative dimension in repeat: {times}")
    times = [1] * (len(shape) - len(times)) + times
    shape = [1] * (len(times) - len(shape)) + shape
    x = reshape(input, [n for s in shape for n in (1, s)])
    x = broadcast_to(x, [n for r, s in zip(times, shape, strict=True) for n in (r, s)])
    return reshape(clone(x, memory_format=contiguous_format), [r * s for r, s in zip(times, shape, strict=True)])


def repeat_interleave(input: Tensor, repeats: int | Tensor, dim: int | None = None) -> Tensor:
    """Each entry along ``dim`` (without: of the flat elements) ``repeats`` times in a row."""
    x = reshape(input, (-1,)) if dim is None else input
    d = dimension("repeat_interleave", 0 if dim is None else dim, x._array.ndim)
    if isinstance(repeats, Tensor):
        numpy_path("repeat_interleave by a tensor")
    count = repeats._array if isinstance(repeats, Tensor) else repeats
    return index_select(x, d, constant(np.repeat(np.arange(x.shape[d]), count)))


def meshgrid(*tensors: Any, indexing: str = "ij") -> tuple[Tensor, ...]:
    """Coordinate grids of 1-d tensors; ``indexing`` is "ij" or "xy"."""
    given = list(tensors[0]) if len(tensors) == 1 and isinstance(tensors[0], (tuple, list)) else list(tensors)
    if indexing not in ("ij", "xy"):
        raise RuntimeError(f'meshgrid: argument "indexing" is {indexing!r}, want "ij" or "xy"')
    swap = indexing == "xy" and len(given) >= 2
    if swap:
        given[0], given[1] = given[1], given[0]
    shape = [x._array.size for x in given]
    grids = [
        broadcast_to(reshape(x, [-1 if i == k else 1 for k in range(len(given))]), shape) for i, x in enumerate(given)
    ]
    if swap:
        grids[0], grids[1] = grids[1], grids[0]
    return tuple(grids)
