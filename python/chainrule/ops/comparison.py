"""Comparisons, logic, bits, special values, rounding: exact, and without a gradient (rounding: a zero one)."""

from __future__ import annotations

import builtins
from collections.abc import Callable
from typing import Any

import numpy as np

from chainrule import kernels
from chainrule.autograd import Context, Function
from chainrule.broadcasting import common_shape
from chainrule.ops.joining import number_like, promote
from chainrule.ops.memory import FLOATS, MOVABLE, cast_array, zeros
from chainrule.recording.state import numpy_path
from chainrule.tensor import Tensor, wrap

__all__ = [
    "allclose",
    "bitwise_and",
    "bitwise_not",
    "bitwise_or",
    "bitwise_xor",
    "ceil",
    "eq",
    "equal",
    "floor",
    "ge",
    "greater",
    "greater_equal",
    "gt",
    "isclose",
    "isfinite",
    "isinf",
    "isnan",
    "le",
    "less",
    "less_equal",
    "logical_and",
    "logical_not",
    "logical_or",
    "logical_xor",
    "lt",
    "ne",
    "not_equal",
    "round",
    "sign",
    "trunc",
]

Array = np.ndarray[Any, Any]


def _pair(op: str, x: Any, y: Any) -> tuple[Any, Any]:
    """Both operands in their common dtype; a number beside floats stays one."""
    if not isinstance(x, Tensor):
        x = number_like(x, y)
    if not isinstance(y, Tensor):
        if not isinstance(y, (bool, int, float)):
            raise TypeError(f"{op}: argument 'other' is a {type(y).__name__}, want a tensor or a number")
        if x._array.dtype in FLOATS:
            return x._array, y
        y = number_like(y, x)
    a, b = x._array, y._array
    if a.dtype != b.dtype:
        dtype = promote(x, y)
        a, b = cast_array(a, dtype), cast_array(b, dtype)
    common_shape(op, a.shape, b.shape)
    return a, b


def _binary(
    name: str, kernel: Callable[..., Array] | None, function: Callable[..., Any], doc: str
) -> Callable[[Any, Any], Tensor]:
    """By the kernel for the dtypes that it takes (a bitwise one's for bools), else by NumPy."""
    taken = MOVABLE if name in kernels.compare.__all__ else (np.dtype(bool),)

    def compare(input: Any, other: Any) -> Tensor:
        a, b = _pair(name, input, other)
        if kernel is not None and a.dtype in taken:
            return wrap(kernel(a, b))
        numpy_path(f"{name} of {a.dtype}")
        try:
            return wrap(np.asarray(function(a, b)))
        except TypeError:
            raise RuntimeError(f"{name}: got {a.dtype}, want integer or bool operands") from None

    compare.__name__ = compare.__qualname__ = name
    compare.__doc__ = doc
    return compare


eq = _binary("eq", kernels.eq, np.equal, "Where input == other.")
ne = _binary("ne", kernels.ne, np.not_equal, "Where input != other.")
lt = _binary("lt", kernels.lt, np.less, "Where input < other.")
le = _binary("le", kernels.le, np.less_equal, "Where input <= other.")
gt = _binary("gt", kernels.gt, np.greater, "Where input > other.")
ge = _binary("ge", kernels.ge, np.greater_equal, "Where input >= other.")
logical_and = _binary("logical_and", kernels.logical_and, np.logical_and, "Where both aren't zero.")
logical_or = _binary("logical_or", kernels.logical_or, np.logical_or, "Where one isn't zero.")
logical_xor = _binary("logical_xor", kernels.logical_xor, np.logical_xor, "Where exactly one isn't zero.")
bitwise_and = _binary("bitwise_and", kernels.logical_and, np.bitwise_and, "The bits that both have; and of bools.")
bitwise_or = _binary("bitwise_or", kernels.logical_or, np.bitwise_or, "The bits that one has; or of bools.")
bitwise_xor = _binary(
    "bitwise_xor", kernels.logical_xor, np.bitwise_xor, "The bits that exactly one has; exclusive or of bools."
)

not_equal, less, less_equal, greater, greater_equal = ne, lt, le, gt, ge


