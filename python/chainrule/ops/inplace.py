"""In-place changes on the tape.

The changed tensor becomes the output of a new node. Where it is a view, its base does too (:class:`Overwrite`: the
gradient of the changed region goes to the new values, the rest to the old base), and every other view of that base
makes its node again, from the base as it is now, when next used.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from chainrule import kernels
from chainrule.autograd import Context, Function
from chainrule.autograd.grad_mode import state
from chainrule.broadcasting import broadcasts_to
from chainrule.formats import Order, copy, in_order, order_of
from chainrule.ops.memory import write, zeros
from chainrule.ops.view import replay, unbroadcast
from chainrule.recording.state import current
from chainrule.tensor import Tensor, Version, wrap

__all__: list[str] = []

Views = tuple[tuple[type[Function], tuple[Any, ...]], ...]


class Overwrite(Function):
    """The base of a view whose values were replaced (by now, in memory) by ``values``."""

    @staticmethod
    def forward(ctx: Context, base: Tensor, values: Tensor, views: Views) -> Tensor:
        ctx.views, ctx.order = views, order_of(base._array)
        ctx.mark_dirty(base)
        return base

    @staticmethod
    def backward(ctx: Context, dy: Tensor) -> Any:
        rest = ZeroRegion.apply(dy, ctx.views, ctx.order) if ctx.needs_input_grad[0] else None
        return rest, replay(dy, ctx.views) if ctx.needs_input_grad[1] else None, None


class ZeroRegion(Function):
    """A copy of x with zeros where these views of it lie, which are views of memory in this order."""

    @staticmethod
    def forward(ctx: Context, x: Tensor, views: Views, order: Order) -> Tensor:
        ctx.views, ctx.order = views, order
        array = in_order(order, x._array.shape, lambda shape: kernels.empty(shape, x._array.dtype))
        y = wrap(kernels.copy(x._array, array))
        kernels.fill(replay(y, views)._array, 0)
        return y

    @staticmethod
    def backward(ctx: Context, dy: Tensor) -> Any:
        return ZeroRegion.apply(dy, ctx.views, ctx.order), None, None


class CopyInto(Function):
    """The values of ``source``, broadcast and cast, in place of ``old``'s."""

    @staticmethod
    def forward(ctx: Context, old: Tensor, source: Tensor) -> Tensor:
        ctx.source = source._array.shape, source._array.dtype
        y = kernels.empty(old._array.shape, old._array.dtype)
        write(y, source._array)
        return wrap(y)

    @staticmethod
    def backward(ctx: Context, dy: Tensor) -> Any:
        shape, dtype = ctx.source
        source = unbroadcast(dy, shape).to(dtype) if ctx.needs_input_grad[1] else None
        return wrap(zeros(dy.shape, dy.dtype)) if ctx.needs_input_grad[0] else None, source


class Forget(Function):
    """Values that don't depend on ``old``: its gradient is zero."""

    @staticmethod
    def forward(ctx: Context, old: Tensor, values: np.ndarray[Any, Any]) -> Tensor:
        return wrap(values)

    @staticmethod
    def backward(ctx: Context, dy: Tensor) -> Any:
        return wrap(zeros(dy.shape, dy.dtype)), None


def check_writable(array: np.ndarray[Any, Any]) -> None:
    """Refuses memory that can't be written, or whose elements overlap."""
    if not array.flags.writeable:
        raise RuntimeError("a read-only tensor (its NumPy array isn't writeable) cannot be modified in place")
    if any(s == 0 and n > 1 for s, n in zip(array.strides, array.shape, strict=True)):
        raise RuntimeError(
            "unsupported operation: more than one element of the written-to tensor refers to a single memory location. "
            "Please clone() the tensor before performing the operation."
        )


def check_history(x: Tensor, others: tuple[Any, ...] = ()) -> bool:
    """Whether a change of x is to be recorded; refuses one that PyTorch refuses."""
    if not state.enabled:
        return False
    mine = x._wants_grad()
    if mine and x._node is None:
        raise RuntimeError("a leaf Variable that requires grad is being used in an in-place operation.")
    base = x._base
    if base is not None and base._wants_grad() and base._node is None:
        raise RuntimeError("a view of a leaf Variable that requires grad is being used in an in-place operation.")
    return mine or any(isinstance(o, Tensor) and o._wants_grad() for o in others)


