"""Tensor's operators and mathematical methods: each forwards to the operation of its name in :mod:`chainrule.ops`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

import chainrule

if TYPE_CHECKING:
    from chainrule.tensor import Tensor

__all__ = ["Math"]

Dims = int | Sequence[int] | None


def operand(x: Any) -> Any:
    """What may stand beside a tensor in an operator: a tensor, a Python number, an array; None for anything else."""
    if isinstance(x, (chainrule.Tensor, float, int)):
        return x
    if isinstance(x, np.ndarray):
        return chainrule.from_numpy(x)
    return x.item() if isinstance(x, np.generic) else None


def _lifted(x: Any, like: Tensor) -> Tensor:
    """An operand on the left as a tensor: a number as 0-d, which doesn't widen the dtype within its kind."""
    return x if isinstance(x, chainrule.Tensor) else chainrule.ops.joining.number_like(x, like)


class Math:
    """Operators and mathematics of Tensor."""

    def __add__(self: Tensor, other: Any) -> Tensor:
        y = operand(other)
        return NotImplemented if y is None else chainrule.ops.add(self, y)

    def __radd__(self: Tensor, other: Any) -> Tensor:
        y = operand(other)
        return NotImplemented if y is None else chainrule.ops.add(_lifted(y, self), self)

    def __sub__(self: Tensor, other: Any) -> Tensor:
        y = operand(other)
        return NotImplemented if y is None else chainrule.ops.sub(self, y)

    def __rsub__(self: Tensor, other: Any) -> Tensor:
        y = operand(other)
        return NotImplemented if y is None else chainrule.ops.sub(_lifted(y, self), self)

    def __mul__(self: Tensor, other: Any) -> Tensor:
        y = operand(other)
        return NotImplemented if y is None else chainrule.ops.mul(self, y)

    def __rmul__(self: Tensor, other: Any) -> Tensor:
        y = operand(other)
        return NotImplemented if y is None else chainrule.ops.mul(_lifted(y, self), self)

    def __truediv__(self: Tensor, other: Any) -> Tensor:
        y = operand(other)
        return NotImplemented if y is None else chainrule.ops.div(self, y)

    def __rtruediv__(self: Tensor, other: Any) -> Tensor:
        y = operand(other)
        return NotImplemented if y is None else chainrule.ops.div(_lifted(y, self), self)

    def __floordiv__(self: Tensor, other: Any) -> Tensor:
        y = operand(other)
        return NotImplemented if y is None else chainrule.ops.floor_divide(self, y)

    def __rfloordiv__(self: Tensor, other: Any) -> Tensor:
        y = operand(other)
        return NotImplemented if y is None else chainrule.ops.floor_divide(_lifted(y, self), self)

    def __mod__(self: Tensor, other: Any) -> Tensor:
        y = operand(other)
        return NotImplemented if y is None else chainrule.ops.remainder(self, y)

    def __rmod__(self: Tensor, other: Any) -> Tensor:
        y = operand(other)
        return NotImplemented if y is None else chainrule.ops.remainder(_lifted(y, self), self)

    def __pow__(self: Tensor, other: Any) -> Tensor:
        y = operand(other)
        return NotImplemented if y is None else chainrule.ops.pow(self, y)

    def __rpow__(self: Tensor, other: Any) -> Tensor:
        y = operand(other)
        return NotImplemented if y is None else chainrule.ops.pow(_lifted(y, self), self)

    def __and__(self: Tensor, other: Any) -> Tensor:
        y = operand(other)
        return NotImplemented if y is None else chainrule.ops.bitwise_and(self, y)

    def __rand__(self: Tensor, other: Any) -> Tensor:
        y = operand(other)
        return NotImplemented if y is None else chainrule.ops.bitwise_and(_lifted(y, self), self)

    def __or__(self: Tensor, other: Any) -> Tensor:
        y = operand(other)
        return NotImplemented if y is None else chainrule.ops.bitwise_or(self, y)

    def __ror__(self: Tensor, other: Any) -> Tensor:
        y = operand(other)
        return NotImplemented if y is None else chainrule.ops.bitwise_or(_lifted(y, self), self)

    def __xor__(self: Tensor, other: Any) -> Tensor:
        y = operand(other)
        return NotImplemented if y is None else chainrule.ops.bitwise_xor(self, y)

    def __rxor__(self: Tensor, other: Any) -> Tensor:
        y = operand(other)
        return NotImplemented if y is None else chainrule.ops.bitwise_xor(_lifted(y, self), self)

    def __matmul__(self: Tensor, other: Any) -> Tensor:
        y = operand(other)
        return NotImplemented if y is None else chainrule.ops.matmul(self, y)

    def __rmatmul__(self: Tensor, other: Any) -> Tensor:
        y = operand(other)
        return NotImplemented if y is None else chainrule.ops.matmul(y, self)

    def __eq__(self: Tensor, other: Any) -> Tensor:  # type: ignore[override]
        y = operand(other)
        return NotImplemented if y is None else chainrule.ops.eq(self, y)

    def __ne__(self: Tensor, other: Any) -> Tensor:  # type: ignore[override]
        y = operand(other)
        return NotImplemented if y is None else chainrule.ops.ne(self, y)

    def __lt__(self: Tensor, other: Any) -> Tensor:
        y = operand(other)
        return NotImplemented if y is None else chainrule.ops.lt(self, y)

    def __le__(self: Tensor, other: Any) -> Tensor:
        y = operand(other)
        return NotImplemented if y is None else chainrule.ops.le(self, y)

    def __gt__(self: Tensor, other: Any) -> Tensor:
        y = operand(other)
        return NotImplemented if y is None else chainrule.ops.gt(self, y)

    def __ge__(self: Tensor, other: Any) -> Tensor:
        y = operand(other)
        return NotImplemented if y is None else chainrule.ops.ge(self, y)

    __hash__ = object.__hash__

    def __neg__(self: Tensor) -> Tensor:
        return chainrule.ops.neg(self)

    def __pos__(self: Tensor) -> Tensor:
        return self

    def __abs__(self: Tensor) -> Tensor:
        return chainrule.ops.abs(self)

    def __invert__(self: Tensor) -> Tensor:
        return chainrule.ops.bitwise_not(self)

    # Element by element.

    def add(self: Tensor, other: Any, *, alpha: Any = 1) -> Tensor:
        return chainrule.ops.add(self, operand(other), alpha=alpha)

    def sub(self: Tensor, other: Any, *, alpha: Any = 1) -> Tensor:
        return chainrule.ops.sub(self, operand(other), alpha=alpha)

    def div(self: Tensor, other: Any, *, rounding_mode: str | None = None) -> Tensor:
        return chainrule.ops.div(self, operand(other), rounding_mode=rounding_mode)

    subtract, divide, true_divide = sub, div, div

    def mul(self: Tensor, other: Any) -> Tensor:
        return chainrule.ops.mul(self, operand(other))

    def floor_divide(self: Tensor, other: Any) -> Tensor:
        return chainrule.ops.floor_divide(self, operand(other))

    def remainder(self: Tensor, other: Any) -> Tensor:
        return chainrule.ops.remainder(self, operand(other))

    def pow(self: Tensor, exponent: Any) -> Tensor:
        return chainrule.ops.pow(self, operand(exponent))

    def maximum(self: Tensor, other: Any) -> Tensor:
        return chainrule.ops.maximum(self, operand(other))

    def minimum(self: Tensor, other: Any) -> Tensor:
        return chainrule.ops.minimum(self, operand(other))

    def atan2(self: Tensor, other: Any) -> Tensor:
        return chainrule.ops.atan2(self, operand(other))

    def eq(self: Tensor, other: Any) -> Tensor:
        return chainrule.ops.eq(self, operand(other))

    def ne(self: Tensor, other: Any) -> Tensor:
        return chainrule.ops.ne(self, operand(other))

    def lt(self: Tensor, other: Any) -> Tensor:
        return chainrule.ops.lt(self, operand(other))

    def le(self: Tensor, other: Any) -> Tensor:
        return chainrule.ops.le(self, operand(other))

    def gt(self: Tensor, other: Any) -> Tensor:
        return chainrule.ops.gt(self, operand(other))

    def ge(self: Tensor, other: Any) -> Tensor:
        return chainrule.ops.ge(self, operand(other))

    def logical_and(self: Tensor, other: Any) -> Tensor:
        return chainrule.ops.logical_and(self, operand(other))

    def logical_or(self: Tensor, other: Any) -> Tensor:
        return chainrule.ops.logical_or(self, operand(other))

    def logical_xor(self: Tensor, other: Any) -> Tensor:
        return chainrule.ops.logical_xor(self, operand(other))

    def bitwise_and(self: Tensor, other: Any) -> Tensor:
        return chainrule.ops.bitwise_and(self, operand(other))

    def bitwise_or(self: Tensor, other: Any) -> Tensor:
        return chainrule.ops.bitwise_or(self, operand(other))

    def bitwise_xor(self: Tensor, other: Any) -> Tensor:
        return chainrule.ops.bitwise_xor(self, operand(other))

    def fmod(self: Tensor, other: Any) -> Tensor:
        return chainrule.ops.fmod(self, operand(other))

    multiply, arctan2 = mul, atan2
    not_equal, less, less_equal, greater, greater_equal = ne, lt, le, gt, ge

    def neg(self: Tensor) -> Tensor:
        return chainrule.ops.neg(self)

    def abs(self: Tensor) -> Tensor:
        return chainrule.ops.abs(self)

    def exp(self: Tensor) -> Tensor:
        return chainrule.ops.exp(self)

    def expm1(self: Tensor) -> Tensor:
        return chainrule.ops.expm1(self)

    def log(self: Tensor) -> Tensor:
        return chainrule.ops.log(self)

    def log1p(self: Tensor) -> Tensor:
        return chainrule.ops.log1p(self)

    def log2(self: Tensor) -> Tensor:
        return chainrule.ops.log2(self)

    def log10(self: Tensor) -> Tensor:
        return chainrule.ops.log10(self)

    def sqrt(self: Tensor) -> Tensor:
        return chainrule.ops.sqrt(self)

    def rsqrt(self: Tensor) -> Tensor:
        return chainrule.ops.rsqrt(self)

    def reciprocal(self: Tensor) -> Tensor:
        return chainrule.ops.reciprocal(self)

    def square(self: Tensor) -> Tensor:
        return chainrule.ops.square(self)

    def sin(self: Tensor) -> Tensor:
        return chainrule.ops.sin(self)

    def cos(self: Tensor) -> Tensor:
        return chainrule.ops.cos(self)

    def tan(self: Tensor) -> Tensor:
        return chainrule.ops.tan(self)

    def tanh(self: Tensor) -> Tensor:
        return chainrule.ops.tanh(self)

    def sigmoid(self: Tensor) -> Tensor:
        return chainrule.ops.sigmoid(self)

    def relu(self: Tensor) -> Tensor:
        return chainrule.ops.relu(self)

    def erf(self: Tensor) -> Tensor:
        return chainrule.ops.erf(self)

    def erfc(self: Tensor) -> Tensor:
        return chainrule.ops.erfc(self)

    def floor(self: Tensor) -> Tensor:
        return chainrule.ops.floor(self)

    def ceil(self: Tensor) -> Tensor:
        return chainrule.ops.ceil(self)

    def round(self: Tensor) -> Tensor:
        return chainrule.ops.round(self)

    def trunc(self: Tensor) -> Tensor:
        return chainrule.ops.trunc(self)

    def sign(self: Tensor) -> Tensor:
        return chainrule.ops.sign(self)

    def isnan(self: Tensor) -> Tensor:
        return chainrule.ops.isnan(self)

    def isinf(self: Tensor) -> Tensor:
        return chainrule.ops.isinf(self)

    def isfinite(self: Tensor) -> Tensor:
        return chainrule.ops.isfinite(self)

    def logical_not(self: Tensor) -> Tensor:
        return chainrule.ops.logical_not(self)

    def bitwise_not(self: Tensor) -> Tensor:
        return chainrule.ops.bitwise_not(self)

    absolute, negative = abs, neg

    def clamp(self: Tensor, min: Any = None, max: Any = None) -> Tensor:
        return chainrule.ops.clamp(self, min, max)

    clip = clamp

    def clamp_min(self: Tensor, min: Any) -> Tensor:
        return chainrule.ops.clamp_min(self, min)

    def clamp_max(self: Tensor, max: Any) -> Tensor:
        return chainrule.ops.clamp_max(self, max)

    def lerp(self: Tensor, end: Tensor, weight: Any) -> Tensor:
        return chainrule.ops.lerp(self, end, weight)

    def addcmul(self: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: float = 1) -> Tensor:
        return chainrule.ops.addcmul(self, tensor1, tensor2, value=value)

    def addcdiv(self: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: float = 1) -> Tensor:
        return chainrule.ops.addcdiv(self, tensor1, tensor2, value=value)

    def where(self: Tensor, condition: Tensor, other: Any) -> Tensor:
        chosen: Tensor = chainrule.ops.where(condition, self, operand(other))
        return chosen

    # Reductions.

    def sum(self: Tensor, dim: Dims = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
        return chainrule.ops.sum(self, dim, keepdim, dtype=dtype)

    def mean(self: Tensor, dim: Dims = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
        return chainrule.ops.mean(self, dim, keepdim, dtype=dtype)

    def prod(self: Tensor, dim: int | None = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
        return chainrule.ops.prod(self, dim, keepdim, dtype=dtype)

    def max(self: Tensor, dim: Any = None, keepdim: bool = False) -> Any:
        return chainrule.ops.max(self, dim, keepdim)

    def min(self: Tensor, dim: Any = None, keepdim: bool = False) -> Any:
        return chainrule.ops.min(self, dim, keepdim)

    def amax(self: Tensor, dim: Dims = (), keepdim: bool = False) -> Tensor:
        return chainrule.ops.amax(self, dim, keepdim)

    def amin(self: Tensor, dim: Dims = (), keepdim: bool = False) -> Tensor:
        return chainrule.ops.amin(self, dim, keepdim)

    def argmax(self: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
        return chainrule.ops.argmax(self, dim, keepdim)

    def argmin(self: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
        return chainrule.ops.argmin(self, dim, keepdim)

    def var(
        self: Tensor, dim: Dims = None, unbiased: bool = True, keepdim: bool = False, *, correction: Any = None
    ) -> Tensor:
        return chainrule.ops.var(self, dim, unbiased, keepdim, correction=correction)

    def std(
        self: Tensor, dim: Dims = None, unbiased: bool = True, keepdim: bool = False, *, correction: Any = None
    ) -> Tensor:
        return chainrule.ops.std(self, dim, unbiased, keepdim, correction=correction)

    def norm(self: Tensor, p: Any = "fro", dim: Dims = None, keepdim: bool = False, dtype: Any = None) -> Tensor:
        return chainrule.ops.norm(self, p, dim, keepdim, dtype)

    def logsumexp(self: Tensor, dim: int | Sequence[int], keepdim: bool = False) -> Tensor:
        return chainrule.ops.logsumexp(self, dim, keepdim)

    def cumsum(self: Tensor, dim: int, *, dtype: Any = None) -> Tensor:
        return chainrule.ops.cumsum(self, dim, dtype=dtype)

    def all(self: Tensor, dim: Dims = None, keepdim: bool = False) -> Tensor:
        return chainrule.ops.all(self, dim, keepdim)

    def any(self: Tensor, dim: Dims = None, keepdim: bool = False) -> Tensor:
        return chainrule.ops.any(self, dim, keepdim)

    def softmax(self: Tensor, dim: int, dtype: Any = None) -> Tensor:
        return chainrule.ops.softmax(self, dim, dtype)

    def log_softmax(self: Tensor, dim: int, dtype: Any = None) -> Tensor:
        return chainrule.ops.log_softmax(self, dim, dtype)

    # Products.

    def matmul(self: Tensor, other: Tensor) -> Tensor:
        return chainrule.ops.matmul(self, other)

    def mm(self: Tensor, mat2: Tensor) -> Tensor:
        return chainrule.ops.mm(self, mat2)

    def bmm(self: Tensor, mat2: Tensor) -> Tensor:
        return chainrule.ops.bmm(self, mat2)

    def mv(self: Tensor, vec: Tensor) -> Tensor:
        return chainrule.ops.mv(self, vec)

    def dot(self: Tensor, other: Tensor) -> Tensor:
        return chainrule.ops.dot(self, other)

    def outer(self: Tensor, vec2: Tensor) -> Tensor:
        return chainrule.ops.outer(self, vec2)

    def addmm(self: Tensor, mat1: Tensor, mat2: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
        return chainrule.ops.addmm(self, mat1, mat2, beta=beta, alpha=alpha)

    def addmv(self: Tensor, mat: Tensor, vec: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
        return chainrule.ops.addmv(self, mat, vec, beta=beta, alpha=alpha)

    def baddbmm(self: Tensor, batch1: Tensor, batch2: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
        return chainrule.ops.baddbmm(self, batch1, batch2, beta=beta, alpha=alpha)

    # Comparing.

    def equal(self: Tensor, other: Tensor) -> bool:
        return chainrule.ops.equal(self, other)

    def isclose(
        self: Tensor, other: Tensor, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False
    ) -> Tensor:
        return chainrule.ops.isclose(self, other, rtol, atol, equal_nan)

    def allclose(
        self: Tensor, other: Tensor, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False
    ) -> bool:
        return chainrule.ops.allclose(self, other, rtol, atol, equal_nan)
