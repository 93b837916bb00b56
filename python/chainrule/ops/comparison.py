"""Comparisons, logic, bits, special values, rounding: exact, and without a gradient (rounding: a zero one)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from chainrule.autograd import Context, Function
from chainrule.ops.joining import number_like, promote
from chainrule.ops.memory import zeros
from chainrule.ops.view import dimension
from chainrule.tensor import Tensor, wrap

__all__ = [
    "all",
    "allclose",
    "any",
    "bitwise_and",
    "bitwise_not",
    "bitwise_or",
    "bitwise_xor",
    "ceil",
    "eq",
    "equal",
    "floor",
    "ge",
    "gt",
    "isclose",
    "isfinite",
    "isinf",
    "isnan",
    "le",
    "logical_and",
    "logical_not",
    "logical_or",
    "logical_xor",
    "lt",
    "ne",
    "round",
    "sign",
    "trunc",
]

Array = np.ndarray[Any, Any]


def _pair(op: str, x: Any, y: Any) -> tuple[Array, Array]:
    """Both operands in their common dtype."""
    if not isinstance(x, Tensor):
        x = number_like(x, y)
    if not isinstance(y, Tensor):
        if not isinstance(y, (bool, int, float)):
            raise TypeError(f"{op}: argument 'other' is a {type(y).__name__}, want a tensor or a number")
        y = number_like(y, x)
    a, b = x._array, y._array
    if a.dtype != b.dtype:
        dtype = promote(x, y)
        a, b = a.astype(dtype, copy=False), b.astype(dtype, copy=False)
    try:
        np.broadcast_shapes(a.shape, b.shape)
    except ValueError:
        raise RuntimeError(f"{op}: shapes {list(a.shape)} and {list(b.shape)} don't broadcast") from None
    return a, b


def _binary(name: str, function: Callable[..., Any], doc: str) -> Callable[[Any, Any], Tensor]:
    def compare(input: Any, other: Any) -> Tensor:
        a, b = _pair(name, input, other)
        try:
            return wrap(np.asarray(function(a, b)))
        except TypeError:
            raise RuntimeError(f"{name}: got {a.dtype}, want integer or bool operands") from None

    compare.__name__ = compare.__qualname__ = name
    compare.__doc__ = doc
    return compare


eq = _binary("eq", np.equal, "Where input == other.")
ne = _binary("ne", np.not_equal, "Where input != other.")
lt = _binary("lt", np.less, "Where input < other.")
le = _binary("le", np.less_equal, "Where input <= other.")
gt = _binary("gt", np.greater, "Where input > other.")
ge = _binary("ge", np.greater_equal, "Where input >= other.")
logical_and = _binary("logical_and", np.logical_and, "Where both aren't zero.")
logical_or = _binary("logical_or", np.logical_or, "Where one isn't zero.")
logical_xor = _binary("logical_xor", np.logical_xor, "Where exactly one isn't zero.")
bitwise_and = _binary("bitwise_and", np.bitwise_and, "The bits that both have; and of bools.")
bitwise_or = _binary("bitwise_or", np.bitwise_or, "The bits that one has; or of bools.")
bitwise_xor = _binary("bitwise_xor", np.bitwise_xor, "The bits that exactly one has; exclusive or of bools.")


def bitwise_not(input: Tensor) -> Tensor:
    """Every bit flipped; not of a bool."""
    if input._array.dtype.kind == "f":
        raise RuntimeError(f"bitwise_not: argument 'input' is {input.dtype}, want an integer or bool tensor")
    return wrap(np.asarray(np.invert(input._array)))


def logical_not(input: Tensor) -> Tensor:
    """Where it is zero."""
    return wrap(np.asarray(np.logical_not(input._array)))


def isnan(input: Tensor) -> Tensor:
    """Where it is NaN."""
    return wrap(np.asarray(np.isnan(input._array)))


def isinf(input: Tensor) -> Tensor:
    """Where it is infinite."""
    return wrap(np.asarray(np.isinf(input._array)))


def isfinite(input: Tensor) -> Tensor:
    """Where it is neither infinite nor NaN."""
    return wrap(np.asarray(np.isfinite(input._array)))


def _axes(op: str, input: Tensor, dim: int | Sequence[int] | None) -> tuple[int, ...] | None:
    if dim is None:
        return None
    chosen = [dim] if isinstance(dim, int) else list(dim)
    axes = tuple(dimension(op, d, input._array.ndim) for d in chosen)
    return axes if input._array.ndim else None


def all(input: Tensor, dim: int | Sequence[int] | None = None, keepdim: bool = False) -> Tensor:
    """Whether every element (along ``dim``) isn't zero."""
    return wrap(np.asarray(np.all(input._array, _axes("all", input, dim), keepdims=keepdim)))


def any(input: Tensor, dim: int | Sequence[int] | None = None, keepdim: bool = False) -> Tensor:
    """Whether an element (along ``dim``) isn't zero."""
    return wrap(np.asarray(np.any(input._array, _axes("any", input, dim), keepdims=keepdim)))


def equal(input: Tensor, other: Tensor) -> bool:
    """Whether shapes and all elements agree."""
    return bool(np.array_equal(input._array, other._array))


def isclose(input: Tensor, other: Tensor, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False) -> Tensor:
    """Where ``|input - other| <= atol + rtol |other|``."""
    return wrap(np.asarray(np.isclose(input._array, other._array, rtol, atol, equal_nan)))


def allclose(input: Tensor, other: Tensor, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False) -> bool:
    """Whether ``|input - other| <= atol + rtol |other|`` everywhere."""
    return bool(np.allclose(input._array, other._array, rtol, atol, equal_nan))


class Step(Function):
    """A function that is flat wherever it has a derivative."""

    @staticmethod
    def forward(ctx: Context, x: Tensor, function: Callable[[Array], Any]) -> Tensor:
        return wrap(np.asarray(function(x._array), dtype=x._array.dtype))

    @staticmethod
    def backward(ctx: Context, dy: Tensor) -> Any:
        return wrap(zeros(dy.shape, dy.dtype)), None


def floor(input: Tensor) -> Tensor:
    """The largest whole number that isn't above."""
    return Step.apply(input, np.floor)  # type: ignore[no-any-return]


def ceil(input: Tensor) -> Tensor:
    """The smallest whole number that isn't below."""
    return Step.apply(input, np.ceil)  # type: ignore[no-any-return]


def trunc(input: Tensor) -> Tensor:
    """The whole number next towards zero."""
    return Step.apply(input, np.trunc)  # type: ignore[no-any-return]


def round(input: Tensor, *, decimals: int = 0) -> Tensor:
    """The nearest whole number (or multiple of 10^-decimals), halves to even."""
    return Step.apply(input, lambda x: np.round(x, decimals))  # type: ignore[no-any-return]


def sign(input: Tensor) -> Tensor:
    """-1, 0 or 1; 0 for NaN."""
    return Step.apply(input, lambda x: np.subtract(x > 0, x < 0, dtype=np.int8))  # type: ignore[no-any-return]
