"""Function: an operation that knows its derivative, and the node that each call of one leaves on the tape.

``apply`` runs ``forward`` and, where an input requires a gradient, makes a :class:`Node`: the ``ctx`` that forward and
backward see, the edges to what made its inputs, and the tensors that it saved. A node never refers to the tensors that
it made (a saved output is kept as a detached alias), so a graph is freed by reference counts alone.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from chainrule import kernels
from chainrule.autograd.grad_mode import state
from chainrule.tensor import Tensor, refuse_no_tensor, wrap

__all__ = ["Context", "Function", "Node", "once_differentiable"]

sequence = itertools.count()  # creation order: a consumer's number is always above those of what it consumed

FREED = (
    "Trying to backward through the graph a second time (or directly access saved tensors after they have already been "
    "freed). Saved intermediate values of the graph are freed when you call .backward() or autograd.grad(). Specify "
    "retain_graph=True if you need to backward through the graph a second time or if you need to access saved tensors "
    "after calling backward."
)


class Node:
    """One recorded call: ``ctx`` in forward and backward, ``grad_fn`` of the results.

    A subclass per Function carries its name (``ReLUBackward``). Attributes set on it by forward live as long as it.
    """

    _function: type[Function]
    needs_input_grad: tuple[bool, ...] = ()
    _sequence: int = -1
    # Per argument of forward: where its gradient goes. A leaf stands for itself.
    _edges: tuple[tuple[Node | Tensor, int] | None, ...] = ()
    _shapes: tuple[tuple[int, ...], ...] = ()  # of the outputs
    _dtypes: tuple[np.dtype[Any], ...] = ()
    _to_save: tuple[Tensor | None, ...] = ()
    _saved: tuple[Tensor | None, ...] | None = ()
    _versions: tuple[int, ...] = ()
    _saved_outputs: dict[int, int] | None = None  # position among the saved: which output it is
    _unpack: Callable[[Any], Tensor] | None = None  # where a hook packed what was saved
    _non_differentiable: tuple[Tensor, ...] = ()
    _dirty: tuple[Tensor, ...] = ()
    _materialize_grads: bool = True
    _hooks: dict[int, dict[int, Callable[[Tensor], Tensor | None]]] | None = None  # per output
    _retained: dict[int, Any] | None = None  # per output: a weak reference to the tensor whose .grad to fill

    if TYPE_CHECKING:  # forward may leave anything on it

        def __getattr__(self, name: str) -> Any: ...
        def __setattr__(self, name: str, value: Any) -> None: ...

    def save_for_backward(self, *tensors: Tensor | None) -> None:
        """Keeps inputs, outputs or intermediates for backward; modifying one in place later is detected there."""
        self._to_save = tensors

    def mark_non_differentiable(self, *tensors: Tensor) -> None:
        """Declares that these outputs have no gradient."""
        self._non_differentiable = tensors

    def mark_dirty(self, *tensors: Tensor) -> None:
        """Declares the inputs that forward modified in place; it must return them."""
        self._dirty = tensors

    def set_materialize_grads(self, value: bool) -> None:
        """Whether outputs that got no gradient reach backward as zeros (the default) or as None."""
        self._materialize_grads = value

    @property
    def saved_tensors(self) -> tuple[Any, ...]:
        """What :meth:`save_for_backward` kept."""
        if self._saved is None:
            raise RuntimeError(FREED)
        if self._unpack is not None:
            return self._saved_again(tuple([x if x is None else self._unpack(x) for x in self._saved]))
        for tensor, version in zip(self._saved, self._versions, strict=True):
            if tensor is None or (tensor._counter is None and version == 0):
                continue
            if tensor._version != version:
                raise RuntimeError(
                    "one of the variables needed for gradient computation has been modified by an inplace operation: "
                    f"[Tensor of shape {list(tensor._array.shape)}], saved by {self.name()}, is at version "
                    f"{tensor._version}; expected version {version} instead."
                )
        return self._saved_again(self._saved)

    saved_variables = saved_tensors

    def _saved_again(self, tensors: tuple[Tensor | None, ...]) -> tuple[Tensor | None, ...]:
        """The saved tensors; outputs among them as this node's, with their history."""
        if not self._saved_outputs:
            return tensors
        saved = list(tensors)
        for position, output in self._saved_outputs.items():
            alias = saved[position]
            assert alias is not None
            tensor = wrap(alias._array)
            tensor._counter = alias._counter
            tensor._requires_grad, tensor._node, tensor._output_nr = True, self, output
            saved[position] = tensor
        return tuple(saved)

    def name(self) -> str:
        """The Function's name with ``Backward``."""
        return type(self).__name__

    @property
    def next_functions(self) -> tuple[tuple[Node | AccumulateGrad | None, int], ...]:
        """Per input, the node that made it, as in PyTorch."""
        return tuple(
            (None, 0) if e is None else (AccumulateGrad(e[0]) if isinstance(e[0], Tensor) else e[0], e[1])
            for e in self._edges
        )

    def __repr__(self) -> str:
        return f"<{self.name()} object at {id(self):#x}>"

    def _save(self) -> None:
        saved: list[Tensor | None] = []
        versions: list[int] = []
        for tensor in self._to_save:
            version = 0
            if tensor is not None:
                if tensor._node is self:  # an output: keeping itself would be a reference cycle
                    if self._saved_outputs is None:
                        self._saved_outputs = {}
                    self._saved_outputs[len(saved)] = tensor._output_nr
                    alias = wrap(tensor._array)
                    alias._counter = tensor._shared_counter()
                    tensor = alias
                if tensor._counter is not None:
                    version = tensor._counter.value
            saved.append(tensor)
            versions.append(version)
        if state.saving is not None:
            pack, self._unpack = state.saving
            saved = [t if t is None else pack(t) for t in saved]
        self._saved, self._versions, self._to_save = tuple(saved), tuple(versions), ()

    def _release(self) -> None:
        if self._saved:
            self._saved = self._unpack = None

    def _backward(self, grads: list[Tensor | None]) -> tuple[Tensor | None, ...]:
        """One gradient or None per argument of forward, from one per output."""
        if self._materialize_grads and None in [g if g is None else 0 for g in grads]:
            grads = [
                wrap(kernels.full(shape, 0, dtype)) if g is None else g
                for g, shape, dtype in zip(grads, self._shapes, self._dtypes, strict=True)
            ]
        result: Any = self._function.backward(self, *grads)
        if not isinstance(result, tuple):
            result = (result,)
        if len(result) != len(self._edges):
            if len(result) < len(self._edges) or any(g is not None for g in result[len(self._edges) :]):
                raise RuntimeError(
                    f"function {self.name()} returned an incorrect number of gradients (expected {len(self._edges)}, "
                    f"got {len(result)})"
                )
            result = result[: len(self._edges)]
        return result  # type: ignore[no-any-return]


