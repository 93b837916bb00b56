"""Reductions: sum, mean, extremes, variance and norms over any dimensions."""

from __future__ import annotations

import builtins
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from chainrule import kernels, ops
from chainrule.autograd import Context, Function
from chainrule.autograd.grad_mode import is_grad_enabled
from chainrule.dtypes import as_dtype
from chainrule.ops.indexing import ScatterAdd
from chainrule.ops.memory import MOVABLE
from chainrule.ops.selection import Along
from chainrule.ops.view import dimension
from chainrule.recording.state import numpy_path
from chainrule.tensor import Tensor, wrap

__all__ = [
    "all",
    "amax",
    "amin",
    "any",
    "argmax",
    "argmin",
    "cumsum",
    "logsumexp",
    "max",
    "mean",
    "min",
    "norm",
    "prod",
    "std",
    "std_mean",
    "sum",
    "var",
    "var_mean",
]

Dims = int | Sequence[int] | None
Array = Any


class ValuesAndIndices(NamedTuple):
    """What max and min along a dimension return."""

    values: Tensor
    indices: Tensor


def dimensions(op: str, dim: Dims, ndim: int) -> tuple[int, ...]:
    """``dim`` as sorted axes; None and () mean all of them, as in PyTorch."""
    if dim is None or (isinstance(dim, Sequence) and len(dim) == 0):
        return tuple(range(ndim))
    given = [dimension(op, d, ndim) for d in (dim if isinstance(dim, Sequence) else [dim])]
    if len(set(given)) != len(given):
        raise RuntimeError(f"{op}: a dimension appears more than once in dim={tuple(given)}")
    return tuple(sorted(given)) if ndim else ()


