"""Functions of one tensor. Integer input counts as the default float dtype where the result can't be an integer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from chainrule import dtypes, kernels, ops
from chainrule.autograd import Context, Function
from chainrule.ops.elementwise import add, div, mul
from chainrule.ops.joining import cast
from chainrule.ops.memory import FLOATS, zeros
from chainrule.recording.state import numpy_path
from chainrule.tensor import Tensor, wrap

__all__ = [
    "abs",
    "absolute",
    "clamp",
    "clamp_max",
    "clamp_min",
    "clip",
    "cos",
    "erf",
    "erfc",
    "exp",
    "expm1",
    "log",
    "log1p",
    "log2",
    "log10",
    "neg",
    "negative",
    "reciprocal",
    "rsqrt",
    "sin",
    "sqrt",
    "square",
    "tan",
]

Array = np.ndarray[Any, Any]


def floating(op: str, x: Any) -> Tensor:
    """A float tensor as it is, an integer one in the default dtype."""
    if not isinstance(x, Tensor):
        raise TypeError(f"{op}: argument 'input' is a {type(x).__name__}, want a Tensor")
    return x if x._array.dtype in FLOATS else cast(x, np.dtype(dtypes.get_default_dtype()))


class Unary(Function):
    """y = kernel(x), dx = gradient(dy, saved), with y or x saved."""

    kernel: Callable[[Array], Array]
    gradient: Callable[[Tensor, Tensor], Tensor]
    saves_output = False

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        y = wrap(ctx._function.kernel(x._array))
        ctx.save_for_backward(y if ctx._function.saves_output else x)
        return y

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        (saved,) = ctx.saved_tensors
        return ctx._function.gradient(dy, saved)


class Neg(Unary):
    kernel = staticmethod(kernels.neg)
    gradient = staticmethod(lambda dy, x: neg(dy))


class Abs(Unary):
    kernel = staticmethod(kernels.abs)
    gradient = staticmethod(lambda dy, x: mul(dy, wrap(kernels.sign(x._array))))


class Exp(Unary):
    kernel = staticmethod(kernels.exp)
    gradient = staticmethod(mul)
    saves_output = True


class Expm1(Unary):
    kernel = staticmethod(kernels.expm1)
    gradient = staticmethod(lambda dy, y: mul(dy, add(y, 1)))
    saves_output = True


class Log(Unary):
    kernel = staticmethod(kernels.log)
    gradient = staticmethod(div)


class Log1p(Unary):
    kernel = staticmethod(kernels.log1p)
    gradient = staticmethod(lambda dy, x: div(dy, add(x, 1)))


class Sqrt(Unary):
    kernel = staticmethod(kernels.sqrt)
    gradient = staticmethod(lambda dy, y: div(dy, mul(y, 2)))
    saves_output = True


class Rsqrt(Unary):
    kernel = staticmethod(kernels.rsqrt)
    gradient = staticmethod(lambda dy, y: mul(mul(dy, -0.5), mul(y, mul(y, y))))
    saves_output = True


class Square(Unary):
    kernel = staticmethod(kernels.square)
    gradient = staticmethod(lambda dy, x: mul(dy, mul(x, 2)))


class Reciprocal(Unary):
    kernel = staticmethod(kernels.reciprocal)
    gradient = staticmethod(lambda dy, y: neg(mul(dy, mul(y, y))))
    saves_output = True


class Sin(Unary):
    kernel = staticmethod(kernels.sin)
    gradient = staticmethod(lambda dy, x: mul(dy, cos(x)))


class Cos(Unary):
    kernel = staticmethod(kernels.cos)
    gradient = staticmethod(lambda dy, x: neg(mul(dy, sin(x))))


class Tan(Unary):
    kernel = staticmethod(lambda x: kernels.div(kernels.sin(x), kernels.cos(x)))
    gradient = staticmethod(lambda dy, y: mul(dy, add(mul(y, y), 1)))
    saves_output = True


class Erf(Unary):
    kernel = staticmethod(kernels.erf)
    gradient = staticmethod(lambda dy, x: mul(mul(dy, 2 / np.pi**0.5), exp(neg(mul(x, x)))))


class Erfc(Unary):
    kernel = staticmethod(kernels.erfc)
    gradient = staticmethod(lambda dy, x: mul(mul(dy, -2 / np.pi**0.5), exp(neg(mul(x, x)))))


class Flat(Function):
    """A result that doesn't change with its sources: their gradient is zero."""

    @staticmethod
    def forward(ctx: Context, y: Tensor, *sources: Any) -> Tensor:
        ctx.kinds = [(x._array.shape, x._array.dtype) if isinstance(x, Tensor) else None for x in sources]
        return wrap(y._array)

    @staticmethod
    def backward(ctx: Context, dy: Tensor) -> Any:
        return (None, *[None if kind is None else wrap(zeros(*kind)) for kind in ctx.kinds])


def flat(result: Tensor, *sources: Any) -> Tensor:
    """``result`` as a function of ``sources`` whose gradient is zero."""
    return Flat.apply(result, *sources)  # type: ignore[no-any-return]


def neg(input: Tensor) -> Tensor:
    """-input."""
    if input._array.dtype.kind == "b":
        raise RuntimeError("Negation, the `-` operator, on a bool tensor is not supported. Use `~` or logical_not().")
    if input._array.dtype not in FLOATS:
        numpy_path(f"neg of {input.dtype}")
        return wrap(np.asarray(np.negative(input._array)))
    return Neg.apply(input)  # type: ignore[no-any-return]


