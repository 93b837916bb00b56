"""Tensor's in-place methods, ``x.add_(y)``: the operation of that name, its result written to x's own memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

import chainrule
from chainrule.tensor_math import operand

if TYPE_CHECKING:
    from chainrule.tensor import Tensor

__all__ = ["InPlace"]


def _modify(x: Tensor, name: str, function: Any, *args: Any, **kwargs: Any) -> Tensor:
    return chainrule.ops.inplace.modify(x, name, function, *args, **kwargs)


def _fill(x: Tensor, name: str, values: np.ndarray[Any, Any]) -> Tensor:
    """New values that don't depend on the old ones."""
    return chainrule.ops.inplace.overwrite(x, name, values)


class InPlace:
    """In-place methods of Tensor."""

    def __iadd__(self: Tensor, other: Any) -> Tensor:
        y = operand(other)
        return NotImplemented if y is None else _modify(self, "add", chainrule.ops.add, y)

    def __isub__(self: Tensor, other: Any) -> Tensor:
        y = operand(other)
        return NotImplemented if y is None else _modify(self, "sub", chainrule.ops.sub, y)

    def __imul__(self: Tensor, other: Any) -> Tensor:
        y = operand(other)
        return NotImplemented if y is None else _modify(self, "mul", chainrule.ops.mul, y)

    def __itruediv__(self: Tensor, other: Any) -> Tensor:
        y = operand(other)
        return NotImplemented if y is None else _modify(self, "div", chainrule.ops.div, y)

    def __ifloordiv__(self: Tensor, other: Any) -> Tensor:
        y = operand(other)
        return NotImplemented if y is None else _modify(self, "floor_divide", chainrule.ops.floor_divide, y)

    def __imod__(self: Tensor, other: Any) -> Tensor:
        y = operand(other)
        return NotImplemented if y is None else _modify(self, "remainder", chainrule.ops.remainder, y)

    def __ipow__(self: Tensor, other: Any) -> Tensor:
        y = operand(other)
        return NotImplemented if y is None else _modify(self, "pow", chainrule.ops.pow, y)

    def __iand__(self: Tensor, other: Any) -> Tensor:
        y = operand(other)
        return NotImplemented if y is None else _modify(self, "bitwise_and", chainrule.ops.bitwise_and, y)

    def __ior__(self: Tensor, other: Any) -> Tensor:
        y = operand(other)
        return NotImplemented if y is None else _modify(self, "bitwise_or", chainrule.ops.bitwise_or, y)

    def __ixor__(self: Tensor, other: Any) -> Tensor:
        y = operand(other)
        return NotImplemented if y is None else _modify(self, "bitwise_xor", chainrule.ops.bitwise_xor, y)

    def add_(self: Tensor, other: Any, *, alpha: Any = 1) -> Tensor:
        return _modify(self, "add", chainrule.ops.add, operand(other), alpha=alpha)

    def sub_(self: Tensor, other: Any, *, alpha: Any = 1) -> Tensor:
        return _modify(self, "sub", chainrule.ops.sub, operand(other), alpha=alpha)

    def div_(self: Tensor, other: Any, *, rounding_mode: str | None = None) -> Tensor:
        return _modify(self, "div", chainrule.ops.div, operand(other), rounding_mode=rounding_mode)

    def mul_(self: Tensor, other: Any) -> Tensor:
        return _modify(self, "mul", chainrule.ops.mul, operand(other))

    def remainder_(self: Tensor, other: Any) -> Tensor:
        return _modify(self, "remainder", chainrule.ops.remainder, operand(other))

    def floor_divide_(self: Tensor, other: Any) -> Tensor:
        return _modify(self, "floor_divide", chainrule.ops.floor_divide, operand(other))

    def pow_(self: Tensor, other: Any) -> Tensor:
        return _modify(self, "pow", chainrule.ops.pow, operand(other))

    def bitwise_and_(self: Tensor, other: Any) -> Tensor:
        return _modify(self, "bitwise_and", chainrule.ops.bitwise_and, operand(other))

    def bitwise_or_(self: Tensor, other: Any) -> Tensor:
        return _modify(self, "bitwise_or", chainrule.ops.bitwise_or, operand(other))

    def bitwise_xor_(self: Tensor, other: Any) -> Tensor:
        return _modify(self, "bitwise_xor", chainrule.ops.bitwise_xor, operand(other))

    def neg_(self: Tensor) -> Tensor:
        return _modify(self, "neg", chainrule.ops.neg)

    def abs_(self: Tensor) -> Tensor:
        return _modify(self, "abs", chainrule.ops.abs)

    def exp_(self: Tensor) -> Tensor:
        return _modify(self, "exp", chainrule.ops.exp)

    def log_(self: Tensor) -> Tensor:
        return _modify(self, "log", chainrule.ops.log)

    def sqrt_(self: Tensor) -> Tensor:
        return _modify(self, "sqrt", chainrule.ops.sqrt)

    def rsqrt_(self: Tensor) -> Tensor:
        return _modify(self, "rsqrt", chainrule.ops.rsqrt)

    def reciprocal_(self: Tensor) -> Tensor:
        return _modify(self, "reciprocal", chainrule.ops.reciprocal)

    def square_(self: Tensor) -> Tensor:
        return _modify(self, "square", chainrule.ops.square)

    def sin_(self: Tensor) -> Tensor:
        return _modify(self, "sin", chainrule.ops.sin)

    def cos_(self: Tensor) -> Tensor:
        return _modify(self, "cos", chainrule.ops.cos)

    def tanh_(self: Tensor) -> Tensor:
        return _modify(self, "tanh", chainrule.ops.tanh)

    def sigmoid_(self: Tensor) -> Tensor:
        return _modify(self, "sigmoid", chainrule.ops.sigmoid)

    def relu_(self: Tensor) -> Tensor:
        return _modify(self, "relu", chainrule.ops.relu)

    def floor_(self: Tensor) -> Tensor:
        return _modify(self, "floor", chainrule.ops.floor)

    def ceil_(self: Tensor) -> Tensor:
        return _modify(self, "ceil", chainrule.ops.ceil)

    def round_(self: Tensor) -> Tensor:
        return _modify(self, "round", chainrule.ops.round)

    def trunc_(self: Tensor) -> Tensor:
        return _modify(self, "trunc", chainrule.ops.trunc)

    def sign_(self: Tensor) -> Tensor:
        return _modify(self, "sign", chainrule.ops.sign)

    def erf_(self: Tensor) -> Tensor:
        return _modify(self, "erf", chainrule.ops.erf)

    def logical_not_(self: Tensor) -> Tensor:
        return _modify(self, "logical_not", chainrule.ops.logical_not)

    def clamp_(self: Tensor, min: Any = None, max: Any = None) -> Tensor:
        return _modify(self, "clamp", chainrule.ops.clamp, min, max)

    clip_ = clamp_

    def clamp_min_(self: Tensor, min: Any) -> Tensor:
        return _modify(self, "clamp_min", chainrule.ops.clamp, min, None)

    def clamp_max_(self: Tensor, max: Any) -> Tensor:
        return _modify(self, "clamp_max", chainrule.ops.clamp, None, max)

    def lerp_(self: Tensor, end: Tensor, weight: Any) -> Tensor:
        return _modify(self, "lerp", chainrule.ops.lerp, end, weight)

    def addcmul_(self: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: float = 1) -> Tensor:
        return _modify(self, "addcmul", chainrule.ops.addcmul, tensor1, tensor2, value=value)

    def addcdiv_(self: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: float = 1) -> Tensor:
        return _modify(self, "addcdiv", chainrule.ops.addcdiv, tensor1, tensor2, value=value)

    def masked_fill_(self: Tensor, mask: Tensor, value: Any) -> Tensor:
        return _modify(self, "masked_fill", chainrule.ops.masked_fill, mask, value)

    def scatter_(self: Tensor, dim: int, index: Tensor, src: Tensor | float) -> Tensor:
        return _modify(self, "scatter", chainrule.ops.scatter, dim, index, src)

    def scatter_add_(self: Tensor, dim: int, index: Tensor, src: Tensor) -> Tensor:
        return _modify(self, "scatter_add", chainrule.ops.scatter_add, dim, index, src)

    def index_add_(self: Tensor, dim: int, index: Tensor, source: Tensor, *, alpha: float = 1) -> Tensor:
        return _modify(self, "index_add", chainrule.ops.index_add, dim, index, source, alpha=alpha)

    def tril_(self: Tensor, diagonal: int = 0) -> Tensor:
        return _modify(self, "tril", chainrule.ops.tril, diagonal)

    def triu_(self: Tensor, diagonal: int = 0) -> Tensor:
        return _modify(self, "triu", chainrule.ops.triu, diagonal)

    def copy_(self: Tensor, src: Any, non_blocking: bool = False) -> Tensor:
        """Takes the values of ``src``, broadcast and cast."""
        return chainrule.ops.inplace.copy_into(self, src)

    def fill_(self: Tensor, value: Any) -> Tensor:
        number = value.item() if isinstance(value, chainrule.Tensor) else value
        return _fill(self, "fill", chainrule.kernels.full(self._array.shape, number, self._array.dtype))

    def zero_(self: Tensor) -> Tensor:
        return _fill(self, "zero", chainrule.kernels.full(self._array.shape, 0, self._array.dtype))

    def fill_diagonal_(self: Tensor, fill_value: float, wrap: bool = False) -> Tensor:
        return _modify(self, "fill_diagonal", chainrule.ops.masked_fill, _diagonal(self, wrap), fill_value)

    # At random.

    def uniform_(self: Tensor, from_: float = 0, to: float = 1, *, generator: Any = None, **bounds: float) -> Tensor:
        low = bounds.pop("from", from_)
        if bounds:
            raise TypeError(f"uniform_: got unexpected arguments {sorted(bounds)}")
        if not low <= to:
            raise RuntimeError(f"uniform_ expects to return a [from, to) range, but found from={low} > to={to}")
        array = chainrule.random.uniform_array(self._array.shape, _floating(self), low, to, generator)
        return _fill(self, "uniform", array.astype(self._array.dtype, copy=False))

    def normal_(self: Tensor, mean: float = 0, std: float = 1, *, generator: Any = None) -> Tensor:
        array = chainrule.random.normal_array(self._array.shape, _floating(self), mean, std, generator)
        return _fill(self, "normal", array.astype(self._array.dtype, copy=False))

    def bernoulli_(self: Tensor, p: Any = 0.5, *, generator: Any = None) -> Tensor:
        chance = p._array if isinstance(p, chainrule.Tensor) else p
        u = chainrule.random.uniform_array(self._array.shape, np.float64, generator=generator)
        return _fill(self, "bernoulli", (u < chance).astype(self._array.dtype))

    def random_(self: Tensor, from_: int = 0, to: int | None = None, *, generator: Any = None) -> Tensor:
        """Integers in [from, to), or in [0, from) where ``to`` is missing."""
        low, high = (0, from_) if to is None else (from_, to)
        array = chainrule.random.randint_array(low, high, self._array.shape, generator)
        return _fill(self, "random", array.astype(self._array.dtype))


def _floating(x: Tensor) -> np.dtype[Any]:
    if x._array.dtype.kind != "f":
        raise RuntimeError(f"random values of a continuous distribution want a floating tensor, not {x._array.dtype}")
    return x._array.dtype if x._array.dtype.itemsize >= 4 else np.dtype(np.float32)


def _diagonal(x: Tensor, wrap: bool) -> Tensor:
    """Where the main diagonal of a matrix (or of equal sizes in more dimensions) lies."""
    mask = np.zeros(x._array.shape, np.bool_)
    np.fill_diagonal(mask, True, wrap)
    return chainrule.from_numpy(mask)