Context = Node


class AccumulateGrad:
    """Stands for a leaf in :attr:`Node.next_functions`."""

    def __init__(self, variable: Tensor) -> None:
        self.variable = variable

    def name(self) -> str:
        return "AccumulateGrad"


class Function:
    """Base of every differentiable operation, as in PyTorch: subclass it with static ``forward`` and ``backward``.

    ``forward(ctx, *args)`` runs with recording off and returns a Tensor or a tuple of them. ``backward(ctx, *grads)``
    gets a gradient per output and returns one (or None) per argument of forward; written in differentiable operations,
    it can be differentiated again. ``forward(*args)`` with ``setup_context(ctx, inputs, output)`` works as well.
    """

    _node: type[Node]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls._node = type(cls.__name__ + "Backward", (Node,), {"_function": cls})

    @staticmethod
    def forward(ctx: Any, *args: Any) -> Any:
        raise NotImplementedError("a Function needs a static method forward(ctx, *args)")

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        raise NotImplementedError("a Function needs a static method backward(ctx, *grads) to be differentiated")

    setup_context: Any = None

    @classmethod
    def apply(cls, *args: Any) -> Any:
        """Runs forward on ``args`` and records the call where a gradient will be wanted."""
        ctx = cls._node()
        if not state.enabled:
            ctx.needs_input_grad = (False,) * len(args)
            return cls._forward(ctx, args)
        needs = []
        edges: list[tuple[Node | Tensor, int] | None] = []
        for a in args:
            if isinstance(a, Tensor) and (a._requires_grad if a._base is None else a._wants_grad()):
                needs.append(True)
                node = a._node  # taken before forward, which may modify the input in place
                edges.append(a._edge() if node is None else (node, a._output_nr))
            else:
                needs.append(False)
                edges.append(None)
        ctx.needs_input_grad = tuple(needs)
        state.enabled = False
        try:
            outputs = cls._forward(ctx, args)
        finally:
            state.enabled = True
        if True not in needs:
            return outputs
        ctx._edges = tuple(edges)
        ctx._sequence = next(sequence)
        if isinstance(outputs, Tensor) and not ctx._dirty and not ctx._non_differentiable:
            return _record_one(ctx, args, outputs)
        return _record(ctx, args, outputs)

    @classmethod
    def _forward(cls, ctx: Node, args: tuple[Any, ...]) -> Any:
        if cls.setup_context is None:
            try:
                return cls.forward(ctx, *args)
            except AttributeError as error:
                refuse_no_tensor(error, cls.__name__)
                raise
        outputs = cls.forward(*args)
        cls.setup_context(ctx, args, outputs)
        return outputs