def bitwise_not(input: Tensor) -> Tensor:
    """Every bit flipped; not of a bool."""
    if input._array.dtype.kind == "f":
        raise RuntimeError(f"bitwise_not: argument 'input' is {input.dtype}, want an integer or bool tensor")
    if input._array.dtype == bool:
        return wrap(kernels.eq(input._array, 0))
    numpy_path("bitwise_not of integers")
    return wrap(np.asarray(np.invert(input._array)))


def logical_not(input: Tensor) -> Tensor:
    """Where it is zero."""
    return eq(input, 0)


def isnan(input: Tensor) -> Tensor:
    """Where it is NaN."""
    return ne(input, input)


def _magnitude(input: Tensor) -> Tensor | None:
    """None for an integer, which is always finite."""
    if input._array.dtype.kind != "f":
        return None
    if input._array.dtype in FLOATS:
        return wrap(kernels.abs(input._array))
    numpy_path(f"abs of {input.dtype}")
    return wrap(np.asarray(np.abs(input._array)))


def isinf(input: Tensor) -> Tensor:
    """Where it is infinite."""
    size = _magnitude(input)
    return wrap(kernels.full(input.shape, False, np.bool_)) if size is None else eq(size, np.inf)


def isfinite(input: Tensor) -> Tensor:
    """Where it is neither infinite nor NaN."""
    size = _magnitude(input)
    return wrap(kernels.full(input.shape, True, np.bool_)) if size is None else lt(size, np.inf)


def equal(input: Tensor, other: Tensor) -> bool:
    """Whether shapes and all elements agree."""
    numpy_path("equal")
    return bool(np.array_equal(input._array, other._array))


def isclose(input: Tensor, other: Tensor, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False) -> Tensor:
    """Where ``|input - other| <= atol + rtol |other|``."""
    numpy_path("isclose")
    return wrap(np.asarray(np.isclose(input._array, other._array, rtol, atol, equal_nan)))


def allclose(input: Tensor, other: Tensor, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False) -> bool:
    """Whether ``|input - other| <= atol + rtol |other|`` everywhere."""
    numpy_path("allclose")
    return bool(np.allclose(input._array, other._array, rtol, atol, equal_nan))


class Step(Function):
    """A function that is flat wherever it has a derivative."""

    @staticmethod
    def forward(ctx: Context, x: Tensor, kernel: Callable[[Array], Array], function: Callable[[Array], Any]) -> Tensor:
        if x._array.dtype in FLOATS:
            return wrap(kernel(x._array))
        numpy_path(f"{kernel.__name__} of {x.dtype}")
        return wrap(np.asarray(function(x._array), dtype=x._array.dtype))

    @staticmethod
    def backward(ctx: Context, dy: Tensor) -> Any:
        return wrap(zeros(dy.shape, dy.dtype)), None, None


def floor(input: Tensor) -> Tensor:
    """The largest whole number that isn't above."""
    return Step.apply(input, kernels.floor, np.floor)  # type: ignore[no-any-return]


def ceil(input: Tensor) -> Tensor:
    """The smallest whole number that isn't below."""
    return Step.apply(input, kernels.ceil, np.ceil)  # type: ignore[no-any-return]


def trunc(input: Tensor) -> Tensor:
    """The whole number next towards zero."""
    return Step.apply(input, kernels.trunc, np.trunc)  # type: ignore[no-any-return]


def round(input: Tensor, *, decimals: int = 0) -> Tensor:
    """The nearest whole number (or multiple of 10^-decimals), halves to even."""

    def to_decimals(x: Array) -> Array:
        if decimals == 0:
            return kernels.round(x)
        scale = 10.0 ** builtins.abs(decimals)
        up, down = (kernels.mul, kernels.div) if decimals > 0 else (kernels.div, kernels.mul)
        return down(kernels.round(up(x, scale)), scale)

    return Step.apply(input, to_decimals, lambda x: np.round(x, decimals))  # type: ignore[no-any-return]


def sign(input: Tensor) -> Tensor:
    """-1, 0 or 1; 0 for NaN."""
    return Step.apply(  # type: ignore[no-any-return]
        input, kernels.sign, lambda x: np.subtract(x > 0, x < 0, dtype=np.int8)
    )
