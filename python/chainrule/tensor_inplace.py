"""Tensor's in-place methods, ``x.add_(y)``: the operation of that name, its result written to x's own memory."""

from __future__ import annotations

from collections.abc import Callable
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


def _unary(name: str) -> Callable[[Any], Any]:
    """The method of that name with an underscore: the operation's result in place."""

    def method(self: Tensor) -> Tensor:
        return _modify(self, name, getattr(chainrule.ops, name))

    method.__name__ = method.__qualname__ = f"{name}_"
    return method


def _binary(name: str) -> Callable[[Any, Any], Any]:
    def method(self: Tensor, other: Any) -> Tensor:
        return _modify(self, name, getattr(chainrule.ops, name), operand(other))

    method.__name__ = method.__qualname__ = f"{name}_"
    return method


def _operator(name: str) -> Callable[[Any, Any], Any]:
    """``x += other`` and its like: NotImplemented for what isn't an operand."""

    def method(self: Tensor, other: Any) -> Any:
        y = operand(other)
        return NotImplemented if y is None else _modify(self, name, getattr(chainrule.ops, name), y)

    return method


class InPlace:
    """In-place methods of Tensor."""

    __iadd__ = _operator("add")
    __isub__ = _operator("sub")
    __imul__ = _operator("mul")
    __itruediv__ = _operator("div")
    __ifloordiv__ = _operator("floor_divide")
    __imod__ = _operator("remainder")
    __ipow__ = _operator("pow")
    __iand__ = _operator("bitwise_and")
    __ior__ = _operator("bitwise_or")
    __ixor__ = _operator("bitwise_xor")

    def add_(self: Tensor, other: Any, *, alpha: Any = 1) -> Tensor:
        return _modify(self, "add", chainrule.ops.add, operand(other), alpha=alpha)

    def sub_(self: Tensor, other: Any, *, alpha: Any = 1) -> Tensor:
        return _modify(self, "sub", chainrule.ops.sub, operand(other), alpha=alpha)

    def div_(self: Tensor, other: Any, *, rounding_mode: str | None = None) -> Tensor:
        return _modify(self, "div", chainrule.ops.div, operand(other), rounding_mode=rounding_mode)

    mul_ = _binary("mul")
    remainder_ = _binary("remainder")
    floor_divide_ = _binary("floor_divide")
    pow_ = _binary("pow")
    bitwise_and_ = _binary("bitwise_and")
    bitwise_or_ = _binary("bitwise_or")
    bitwise_xor_ = _binary("bitwise_xor")
    logical_and_ = _binary("logical_and")
    logical_or_ = _binary("logical_or")
    logical_xor_ = _binary("logical_xor")
    fmod_ = _binary("fmod")
    atan2_ = arctan2_ = _binary("atan2")
    eq_ = _binary("eq")
    ne_ = not_equal_ = _binary("ne")
    lt_ = less_ = _binary("lt")
    le_ = less_equal_ = _binary("le")
    gt_ = greater_ = _binary("gt")
    ge_ = greater_equal_ = _binary("ge")
    multiply_, subtract_, divide_, true_divide_ = mul_, sub_, div_, div_

    neg_ = negative_ = _unary("neg")
    abs_ = absolute_ = _unary("abs")
    exp_ = _unary("exp")
    expm1_ = _unary("expm1")
    log_ = _unary("log")
    log1p_ = _unary("log1p")
    log2_ = _unary("log2")
    log10_ = _unary("log10")
    sqrt_ = _unary("sqrt")
    rsqrt_ = _unary("rsqrt")
    reciprocal_ = _unary("reciprocal")
    square_ = _unary("square")
    sin_ = _unary("sin")
    cos_ = _unary("cos")
    tan_ = _unary("tan")
    tanh_ = _unary("tanh")
    sigmoid_ = _unary("sigmoid")
    relu_ = _unary("relu")
    floor_ = _unary("floor")
    ceil_ = _unary("ceil")
    round_ = _unary("round")
    trunc_ = _unary("trunc")
    sign_ = _unary("sign")
    erf_ = _unary("erf")
    erfc_ = _unary("erfc")
    logical_not_ = _unary("logical_not")
    bitwise_not_ = _unary("bitwise_not")

    def clamp_(self: Tensor, min: Any = None, max: Any = None) -> Tensor:
        return _modify(self, "clamp", chainrule.ops.clamp, min, max)

    clip_ = clamp_

    def clamp_min_(self: Tensor, min: Any) -> Tensor:
        return _modify(self, "clamp_min", chainrule.ops.clamp_min, min)

    def clamp_max_(self: Tensor, max: Any) -> Tensor:
        return _modify(self, "clamp_max", chainrule.ops.clamp_max, max)

    def lerp_(self: Tensor, end: Tensor, weight: Any) -> Tensor:
        return _modify(self, "lerp", chainrule.ops.lerp, end, weight)

    def addcmul_(self: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: float = 1) -> Tensor:
        return _modify(self, "addcmul", chainrule.ops.addcmul, tensor1, tensor2, value=value)

    def addcdiv_(self: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: float = 1) -> Tensor:
        return _modify(self, "addcdiv", chainrule.ops.addcdiv, tensor1, tensor2, value=value)

    def addmm_(self: Tensor, mat1: Tensor, mat2: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
        return _modify(self, "addmm", chainrule.ops.addmm, mat1, mat2, beta=beta, alpha=alpha)

    def addmv_(self: Tensor, mat: Tensor, vec: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
        return _modify(self, "addmv", chainrule.ops.addmv, mat, vec, beta=beta, alpha=alpha)

    def baddbmm_(self: Tensor, batch1: Tensor, batch2: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
        return _modify(self, "baddbmm", chainrule.ops.baddbmm, batch1, batch2, beta=beta, alpha=alpha)

    def cumsum_(self: Tensor, dim: int) -> Tensor:
        return _modify(self, "cumsum", chainrule.ops.cumsum, dim)

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
        """One number everywhere."""
        number = value.item() if isinstance(value, chainrule.Tensor) else value
        return chainrule.ops.inplace.fill(self, number)

    def zero_(self: Tensor) -> Tensor:
        """Zero everywhere."""
        return chainrule.ops.inplace.fill(self, 0)

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

    def random_(
        self: Tensor, from_: int | None = None, to: int | None = None, *, generator: Any = None, **bounds: int
    ) -> Tensor:
        """Integers in [from, to), or in [0, from) where ``to`` is missing; without both, up to the largest that the
        dtype holds, of floats up to which they hold all."""
        first = bounds.pop("from", from_)
        if bounds:
            raise TypeError(f"random_: got unexpected arguments {sorted(bounds)}")
        low, high = (0, _integers(self._array.dtype) if first is None else first) if to is None else (first or 0, to)
        if not low < high:
            raise RuntimeError(f"random_ expects 'from' to be less than 'to', but got from={low} >= to={high}")
        array = chainrule.random.randint_array(low, high, self._array.shape, generator)
        return _fill(self, "random", array.astype(self._array.dtype))


def _floating(x: Tensor) -> np.dtype[Any]:
    if x._array.dtype.kind != "f":
        raise RuntimeError(f"random values of a continuous distribution want a floating tensor, not {x._array.dtype}")
    return x._array.dtype if x._array.dtype.itemsize >= 4 else np.dtype(np.float32)


def _integers(dtype: np.dtype[Any]) -> int:
    """How many integers from 0 on this dtype holds."""
    if dtype.kind == "f":
        return int(2 ** (np.finfo(dtype).nmant + 1)) + 1
    return 2 if dtype.kind == "b" else min(int(np.iinfo(dtype).max) + 1, 2**63 - 1)


def _diagonal(x: Tensor, wrap: bool) -> Tensor:
    """Where the main diagonal of a matrix (or of equal sizes in more dimensions) lies."""
    mask = np.zeros(x._array.shape, np.bool_)
    np.fill_diagonal(mask, True, wrap)
    return chainrule.from_numpy(mask)
