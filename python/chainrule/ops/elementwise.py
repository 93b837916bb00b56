"""Arithmetic of two operands: tensors, or a tensor and a Python number, broadcast and promoted as in PyTorch.

Floating results come from the kernels; integer and bool ones from NumPy, whose arithmetic is exact there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from chainrule import dtypes, kernels, ops
from chainrule.autograd import Context, Function
from chainrule.broadcasting import common_shape
from chainrule.ops.joining import cast, number_like, promote
from chainrule.ops.memory import FLOATS, zeros
from chainrule.recording.state import numpy_path
from chainrule.tensor import Tensor, wrap

__all__ = [
    "add",
    "addcdiv",
    "addcmul",
    "arctan2",
    "atan2",
    "div",
    "divide",
    "floor_divide",
    "fmod",
    "lerp",
    "maximum",
    "minimum",
    "mul",
    "multiply",
    "pow",
    "remainder",
    "rsub",
    "sub",
    "subtract",
    "true_divide",
]

Array = np.ndarray[Any, Any]


def raw(x: Any) -> Any:
    """A tensor's array; a number or None as it is."""
    return x._array if isinstance(x, Tensor) else x


def compute(kernel: Callable[..., Array], fallback: Callable[..., Any], *operands: Any) -> Tensor:
    """The kernel's result for floats, else NumPy's."""
    arrays = [raw(x) for x in operands]
    first = next(a for a in arrays if isinstance(a, np.ndarray))
    if first.dtype in FLOATS:
        return wrap(kernel(*arrays))
    numpy_path(f"{fallback.__name__} of {first.dtype}")
    return wrap(np.asarray(fallback(*arrays)))


def shape_of(x: Any) -> tuple[int, ...] | None:
    return x._array.shape if isinstance(x, Tensor) else None


def summed(gradient: Tensor, shape: tuple[int, ...] | None) -> Tensor | None:
    """A gradient summed over what broadcasting repeated; None for a number."""
    if shape is None or gradient._array.shape == shape:
        return None if shape is None else gradient
    return ops.unbroadcast(gradient, shape)


def checked(op: str, a: Any, b: Any) -> tuple[Any, Any]:
    """Both operands in the result's dtype; a number stays one where that is the tensor's."""
    if not isinstance(a, Tensor):
        if not isinstance(b, Tensor) or not isinstance(a, (int, float)):
            raise TypeError(f"{op}: argument 'input' is a {type(a).__name__}, want a Tensor")
        a = number_like(a, b)
    if not isinstance(b, Tensor):
        if isinstance(b, np.generic):
            b = b.item()
        if not isinstance(b, (int, float)):
            raise TypeError(f"{op}: argument 'other' is a {type(b).__name__}, want a Tensor or a number")
        if a._array.dtype in FLOATS:
            return a, b
        b = number_like(b, a)
    if a._array.dtype != b._array.dtype:
        dtype = promote(a, b)
        a, b = cast(a, dtype), cast(b, dtype)
    if a._array.shape != b._array.shape:
        common_shape(op, a._array.shape, b._array.shape)
    return a, b


def as_floats(a: Any, b: Any) -> tuple[Any, Any]:
    """Integer operands in the default float dtype."""
    if a._array.dtype.kind in "biu":
        a = cast(a, np.dtype(dtypes.get_default_dtype()))
        b = cast(b, a._array.dtype) if isinstance(b, Tensor) else b
    return a, b


class Add(Function):
    @staticmethod
    def forward(ctx: Context, a: Tensor, b: Any) -> Tensor:
        ctx.shapes = a._array.shape, shape_of(b)
        return compute(kernels.add, np.add, a, b)

    @staticmethod
    def backward(ctx: Context, dy: Tensor) -> Any:
        need = ctx.needs_input_grad
        return summed(dy, ctx.shapes[0]) if need[0] else None, summed(dy, ctx.shapes[1]) if need[1] else None