def modify(x: Tensor, name: str, function: Callable[..., Tensor], *args: Any, **kwargs: Any) -> Tensor:
    """x becomes ``function(x, *args)``, in x's own memory, which its views and aliases share. Where there are none, a
    tensor on the tape takes the result's memory instead: an activation in place costs what it costs elsewhere."""
    check_writable(x._array)
    recorded = check_history(x, args)
    old = x
    if recorded:  # what function saves of x must survive the change
        old = wrap(x._array)
        old._counter = x._shared_counter()
        if x._wants_grad():
            old._requires_grad = True
            old._node, old._output_nr = x._node, x._output_nr
        args = tuple([old if a is x else a for a in args])
    result = function(old, *args, **kwargs)
    if not isinstance(result, Tensor):
        raise TypeError(f"{name}_: got {type(result).__name__}, want a Tensor")
    if result._array.shape != x._array.shape:
        raise RuntimeError(
            f"output with shape {list(x.shape)} doesn't match the broadcast shape {list(result.shape)} in {name}_"
        )
    if result._array.dtype != x._array.dtype:
        if not np.can_cast(result._array.dtype, x._array.dtype, "same_kind"):
            raise RuntimeError(
                f"result type {result._array.dtype} can't be cast to the desired output type {x._array.dtype}"
            )
        result = result.to(x._array.dtype)
    if recorded and result._node is None:  # a comparison, which doesn't depend on what it changes
        result = Forget.apply(old, result._array)
        recorded = result._node is not None
    saved = recorded and sys.getrefcount(old) > _UNSAVED
    # Not off the tape, where memory may be known by its address.
    moves = (recorded or current() is not None) and _unseen(x, old, result)
    if saved:
        _freeze(old)
    if moves:
        x._array = result._array
    else:
        if saved:
            old._array = copy(old._array)
        write(x._array, result._array)
    x._bump()
    if recorded:
        assert result._node is not None
        if moves:
            _count_with(x, result)
        x._rebase(result._node, result._output_nr)
    return x


def _freeze(old: Tensor) -> None:
    """Keeps a saved tensor at the version at which it was saved."""
    version = Version()
    version.value = old._version
    old._counter = version


def _saved_positions(result: Tensor) -> list[int]:
    """Where its node keeps the memory of this result."""
    outputs = result._node._saved_outputs if result._node is not None else None
    return [] if not outputs else [i for i, nr in outputs.items() if nr == result._output_nr]


def _unseen(x: Tensor, old: Tensor, result: Tensor) -> bool:
    """Whether x may take the result's memory for its own: nobody else refers to x's memory, and to the result's nobody
    but what its node saved."""
    if result is old or x._base is not None or result._base is not None:
        return False
    if isinstance(x._array.base, np.ndarray) or isinstance(result._array.base, np.ndarray):
        return False
    if x._array.strides != result._array.strides or (result._node is not None and result._node._unpack is not None):
        return False
    references, array, result_array = _references(x, result)
    return (
        references <= _ALONE[0]
        and array <= _ALONE[1] - (old is x)
        and result_array - len(_saved_positions(result)) <= _ALONE[2]
    )


def _references(x: Tensor, result: Tensor) -> tuple[int, int, int]:
    return sys.getrefcount(result), sys.getrefcount(x._array), sys.getrefcount(result._array)


def _count_with(x: Tensor, result: Tensor) -> None:
    """What was saved of the result is x's memory now: a later change of x shows there."""
    node = result._node
    assert node is not None
    versions = list(node._versions)
    for i in _saved_positions(result):
        assert node._saved is not None
        alias = node._saved[i]
        assert alias is not None
        alias._counter, versions[i] = x._shared_counter(), x._version
    node._versions = tuple(versions)


def _probe() -> tuple[int, tuple[int, int, int]]:
    """What :func:`modify` and :func:`_unseen` count where nobody else refers to anything, ``old`` apart from x."""

    def unseen(x: Tensor, old: Tensor, result: Tensor) -> tuple[int, int, int]:
        return _references(x, result)

    x = wrap(np.zeros(()))
    old = wrap(x._array)
    result = wrap(np.zeros(()))
    return sys.getrefcount(old), unseen(x, old, result)


_UNSAVED, _ALONE = _probe()


def overwrite(x: Tensor, name: str, values: np.ndarray[Any, Any]) -> Tensor:
    """x takes ``values``, which don't depend on it, and keeps its place on the tape with a gradient of zero."""
    return modify(x, name, Forget.apply, values)


def fill(x: Tensor, number: float) -> Tensor:
    """x takes one number everywhere."""
    check_writable(x._array)
    if check_history(x):
        return overwrite(x, "fill", kernels.full(x._array.shape, number, x._array.dtype))
    kernels.fill(x._array, number)
    x._bump()
    return x


def copy_into(x: Tensor, source: Any) -> Tensor:
    """x takes the values of ``source`` (a tensor, an array or a number), broadcast and cast."""
    given = source if isinstance(source, Tensor) else wrap(np.asarray(source))
    shape = x._array.shape
    if not broadcasts_to(given._array.shape, shape):
        raise RuntimeError(
            f"The size of tensor a {list(shape)} must match the size of tensor b {list(given.shape)}: copy_ broadcasts "
            "its source alone"
        )
    if state.enabled and (x._wants_grad() or given._wants_grad()):
        return modify(x, "copy", CopyInto.apply, given)
    check_writable(x._array)
    write(x._array, given._array)
    x._bump()
    return x