def _record_one(ctx: Node, args: tuple[Any, ...], out: Tensor) -> Tensor:
    """Makes ``ctx`` the node that made ``out``: the common case of :func:`_record`."""
    for a in args:
        if a is out:
            out = _alias(ctx, out)
            break
    array = out._array
    if array.dtype.kind == "f":
        out._requires_grad, out._node = True, ctx
    ctx._shapes, ctx._dtypes = (array.shape,), (array.dtype,)
    if ctx._to_save:
        ctx._save()
    return out


def _record(ctx: Node, args: tuple[Any, ...], outputs: Any) -> Any:
    """Makes ``ctx`` the node that made ``outputs``."""
    many = isinstance(outputs, tuple)
    made: list[Any] = list(outputs) if many else [outputs]
    for i, out in enumerate(made):
        if not isinstance(out, Tensor):
            continue
        dirty = any(out is t for t in ctx._dirty)
        if not dirty and any(out is a for a in args):
            out = made[i] = _alias(ctx, out)
        if out._array.dtype.kind != "f" or any(out is t for t in ctx._non_differentiable):
            continue
        if dirty:
            out._rebase(ctx, i)
        else:
            out._requires_grad, out._node, out._output_nr = True, ctx, i
    arrays = [out._array if isinstance(out, Tensor) else _NOTHING for out in made]
    ctx._shapes, ctx._dtypes = tuple([a.shape for a in arrays]), tuple([a.dtype for a in arrays])
    if ctx._to_save:
        ctx._save()
    ctx._non_differentiable = ctx._dirty = ()  # they hold outputs: a reference cycle
    return tuple(made) if many else made[0]


_NOTHING = np.zeros((), np.float32)


def _alias(ctx: Node, tensor: Tensor) -> Tensor:
    """What forward returned was its input: the result is another tensor on the same memory."""
    alias = wrap(tensor._array)
    alias._counter = tensor._shared_counter()
    ctx._to_save = tuple([alias if t is tensor else t for t in ctx._to_save])
    return alias


class _Twice(Function):
    """What a once-differentiable backward returns when a graph of it is asked for: using it is an error."""

    @staticmethod
    def forward(ctx: Context, x: Tensor, *sources: Any) -> Tensor:
        return wrap(x._array)

    @staticmethod
    def backward(ctx: Context, grad: Tensor) -> Any:
        raise RuntimeError("trying to differentiate twice a function that was marked with @once_differentiable")


def once_differentiable(backward: Callable[..., Any]) -> Callable[..., Any]:
    """Decorates a ``backward`` that isn't written in differentiable operations: differentiating it raises."""

    @functools.wraps(backward)
    def wrapped(ctx: Context, *grads: Any) -> Any:
        recording = state.enabled
        state.enabled = False
        try:
            result = backward(ctx, *grads)
        finally:
            state.enabled = recording
        if not recording:
            return result
        sources = [g for g in grads if isinstance(g, Tensor) and g.requires_grad]
        sources += [t for t in ctx.saved_tensors if t is not None and t.requires_grad]
        if not sources:
            return result
        many = result if isinstance(result, tuple) else (result,)
        many = tuple(_Twice.apply(g, *sources) if isinstance(g, Tensor) else g for g in many)
        return many if isinstance(result, tuple) else many[0]

    return wrapped