class Sub(Function):
    @staticmethod
    def forward(ctx: Context, a: Tensor, b: Any) -> Tensor:
        ctx.shapes = a._array.shape, shape_of(b)
        return compute(kernels.sub, np.subtract, a, b)

    @staticmethod
    def backward(ctx: Context, dy: Tensor) -> Any:
        need = ctx.needs_input_grad
        return summed(dy, ctx.shapes[0]) if need[0] else None, summed(ops.neg(dy), ctx.shapes[1]) if need[1] else None


def save(ctx: Context, a: Tensor, b: Any) -> None:
    ctx.number = None if isinstance(b, Tensor) else b
    ctx.save_for_backward(a, b if isinstance(b, Tensor) else None)


def saved(ctx: Context) -> tuple[Tensor, Any]:
    a, b = ctx.saved_tensors
    return a, ctx.number if b is None else b


class Mul(Function):
    @staticmethod
    def forward(ctx: Context, a: Tensor, b: Any) -> Tensor:
        save(ctx, a, b)
        return compute(kernels.mul, np.multiply, a, b)

    @staticmethod
    def backward(ctx: Context, dy: Tensor) -> Any:
        a, b = saved(ctx)
        da = summed(Mul.apply(dy, b), a.shape) if ctx.needs_input_grad[0] else None
        return da, summed(Mul.apply(dy, a), b.shape) if ctx.needs_input_grad[1] else None


class Div(Function):
    """a / b: da = dy / b, db = -dy (a / b) / b."""

    @staticmethod
    def forward(ctx: Context, a: Tensor, b: Any) -> Tensor:
        save(ctx, a, b)
        return compute(kernels.div, np.divide, a, b)

    @staticmethod
    def backward(ctx: Context, dy: Tensor) -> Any:
        a, b = saved(ctx)
        da = summed(Div.apply(dy, b), a.shape) if ctx.needs_input_grad[0] else None
        if not ctx.needs_input_grad[1]:
            return da, None
        return da, summed(ops.neg(Mul.apply(dy, Div.apply(Div.apply(a, b), b))), b.shape)


class PowNumber(Function):
    """x^p: dx = dy p x^(p - 1), and 0 for p = 0."""

    @staticmethod
    def forward(ctx: Context, x: Tensor, p: Any) -> Tensor:
        ctx.p = p
        ctx.save_for_backward(x)
        if p == 2:
            return wrap(kernels.square(x._array))
        if p == 0.5:
            return wrap(kernels.sqrt(x._array))
        return wrap(kernels.pow(x._array, p))

    @staticmethod
    def backward(ctx: Context, dy: Tensor) -> Any:
        (x,) = ctx.saved_tensors
        p = ctx.p
        if p == 0:
            return wrap(zeros(dy.shape, dy.dtype)), None
        factor = x if p == 2 else PowNumber.apply(x, p - 1)
        return Mul.apply(dy, factor if p == 1 else Mul.apply(factor, p)), None


class Pow(Function):
    """a^b: da = dy b a^(b - 1), 0 where b = 0; db = dy a^b log a, 0 where a = 0 and b >= 0."""

    @staticmethod
    def forward(ctx: Context, a: Tensor, b: Tensor) -> Tensor:
        y = wrap(kernels.pow(a._array, b._array))
        ctx.save_for_backward(a, b, y)
        return y

    @staticmethod
    def backward(ctx: Context, dy: Tensor) -> Any:
        a, b, y = ctx.saved_tensors
        da = db = None
        if ctx.needs_input_grad[0]:
            slope = Mul.apply(b, Pow.apply(a, Sub.apply(b, 1)))
            da = summed(Mul.apply(dy, ops.where(wrap(kernels.eq(b._array, 0.0)), 0.0, slope)), a.shape)
        if ctx.needs_input_grad[1]:
            nothing = kernels.logical_and(kernels.eq(a._array, 0.0), kernels.ge(b._array, 0.0))
            slope = Mul.apply(y, ops.log(ops.where(wrap(nothing), 1.0, a)))
            db = summed(Mul.apply(dy, slope), b.shape)
        return da, db


