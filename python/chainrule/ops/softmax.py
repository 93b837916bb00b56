"""softmax and log_softmax along a dimension."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from chainrule import kernels, ops
from chainrule.autograd import Context, Function
from chainrule.dtypes import as_dtype
from chainrule.ops.view import dimension
from chainrule.tensor import Tensor, wrap

__all__ = ["log_softmax", "softmax"]

Array = np.ndarray[Any, Any]


class Gradient(Function):
    """dx of a :class:`Normalised` from its output."""

    kernel: Callable[[Array, Array, int], Array]

    @staticmethod
    def forward(ctx: Any, dy: Tensor, y: Tensor, dim: int) -> Tensor:
        ctx.dim = dim
        ctx.save_for_backward(dy, y)
        return wrap(ctx._function.kernel(dy._array, y._array, dim))


class SoftmaxGradient(Gradient):
    """dx = y (dy - sum dy y)."""

    kernel = staticmethod(kernels.softmax_backward)

    @staticmethod
    def backward(ctx: Context, ddx: Tensor) -> Any:
        dy, y = ctx.saved_tensors
        to_y = ddx * (dy - ops.sum(dy * y, ctx.dim, True)) - dy * ops.sum(ddx * y, ctx.dim, True)
        return SoftmaxGradient.apply(ddx, y, ctx.dim), to_y, None


class LogSoftmaxGradient(Gradient):
    """dx = dy - exp(y) sum dy."""

    kernel = staticmethod(kernels.log_softmax_backward)

    @staticmethod
    def backward(ctx: Context, ddx: Tensor) -> Any:
        dy, y = ctx.saved_tensors
        p = ops.exp(y)
        to_dy = ddx - ops.sum(ddx * p, ctx.dim, True)
        return to_dy, -(ddx * p * ops.sum(dy, ctx.dim, True)), None


class Normalised(Function):
    """y = kernel(x) along a dimension, dx from y."""

    kernel: Callable[[Array, int], Array]
    gradient: type[Gradient]

    @staticmethod
    def forward(ctx: Any, x: Tensor, dim: int) -> Tensor:
        y = wrap(ctx._function.kernel(x._array, dim))
        ctx.dim = dim
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        (y,) = ctx.saved_tensors
        return ctx._function.gradient.apply(dy, y, ctx.dim), None


class Softmax(Normalised):
    kernel = staticmethod(kernels.softmax)
    gradient = SoftmaxGradient


class LogSoftmax(Normalised):
    kernel = staticmethod(kernels.log_softmax)
    gradient = LogSoftmaxGradient


def _along(op: str, function: type[Function], input: Tensor, dim: int, dtype: Any) -> Tensor:
    x = input if dtype is None else ops.cast(input, as_dtype(dtype))
    d = dimension(op, dim, x._array.ndim)
    if x._array.ndim == 0:
        return ops.reshape(function.apply(ops.reshape(x, (1,)), 0), ())
    return function.apply(x, d)  # type: ignore[no-any-return]


def softmax(input: Tensor, dim: int, dtype: Any = None) -> Tensor:
    """exp(input) divided by its sum along ``dim``."""
    return _along("softmax", Softmax, input, dim, dtype)


def log_softmax(input: Tensor, dim: int, dtype: Any = None) -> Tensor:
    """The logarithm of :func:`softmax`, without its loss of precision."""
    return _along("log_softmax", LogSoftmax, input, dim, dtype)