def abs(input: Tensor) -> Tensor:
    """The magnitude; its gradient is 0 at 0."""
    if input._array.dtype not in FLOATS:
        numpy_path(f"abs of {input.dtype}")
        return wrap(np.asarray(np.abs(input._array)))
    return Abs.apply(input)  # type: ignore[no-any-return]


def square(input: Tensor) -> Tensor:
    """input * input."""
    if input._array.dtype not in FLOATS:
        return mul(input, input)
    return Square.apply(input)  # type: ignore[no-any-return]


def exp(input: Tensor) -> Tensor:
    """e ** input."""
    return Exp.apply(floating("exp", input))  # type: ignore[no-any-return]


def expm1(input: Tensor) -> Tensor:
    """e ** input - 1, accurate near 0."""
    return Expm1.apply(floating("expm1", input))  # type: ignore[no-any-return]


def log(input: Tensor) -> Tensor:
    """The natural logarithm."""
    return Log.apply(floating("log", input))  # type: ignore[no-any-return]


def log1p(input: Tensor) -> Tensor:
    """log(1 + input), accurate near 0."""
    return Log1p.apply(floating("log1p", input))  # type: ignore[no-any-return]


def log2(input: Tensor) -> Tensor:
    """The logarithm to base 2."""
    return mul(log(input), 1 / float(np.log(2.0)))


def log10(input: Tensor) -> Tensor:
    """The logarithm to base 10."""
    return mul(log(input), 1 / float(np.log(10.0)))


def sqrt(input: Tensor) -> Tensor:
    """The square root."""
    return Sqrt.apply(floating("sqrt", input))  # type: ignore[no-any-return]


def rsqrt(input: Tensor) -> Tensor:
    """1 / sqrt(input)."""
    return Rsqrt.apply(floating("rsqrt", input))  # type: ignore[no-any-return]


def reciprocal(input: Tensor) -> Tensor:
    """1 / input."""
    return Reciprocal.apply(floating("reciprocal", input))  # type: ignore[no-any-return]


def sin(input: Tensor) -> Tensor:
    """The sine."""
    return Sin.apply(floating("sin", input))  # type: ignore[no-any-return]


def cos(input: Tensor) -> Tensor:
    """The cosine."""
    return Cos.apply(floating("cos", input))  # type: ignore[no-any-return]


def tan(input: Tensor) -> Tensor:
    """The tangent."""
    return Tan.apply(floating("tan", input))  # type: ignore[no-any-return]


def erf(input: Tensor) -> Tensor:
    """The error function."""
    return Erf.apply(floating("erf", input))  # type: ignore[no-any-return]


def erfc(input: Tensor) -> Tensor:
    """1 - erf(input), accurate where that is small."""
    return Erfc.apply(floating("erfc", input))  # type: ignore[no-any-return]


class Clamp(Function):
    @staticmethod
    def forward(ctx: Context, x: Tensor, low: float, high: float) -> Tensor:
        ctx.save_for_backward(x)
        ctx.bounds = low, high
        return wrap(kernels.clamp(x._array, low, high))

    @staticmethod
    def backward(ctx: Context, dy: Tensor) -> Any:
        (x,) = ctx.saved_tensors
        return ClampGradient.apply(dy, x.detach(), *ctx.bounds), None, None


class ClampGradient(Function):
    """dy where low <= x <= high, else 0: linear in dy, flat in x."""

    @staticmethod
    def forward(ctx: Context, dy: Tensor, x: Tensor, low: float, high: float) -> Tensor:
        ctx.save_for_backward(x)
        ctx.bounds = low, high
        return wrap(kernels.clamp_backward(dy._array, x._array, low, high))

    @staticmethod
    def backward(ctx: Context, ddx: Tensor) -> Any:
        (x,) = ctx.saved_tensors
        return ClampGradient.apply(ddx, x, *ctx.bounds), None, None, None


def clamp(input: Tensor, min: Any = None, max: Any = None) -> Tensor:
    """input held between ``min`` and ``max``, numbers or tensors; None doesn't bound."""
    if min is None and max is None:
        raise RuntimeError("clamp: at least one of 'min' or 'max' must not be None")
    numbers = not isinstance(min, Tensor) and not isinstance(max, Tensor)
    if numbers and input._array.dtype in FLOATS:
        low, high = -np.inf if min is None else min, np.inf if max is None else max
        return Clamp.apply(input, float(low), float(high))  # type: ignore[no-any-return]
    if numbers and not isinstance(min, float) and not isinstance(max, float):
        numpy_path(f"clamp of {input.dtype}")
        array = input._array
        array = array if min is None else np.maximum(array, np.asarray(min, array.dtype))
        return wrap(np.asarray(array if max is None else np.minimum(array, np.asarray(max, array.dtype))))
    x = input
    if min is not None:
        x = ops.where(ops.lt(x, min), min, x)
    return x if max is None else ops.where(ops.gt(x, max), max, x)


def clamp_min(input: Tensor, min: Any) -> Tensor:
    """input where it isn't below ``min``, a number or a tensor."""
    return clamp(input, min, None)


def clamp_max(input: Tensor, max: Any) -> Tensor:
    """input where it isn't above ``max``, a number or a tensor."""
    return clamp(input, None, max)


clip = clamp
absolute = abs
negative = neg