class Extreme(Function):
    """The larger (or smaller) operand, which gets the gradient; equal ones get half each."""

    @staticmethod
    def forward(ctx: Context, a: Tensor, b: Tensor, largest: bool) -> Tensor:
        ctx.save_for_backward(a, b)
        ctx.largest = largest
        if largest:
            return compute(kernels.maximum, np.maximum, a, b)
        return compute(kernels.minimum, np.minimum, a, b)

    @staticmethod
    def backward(ctx: Context, dy: Tensor) -> Any:
        a, b = ctx.saved_tensors
        x, y = a._array, b._array

        def share(mine: Array, theirs: Array) -> Tensor:
            lost = (kernels.lt if ctx.largest else kernels.gt)(mine, theirs)
            kept = kernels.cast(kernels.eq(lost, 0), dy._array.dtype)
            return wrap(kernels.where(kernels.eq(mine, theirs), 0.5, kept))

        da = summed(Mul.apply(dy, share(x, y)), a.shape) if ctx.needs_input_grad[0] else None
        return da, summed(Mul.apply(dy, share(y, x)), b.shape) if ctx.needs_input_grad[1] else None, None


def add(input: Any, other: Any, *, alpha: float = 1) -> Tensor:
    """input + alpha * other."""
    if alpha != 1:
        other = mul(other, alpha) if isinstance(other, Tensor) else other * alpha
    return Add.apply(*checked("add", input, other))  # type: ignore[no-any-return]


def sub(input: Any, other: Any, *, alpha: float = 1) -> Tensor:
    """input - alpha * other."""
    if alpha != 1:
        other = mul(other, alpha) if isinstance(other, Tensor) else other * alpha
    a, b = checked("sub", input, other)
    if a._array.dtype.kind == "b":
        raise RuntimeError("Subtraction, the `-` operator, with a bool tensor is not supported. Use `^`.")
    return Sub.apply(a, b)  # type: ignore[no-any-return]


def rsub(input: Any, other: Any, *, alpha: float = 1) -> Tensor:
    """other - alpha * input."""
    return sub(other, input, alpha=alpha)


def mul(input: Any, other: Any) -> Tensor:
    """input * other."""
    return Mul.apply(*checked("mul", input, other))  # type: ignore[no-any-return]


def _divided(ufunc: Callable[..., Any], a: Tensor, b: Any) -> Array:
    """A division of integers, exact."""
    numpy_path(f"a division of {a.dtype}")
    if np.any(raw(b) == 0):
        raise RuntimeError("ZeroDivisionError")
    return np.asarray(ufunc(a._array, raw(b)))


def div(input: Any, other: Any, *, rounding_mode: str | None = None) -> Tensor:
    """input / other; ``rounding_mode`` "trunc" or "floor" rounds the quotient (integers then stay integers)."""
    if rounding_mode not in (None, "trunc", "floor"):
        raise RuntimeError(f"div expected rounding_mode to be one of None, 'trunc', or 'floor' not {rounding_mode!r}")
    a, b = checked("div", input, other)
    if rounding_mode is None:
        return Div.apply(*as_floats(a, b))  # type: ignore[no-any-return]
    if a._array.dtype.kind in "iu":
        quotient = _divided(np.floor_divide, a, b)
        if rounding_mode == "trunc":
            quotient = quotient + ((quotient < 0) & (quotient * raw(b) != a._array)).astype(quotient.dtype)
        return wrap(np.asarray(quotient))
    if rounding_mode == "trunc":
        return ops.trunc(Div.apply(*as_floats(a, b)))
    a, b = as_floats(a, b)
    numpy_path("floor_divide")
    with np.errstate(all="ignore"):
        quotient = np.floor_divide(a._array, np.asarray(raw(b), a._array.dtype))
        exact = np.asarray(a._array / np.asarray(raw(b), a._array.dtype))
    return ops.unary.flat(wrap(np.where(np.isfinite(exact), quotient, exact)), a, b)


def floor_divide(input: Any, other: Any) -> Tensor:
    """The quotient rounded down."""
    return div(input, other, rounding_mode="floor")


def remainder(input: Any, other: Any) -> Tensor:
    """What floor division leaves: of other's sign."""
    a, b = checked("remainder", input, other)
    if a._array.dtype.kind in "iu":
        return wrap(_divided(np.remainder, a, b))
    return Remainder.apply(a, b, np.remainder, "floor")  # type: ignore[no-any-return]