def _kept(shape: tuple[int, ...], dims: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(1 if i in dims else n for i, n in enumerate(shape))


def _count(shape: tuple[int, ...], dims: tuple[int, ...]) -> int:
    return math.prod(shape[i] for i in dims)


def _expand(y: Tensor, shape: tuple[int, ...], dims: tuple[int, ...]) -> Tensor:
    """A reduced tensor, with or without its reduced dimensions, over the shape before the reduction."""
    return ops.broadcast_to(ops.reshape(y, _kept(shape, dims)), shape)


def _floating(x: Tensor) -> bool:
    return bool(x._array.dtype.kind == "f")


def _cast(x: Tensor, dtype: Any) -> Tensor:
    return x if dtype is None else ops.cast(x, as_dtype(dtype))


class Sum(Function):
    @staticmethod
    def forward(ctx: Context, x: Tensor, dims: tuple[int, ...], keepdim: bool) -> Tensor:
        ctx.shape, ctx.dims = x._array.shape, dims
        return wrap(kernels.sum(x._array, dims, keepdim))

    @staticmethod
    def backward(ctx: Context, dy: Tensor) -> Any:
        return _expand(dy, ctx.shape, ctx.dims), None, None


class Mean(Function):
    @staticmethod
    def forward(ctx: Context, x: Tensor, dims: tuple[int, ...], keepdim: bool) -> Tensor:
        ctx.shape, ctx.dims = x._array.shape, dims
        return wrap(kernels.mean(x._array, dims, keepdim))

    @staticmethod
    def backward(ctx: Context, dy: Tensor) -> Any:
        return _expand(dy / builtins.max(1, _count(ctx.shape, ctx.dims)), ctx.shape, ctx.dims), None, None


def sum(input: Tensor, dim: Dims = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """Sum over ``dim`` (all dimensions by default); integers and bools are summed as int64."""
    x = _cast(input, dtype)
    dims = dimensions("sum", dim, x._array.ndim)
    if x._array.dtype == bool:  # counted exactly
        return wrap(kernels.cast(kernels.sum(kernels.cast(x._array, np.float64), dims, keepdim), np.int64))
    if not _floating(x):
        numpy_path("sum of integers")
        return wrap(np.asarray(np.sum(x._array, dims, dtype=np.int64, keepdims=keepdim)))
    return Sum.apply(x, dims, keepdim)  # type: ignore[no-any-return]


def mean(input: Tensor, dim: Dims = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """Mean over ``dim`` (all dimensions by default) of a floating tensor."""
    x = _cast(input, dtype)
    if not _floating(x):
        raise RuntimeError(f"mean(): could not infer output dtype. Input dtype must be floating. Got: {x._array.dtype}")
    return Mean.apply(x, dimensions("mean", dim, x._array.ndim), keepdim)  # type: ignore[no-any-return]


class Extreme(Function):
    """The largest or smallest; the gradient is shared by all elements that are it."""

    @staticmethod
    def forward(ctx: Context, x: Tensor, kernel: Callable[..., Array], dims: tuple[int, ...], keepdim: bool) -> Tensor:
        y = wrap(kernel(x._array, dims, keepdim))
        ctx.dims, ctx.shape = dims, x._array.shape
        ctx.save_for_backward(x, y)
        return y

    @staticmethod
    def backward(ctx: Context, dy: Tensor) -> Any:
        x, y = ctx.saved_tensors
        ties = kernels.cast(kernels.eq(x._array, y._array.reshape(_kept(ctx.shape, ctx.dims))), x._array.dtype)
        share = kernels.div(ties, kernels.sum(ties, ctx.dims, True))
        return _expand(dy, ctx.shape, ctx.dims) * wrap(share), None, None, None


class ExtremeAlong(Function):
    """The largest or smallest along one dimension and its place; the gradient goes to that place."""

    @staticmethod
    def forward(ctx: Context, x: Tensor, kernel: Callable[..., Array], dim: int, keepdim: bool) -> Any:
        values, places = kernel(x._array, dim, keepdim)
        ctx.shape, ctx.dim, ctx.places = x._array.shape, dim, places
        indices = wrap(places)
        ctx.mark_non_differentiable(indices)
        return wrap(values), indices

    @staticmethod
    def backward(ctx: Context, dy: Tensor, _: Any) -> Any:
        kept = _kept(ctx.shape, (ctx.dim,))
        place = Along(ctx.dim, ctx.places.reshape(kept))
        return ScatterAdd.apply(ops.reshape(dy, kept), place, ctx.shape), None, None, None


def _extreme(name: str, input: Tensor, dim: Dims, keepdim: bool) -> Tensor:
    dims = dimensions(name, dim, input._array.ndim)
    if builtins.any(input._array.shape[i] == 0 for i in dims):
        raise RuntimeError(f"{name}(): Expected reduction dim to have non-zero size, got shape {list(input.shape)}.")
    if not _floating(input):
        numpy_path(f"{name} of {input.dtype}")
        return wrap(np.asarray(getattr(np, name)(input._array, dims, keepdims=keepdim)))
    return Extreme.apply(input, getattr(kernels, name), dims, keepdim)  # type: ignore[no-any-return]


def amax(input: Tensor, dim: Dims = (), keepdim: bool = False) -> Tensor:
    """The largest over ``dim``; NaN where there is one. Equal ones share the gradient evenly."""
    return _extreme("amax", input, dim, keepdim)


def amin(input: Tensor, dim: Dims = (), keepdim: bool = False) -> Tensor:
    """The smallest over ``dim``; NaN where there is one. Equal ones share the gradient evenly."""
    return _extreme("amin", input, dim, keepdim)


def _along(name: str, input: Tensor, dim: int, keepdim: bool) -> ValuesAndIndices:
    if input._array.ndim == 0:
        dimension(name, dim, 0)
        return ValuesAndIndices(ops.clone(input), wrap(np.zeros((), np.int64)))
    d = dimension(name, dim, input._array.ndim)
    if input._array.shape[d] == 0 and input._array.size == 0:
        raise IndexError(f"{name}(): Expected reduction dim {d} to have non-zero size.")
    if not _floating(input):
        numpy_path(f"{name} of {input.dtype}")
        places = wrap(np.asarray(getattr(np, "arg" + name)(input._array, d, keepdims=keepdim)))
        return ValuesAndIndices(wrap(np.asarray(getattr(np, name)(input._array, d, keepdims=keepdim))), places)
    return ValuesAndIndices(*ExtremeAlong.apply(input, getattr(kernels, name), d, keepdim))


def max(input: Tensor, dim: Any = None, keepdim: bool = False, *, other: Any = None) -> Any:
    """Without ``dim`` the largest element; along ``dim`` (values, indices); of two tensors the larger, by element."""
    if isinstance(dim, Tensor) or other is not None:
        return ops.maximum(input, other if dim is None else dim)
    return _extreme("amax", input, None, False) if dim is None else _along("max", input, dim, keepdim)


def min(input: Tensor, dim: Any = None, keepdim: bool = False, *, other: Any = None) -> Any:
    """Without ``dim`` the smallest element; along ``dim`` (values, indices); of two tensors the smaller, by element."""
    if isinstance(dim, Tensor) or other is not None:
        return ops.minimum(input, other if dim is None else dim)
    return _extreme("amin", input, None, False) if dim is None else _along("min", input, dim, keepdim)


def _place(name: str, input: Tensor, dim: int | None, keepdim: bool) -> Tensor:
    x = input._array
    d = None if dim is None else dimension(name, dim, x.ndim)
    if x.size == 0 and (d is None or x.shape[d] == 0):
        raise IndexError(f"{name}(): Expected reduction dim to have non-zero size, got shape {list(x.shape)}.")
    if x.ndim == 0:
        return wrap(np.zeros((), np.int64))
    if x.dtype.kind != "f":
        numpy_path(f"{name} of {x.dtype}")
        return wrap(np.asarray(getattr(np, name)(x, d, keepdims=keepdim)))
    return wrap(getattr(kernels, name)(x, d, keepdim))


def argmax(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """The first place of the largest element along ``dim``, or in the flattened tensor."""
    return _place("argmax", input, dim, keepdim)


def argmin(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """The first place of the smallest element along ``dim``, or in the flattened tensor."""
    return _place("argmin", input, dim, keepdim)


class Var(Function):
    @staticmethod
    def forward(ctx: Context, x: Tensor, dims: tuple[int, ...], correction: float, keepdim: bool) -> Any:
        ctx.dims, ctx.correction = dims, correction
        ctx.save_for_backward(x)
        variance, mean = kernels.var_mean(x._array, dims, correction, keepdim)
        return wrap(variance), wrap(mean)

    @staticmethod
    def backward(ctx: Context, dvar: Tensor, dmean: Tensor) -> Any:
        (x,) = ctx.saved_tensors
        shape = x._array.shape
        n = _count(shape, ctx.dims)
        free = builtins.max(0.0, n - ctx.correction)
        deviation = x - mean(x, ctx.dims, True)
        from_var = _expand(dvar * (2 / free if free else math.inf), shape, ctx.dims) * deviation
        return from_var + _expand(dmean / n, shape, ctx.dims), None, None, None


def _var_mean(
    op: str, input: Tensor, dim: Any, unbiased: bool, keepdim: bool, correction: float | None
) -> tuple[Tensor, Tensor]:
    """``dim`` may be missing with ``unbiased`` in its place, as in PyTorch; ``correction`` says more than that."""
    if not _floating(input):
        raise RuntimeError(f"{op}: only support floating point dtypes, got {input._array.dtype}")
    if isinstance(dim, bool):
        dim, unbiased = None, dim
    less = float(unbiased) if correction is None else float(correction)
    dims = dimensions(op, dim, input._array.ndim)
    if _count(input._array.shape, dims) == 0:
        nan = np.full(np.sum(input._array, dims, keepdims=keepdim).shape, np.nan, input._array.dtype)
        return wrap(nan), wrap(nan.copy())
    pair: tuple[Tensor, Tensor] = Var.apply(input, dims, less, keepdim)
    return pair


def var(
    input: Tensor, dim: Any = None, unbiased: bool = True, keepdim: bool = False, *, correction: float | None = None
) -> Tensor:
    """Variance over ``dim``: the squared deviations from the mean, summed and divided by n - correction; that is 1, and
    0 where ``unbiased`` is False."""
    return _var_mean("var", input, dim, unbiased, keepdim, correction)[0]


def var_mean(
    input: Tensor, dim: Any = None, unbiased: bool = True, keepdim: bool = False, *, correction: float | None = None
) -> tuple[Tensor, Tensor]:
    """Variance, as :func:`var`, and mean over ``dim``."""
    return _var_mean("var_mean", input, dim, unbiased, keepdim, correction)


class Root(Function):
    """sqrt whose gradient at 0 is 0, as PyTorch has it for std and norm."""

    @staticmethod
    def forward(ctx: Context, x: Tensor) -> Tensor:
        y = wrap(kernels.sqrt(x._array))
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx: Context, dy: Tensor) -> Any:
        (y,) = ctx.saved_tensors
        return dy / (
            y * 2 + wrap(kernels.where(kernels.eq(y._array, 0.0), np.inf, kernels.full((), 0, y._array.dtype)))
        )


def std(
    input: Tensor, dim: Any = None, unbiased: bool = True, keepdim: bool = False, *, correction: float | None = None
) -> Tensor:
    """The square root of :func:`var`."""
    return Root.apply(_var_mean("std", input, dim, unbiased, keepdim, correction)[0])  # type: ignore[no-any-return]


def std_mean(
    input: Tensor, dim: Any = None, unbiased: bool = True, keepdim: bool = False, *, correction: float | None = None
) -> tuple[Tensor, Tensor]:
    """Standard deviation and mean over ``dim``."""
    variance, average = _var_mean("std_mean", input, dim, unbiased, keepdim, correction)
    return Root.apply(variance), average


def norm(input: Tensor, p: Any = "fro", dim: Dims = None, keepdim: bool = False, dtype: Any = None) -> Tensor:
    """The p-norm of the elements over ``dim``; "fro" and None are p = 2, inf and -inf the extreme magnitudes."""
    x = _cast(input, dtype)
    if p is None or p == "fro" or p == 2:
        return Root.apply(sum(x * x, dim, keepdim))  # type: ignore[no-any-return]
    if isinstance(p, str):
        raise RuntimeError(f"norm: argument 'p' is {p!r}, want a number or 'fro'")
    if p == math.inf:
        return amax(ops.abs(x), () if dim is None else dim, keepdim)
    if p == -math.inf:
        return amin(ops.abs(x), () if dim is None else dim, keepdim)
    if p == 0:
        return sum(ops.cast(ops.ne(x, 0), x._array.dtype), dim, keepdim)
    if p == 1:
        return sum(ops.abs(x), dim, keepdim)
    return ops.pow(sum(ops.pow(ops.abs(x), p), dim, keepdim), 1 / p)


class LogSumExp(Function):
    @staticmethod
    def forward(ctx: Context, x: Tensor, dims: tuple[int, ...], keepdim: bool) -> Tensor:
        ctx.dims = dims
        largest = kernels.amax(x._array, dims, True)
        largest = kernels.where(kernels.lt(kernels.abs(largest), np.inf), largest, 0.0)
        total = kernels.sum(kernels.exp(kernels.sub(x._array, largest)), dims, True)
        y = kernels.add(kernels.log(total), largest)
        out = wrap(y if keepdim else y.reshape([n for i, n in enumerate(y.shape) if i not in dims]))
        ctx.save_for_backward(x, out)
        return out

    @staticmethod
    def backward(ctx: Context, dy: Tensor) -> Any:
        x, y = ctx.saved_tensors
        shape = x._array.shape
        return _expand(dy, shape, ctx.dims) * ops.exp(x - _expand(y, shape, ctx.dims)), None, None


def logsumexp(input: Tensor, dim: int | Sequence[int], keepdim: bool = False) -> Tensor:
    """log(sum(exp(input))) over ``dim``, without overflow."""
    dims = dimensions("logsumexp", dim, input._array.ndim)
    return LogSumExp.apply(input, dims, keepdim)  # type: ignore[no-any-return]


class CumSum(Function):
    @staticmethod
    def forward(ctx: Context, x: Tensor, dim: int) -> Tensor:
        ctx.dim = dim
        return wrap(kernels.cumsum(x._array, dim))

    @staticmethod
    def backward(ctx: Context, dy: Tensor) -> Any:
        return ops.flip(CumSum.apply(ops.flip(dy, [ctx.dim]), ctx.dim), [ctx.dim]), None


def cumsum(input: Tensor, dim: int, *, dtype: Any = None) -> Tensor:
    """Running sums along ``dim``; integers and bools are summed as int64."""
    x = _cast(input, dtype)
    d = dimension("cumsum", dim, x._array.ndim)
    if x._array.ndim == 0:
        return ops.clone(x)
    if not _floating(x):
        numpy_path("cumsum of integers")
        return wrap(np.cumsum(x._array, d, dtype=np.int64))
    return CumSum.apply(x, d)  # type: ignore[no-any-return]


class Prod(Function):
    @staticmethod
    def forward(ctx: Context, x: Tensor, dims: tuple[int, ...], keepdim: bool) -> Tensor:
        numpy_path("prod")
        y = wrap(np.asarray(np.prod(x._array, dims, keepdims=keepdim)))
        ctx.dims = dims
        ctx.save_for_backward(x, y)
        return y

    @staticmethod
    def backward(ctx: Context, dy: Tensor) -> Any:
        x, y = ctx.saved_tensors
        shape, dims = x._array.shape, ctx.dims
        if (x._array != 0).all():
            return _expand(dy * y, shape, dims) / x, None, None
        if is_grad_enabled():
            raise NotImplementedError("prod: the second derivative where an element is zero")
        zero = x._array == 0
        zeros = np.sum(zero, dims, keepdims=True)
        others = np.prod(np.where(zero, 1, x._array), dims, keepdims=True)
        rest = np.where(zeros == 0, others / np.where(zero, 1, x._array), np.where((zeros == 1) & zero, others, 0))
        return _expand(dy, shape, dims) * wrap(rest.astype(x._array.dtype)), None, None


def prod(input: Tensor, dim: int | None = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """Product of all elements, or along ``dim``; integers and bools as int64."""
    x = _cast(input, dtype)
    dims = dimensions("prod", dim, x._array.ndim)
    if not _floating(x):
        numpy_path("prod")
        return wrap(np.asarray(np.prod(x._array, dims, dtype=np.int64, keepdims=keepdim)))
    return Prod.apply(x, dims, keepdim)  # type: ignore[no-any-return]


def all(input: Tensor, dim: Dims = None, keepdim: bool = False) -> Tensor:
    """Whether every element is true (not zero), over ``dim``."""
    return _truth(input, dimensions("all", dim, input._array.ndim), keepdim, kernels.amin, np.all)


def any(input: Tensor, dim: Dims = None, keepdim: bool = False) -> Tensor:
    """Whether an element is true (not zero), over ``dim``."""
    return _truth(input, dimensions("any", dim, input._array.ndim), keepdim, kernels.amax, np.any)


def _truth(x: Tensor, dims: tuple[int, ...], keepdim: bool, extreme: Any, function: Any) -> Tensor:
    """By the extreme of zeros and ones, where there are any."""
    if x._array.size and x._array.dtype in MOVABLE:
        ones = kernels.cast(kernels.ne(x._array, 0), np.float32)
        return wrap(kernels.ne(extreme(ones, dims, keepdim), 0.0))
    numpy_path(function.__name__)
    return wrap(np.asarray(function(x._array, dims, keepdims=keepdim)))
