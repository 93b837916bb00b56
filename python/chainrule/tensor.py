"""Tensor: an array, its gradient, and the node of the tape that made it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Union

import numpy as np

if TYPE_CHECKING:
    from chainrule.autograd.function import Node

__all__ = ["Tensor", "wrap"]

Array = np.ndarray[Any, Any]
Hook = Callable[["Tensor"], Union["Tensor", None]]


class Version:
    """How often the memory of a tensor and its views was modified in place."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0


class Handle:
    """What registering a hook returns: ``remove()`` takes the hook out again; so does leaving a ``with`` block."""

    _count = 0

    def __init__(self, hooks: dict[int, Any], hook: Callable[..., Any]) -> None:
        Handle._count += 1
        self.id = Handle._count
        self._hooks = hooks
        hooks[self.id] = hook

    def remove(self) -> None:
        self._hooks.pop(self.id, None)

    def __enter__(self) -> Handle:
        return self

    def __exit__(self, *error: object) -> None:
        self.remove()


class Tensor:
    """An n-dimensional array that records what is computed from it."""

    _array: Array
    # Class-level defaults: making a result sets `_array` alone.
    _requires_grad: bool = False
    _grad: Tensor | None = None
    _node: Node | None = None  # what made it; None for a leaf
    _output_nr: int = 0  # which of the node's outputs it is
    _sequence: int = -1  # a leaf's place in creation order, from its first use
    _counter: Version | None = None  # shared by views and detached aliases; made when first needed
    _hooks: dict[int, Hook] | None = None  # a leaf's
    _post_hooks: dict[int, Callable[[Tensor], None]] | None = None
    __array_priority__ = 1000  # NumPy's operators leave mixed operations to ours

    def __init__(self, data: Any = (), *, dtype: Any = None, requires_grad: bool = False) -> None:
        array = data._array if isinstance(data, Tensor) else np.asarray(data)
        if array.dtype == np.float64 and not isinstance(data, (np.ndarray, np.generic, Tensor)):
            array = array.astype(np.float32)
        self._array = array if dtype is None else array.astype(dtype, copy=False)
        if requires_grad:
            self.requires_grad = True

    # What it holds.

    @property
    def shape(self) -> tuple[int, ...]:
        return self._array.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        return self._array.dtype

    @property
    def ndim(self) -> int:
        return self._array.ndim

    def numpy(self, *, force: bool = False) -> Array:
        """The array itself, sharing memory; a tensor that requires grad must be detached first (or ``force``)."""
        if self._wants_grad() and not force:
            raise RuntimeError("Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() instead.")
        return self._array

    def item(self) -> Any:
        """The only element, as a Python number."""
        if self._array.size != 1:
            raise RuntimeError(f"a Tensor with {self._array.size} elements cannot be converted to Scalar")
        return self._array.item()

    def detach(self) -> Tensor:
        """The same memory, cut from the tape."""
        result = wrap(self._array)
        result._counter = self._shared_counter()
        return result

    # Its gradient.

    @property
    def requires_grad(self) -> bool:
        """Whether operations on it are recorded; may be set on a floating leaf."""
        return self._wants_grad()

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        self.requires_grad_(value)

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        if self._node is not None:
            if not requires_grad:
                raise RuntimeError(
                    "you can only change requires_grad flags of leaf variables. If you want to use a computed variable "
                    "in a subgraph that doesn't require differentiation use var_no_grad = var.detach()."
                )
            return self
        if requires_grad and self._array.dtype.kind not in "fcV":
            raise RuntimeError(f"only Tensors of floating point dtype can require gradients, not {self._array.dtype}")
        self._requires_grad = bool(requires_grad)
        return self

    @property
    def grad(self) -> Tensor | None:
        """What backward has added up for this leaf, or None."""
        return self._grad

    @grad.setter
    def grad(self, value: Tensor | None) -> None:
        if value is not None:
            if not isinstance(value, Tensor):
                raise TypeError(f"assigned grad expected to be a Tensor or None but got {type(value).__name__}")
            if value is self:
                raise RuntimeError("can't assign Variable as its own grad")
            if value.shape != self.shape or value.dtype != self.dtype:
                raise RuntimeError(
                    f"assigned grad has data of {value.dtype} and size {list(value.shape)}, want {self.dtype} and "
                    f"{list(self.shape)}"
                )
        self._grad = value

    @property
    def grad_fn(self) -> Node | None:
        """The node that made it, or None for a leaf."""
        return self._node

    @property
    def is_leaf(self) -> bool:
        return self._node is None

    def backward(
        self,
        gradient: Tensor | None = None,
        retain_graph: bool | None = None,
        create_graph: bool = False,
        inputs: Tensor | Sequence[Tensor] | None = None,
    ) -> None:
        """Adds its gradients to the ``.grad`` of the leaves (or of ``inputs``) that it depends on."""
        _engine.backward(self, gradient, retain_graph, create_graph, inputs)

    def register_hook(self, hook: Hook) -> Handle:
        """Calls ``hook(grad)`` with each gradient that reaches this tensor; a tensor that it returns replaces it."""
        if not self._wants_grad():
            raise RuntimeError("cannot register a hook on a tensor that doesn't require gradient")
        if self._node is None:
            if self._hooks is None:
                self._hooks = {}
            return Handle(self._hooks, hook)
        if self._node._hooks is None:
            self._node._hooks = {}
        return Handle(self._node._hooks.setdefault(self._output_nr, {}), hook)

    def register_post_accumulate_grad_hook(self, hook: Callable[[Tensor], None]) -> Handle:
        """Calls ``hook(tensor)`` each time after backward has added to this leaf's ``.grad``."""
        if not self._wants_grad():
            raise RuntimeError("cannot register a hook on a tensor that doesn't require gradient")
        if self._node is not None:
            raise RuntimeError("post accumulate grad hooks cannot be registered on non-leaf tensors")
        if self._post_hooks is None:
            self._post_hooks = {}
        return Handle(self._post_hooks, hook)

    # What the tape needs.

    def _wants_grad(self) -> bool:
        return self._requires_grad

    def _edge(self) -> tuple[Node | Tensor, int]:
        """Where its gradient goes: an output of the node that made it, or itself."""
        if self._node is not None:
            return self._node, self._output_nr
        if self._sequence < 0:
            self._sequence = next(_function.sequence)
        return self, 0

    @property
    def _version(self) -> int:
        return 0 if self._counter is None else self._counter.value

    def _shared_counter(self) -> Version:
        if self._counter is None:
            self._counter = Version()
        return self._counter

    def _bump(self) -> None:
        self._shared_counter().value += 1

    def _rebase(self, node: Node, output_nr: int) -> None:
        """It was modified in place by ``node``, and is now that node's output."""
        self._requires_grad, self._node, self._output_nr = True, node, output_nr

    __hash__ = object.__hash__


_new = Tensor.__new__


def wrap(array: Array) -> Tensor:
    """A tensor around this very array."""
    tensor = _new(Tensor)
    tensor._array = array
    return tensor


from chainrule.autograd import engine as _engine  # noqa: E402  (they need Tensor)
from chainrule.autograd import function as _function  # noqa: E402