def fmod(input: Any, other: Any) -> Tensor:
    """What truncated division leaves: of input's sign."""
    a, b = checked("fmod", input, other)
    if a._array.dtype.kind in "iu":
        return wrap(_divided(np.fmod, a, b))
    return Remainder.apply(a, b, np.fmod, "trunc")  # type: ignore[no-any-return]


class Remainder(Function):
    """a - b * rounded(a / b); the quotient counts as constant."""

    @staticmethod
    def forward(ctx: Context, a: Tensor, b: Any, ufunc: Callable[..., Any], mode: str) -> Tensor:
        save(ctx, a, b)
        ctx.mode = mode
        numpy_path("remainder")
        with np.errstate(all="ignore"):
            return wrap(np.asarray(ufunc(a._array, np.asarray(raw(b), a._array.dtype))))

    @staticmethod
    def backward(ctx: Context, dy: Tensor) -> Any:
        a, b = saved(ctx)
        da = summed(dy, a.shape) if ctx.needs_input_grad[0] else None
        if not ctx.needs_input_grad[1]:
            return da, None, None, None
        quotient = div(a.detach(), b.detach(), rounding_mode=ctx.mode)
        return da, summed(ops.neg(Mul.apply(dy, quotient)), b.shape), None, None


def pow(input: Any, exponent: Any) -> Tensor:
    """input ** exponent; either may be a number."""
    a, b = checked("pow", input, exponent)
    if a._array.dtype in FLOATS:
        return (Pow if isinstance(b, Tensor) else PowNumber).apply(a, b)  # type: ignore[no-any-return]
    numpy_path(f"pow of {a.dtype}")
    if np.any(raw(b) < 0):
        raise RuntimeError("Integers to negative integer powers are not allowed.")
    return wrap(np.asarray(np.power(a._array, raw(b)), a._array.dtype))


def _extreme(op: str, input: Any, other: Any, largest: bool) -> Tensor:
    a, b = checked(op, input, other)
    return Extreme.apply(a, b if isinstance(b, Tensor) else number_like(b, a), largest)  # type: ignore[no-any-return]


def maximum(input: Tensor, other: Tensor) -> Tensor:
    """The larger of both; NaN where either is."""
    return _extreme("maximum", input, other, True)


def minimum(input: Tensor, other: Tensor) -> Tensor:
    """The smaller of both; NaN where either is."""
    return _extreme("minimum", input, other, False)


class Atan2(Function):
    @staticmethod
    def forward(ctx: Context, a: Tensor, b: Tensor) -> Tensor:
        ctx.save_for_backward(a, b)
        numpy_path("atan2")
        return wrap(np.asarray(np.arctan2(a._array, b._array)))

    @staticmethod
    def backward(ctx: Context, dy: Tensor) -> Any:
        a, b = ctx.saved_tensors
        scaled = div(dy, add(mul(a, a), mul(b, b)))
        da = summed(mul(scaled, b), a.shape) if ctx.needs_input_grad[0] else None
        return da, summed(ops.neg(mul(scaled, a)), b.shape) if ctx.needs_input_grad[1] else None


def atan2(input: Any, other: Any) -> Tensor:
    """The angle of the point (other, input)."""
    a, b = as_floats(*checked("atan2", input, other))
    return Atan2.apply(a, b if isinstance(b, Tensor) else number_like(b, a))  # type: ignore[no-any-return]


arctan2 = atan2


def lerp(input: Tensor, end: Tensor, weight: Any) -> Tensor:
    """input + weight * (end - input)."""
    return add(input, mul(sub(end, input), weight))


def addcmul(input: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: float = 1) -> Tensor:
    """input + value * tensor1 * tensor2."""
    return add(input, mul(tensor1, tensor2), alpha=value)


def addcdiv(input: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: float = 1) -> Tensor:
    """input + value * tensor1 / tensor2."""
    return add(input, div(tensor1, tensor2), alpha=value)


multiply = mul
subtract = sub
divide = true_divide = div
