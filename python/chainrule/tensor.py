"""Tensor: an array, its gradient, and the node of the tape that made it."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Union

import numpy as np

import chainrule
from chainrule import dtypes, formats
from chainrule.recording.state import constant_array
from chainrule.tensor_cast import Cast
from chainrule.tensor_inplace import InPlace
from chainrule.tensor_math import Math
from chainrule.tensor_repr import describe
from chainrule.tensor_shape import Shape

if TYPE_CHECKING:
    from chainrule.autograd.function import Function, Node

__all__ = ["Tensor", "constant", "listed", "refuse_no_tensor", "unwrapped", "wrap"]

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


class Tensor(Math, Shape, Cast, InPlace):
    """An n-dimensional array that records what is computed from it."""

    _array: Array
    # Class-level defaults: making a result sets `_array` alone.
    _requires_grad: bool = False
    _grad: Tensor | None = None
    _node: Node | None = None  # what made it; None for a leaf
    _output_nr: int = 0  # which of the node's outputs it is
    _sequence: int = -1  # a leaf's place in creation order, from its first use
    _counter: Version | None = None  # shared by views and detached aliases; made when first needed
    # A view made while recording: its base, what it is a view of and how, and the base's generation that `_node` is of.
    _base: Tensor | None = None
    _source: Tensor | None = None
    _view: tuple[type[Function], tuple[Any, ...]] | None = None
    _generation: int = 0  # of a base: how often its history was replaced by an in-place change
    _hooks: dict[int, Hook] | None = None  # a leaf's
    _post_hooks: dict[int, Callable[[Tensor], None]] | None = None
    __array_priority__ = 1000  # NumPy's operators leave mixed operations to ours

    def __init__(self, data: Any = (), *, dtype: Any = None, requires_grad: bool = False) -> None:
        self._array = chainrule.creation.to_array("Tensor", data, dtype)
        if requires_grad:
            self.requires_grad = True

    # What it holds.

    @property
    def shape(self) -> tuple[int, ...]:
        shape: tuple[int, ...] = self._array.shape
        return shape

    @property
    def dtype(self) -> np.dtype[Any]:
        dtype: np.dtype[Any] = self._array.dtype
        return dtype

    @property
    def ndim(self) -> int:
        return self._array.ndim

    def dim(self) -> int:
        return self._array.ndim

    ndimension = dim

    def size(self, dim: int | None = None) -> Any:
        """The shape, or one of its sizes."""
        return self._array.shape if dim is None else self._array.shape[dim]

    def numel(self) -> int:
        return self._array.size

    nelement = numel

    @property
    def itemsize(self) -> int:
        return self._array.itemsize

    @property
    def nbytes(self) -> int:
        return self._array.nbytes

    def element_size(self) -> int:
        return self._array.itemsize

    def stride(self, dim: int | None = None) -> Any:
        """Elements (not bytes) from one entry to the next, per dimension."""
        strides = tuple([s // self._array.itemsize for s in self._array.strides])
        return strides if dim is None else strides[dim]

    def is_contiguous(self, memory_format: Any = formats.contiguous_format) -> bool:
        """Whether the elements lie in the order of this format, and nothing between them."""
        wanted = formats.checked("is_contiguous", memory_format, preserve=False)
        return formats.is_contiguous(self._array, wanted)

    def data_ptr(self) -> int:
        return int(self._array.ctypes.data)

    @property
    def device(self) -> dtypes.device:
        return dtypes.cpu

    @property
    def is_cuda(self) -> bool:
        return False

    def is_floating_point(self) -> bool:
        return bool(self._array.dtype.kind == "f")

    # As something else.

    def numpy(self, *, force: bool = False) -> Array:
        """The array itself, sharing memory; a tensor that requires grad must be detached first (or ``force``)."""
        if self._wants_grad() and not force:
            raise RuntimeError("Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() instead.")
        return self._array

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        array = self.numpy()
        wanted = array.dtype if dtype is None else np.dtype(dtype)
        if copy is False and wanted != array.dtype:
            raise ValueError(f"a tensor of {array.dtype} can't become an array of {wanted} without a copy")
        return array.astype(wanted) if copy or wanted != array.dtype else array

    def __dlpack__(self, **options: Any) -> Any:
        if self._wants_grad():
            raise BufferError("Can't export tensors that require gradient, use tensor.detach()")
        if options.get("stream") is None:
            options.pop("stream", None)
        return self._array.__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        return 1, 0  # kDLCPU

    def item(self) -> Any:
        """The only element, as a Python number."""
        if self._array.size != 1:
            raise RuntimeError(f"a Tensor with {self._array.size} elements cannot be converted to Scalar")
        return self._array.item()

    def tolist(self) -> Any:
        """Nested lists of Python numbers; a number for a 0-d tensor."""
        return self._array.tolist()

    def __bool__(self) -> bool:
        if self._array.size != 1:
            problem = "no values" if self._array.size == 0 else "more than one value"
            raise RuntimeError(f"Boolean value of Tensor with {problem} is ambiguous")
        return bool(self._array.item())

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __complex__(self) -> complex:
        return complex(self.item())

    def __index__(self) -> int:
        if self._array.size != 1 or self._array.dtype.kind not in "iub":
            raise TypeError("only integer tensors of a single element can be converted to an index")
        return int(self._array.item())

    def __format__(self, spec: str) -> str:
        return format(self._array.item(), spec) if not self._array.ndim else object.__format__(self, spec)

    def __repr__(self) -> str:
        return describe(self)

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        if self._node is not None:
            raise RuntimeError(
                "Only Tensors created explicitly by the user (graph leaves) support the deepcopy protocol at the moment"
            )
        if id(self) in memo:
            return memo[id(self)]  # type: ignore[no-any-return]
        result = type(self).__new__(type(self))
        memo[id(self)] = result
        result._array = formats.copy(self._array)
        result._requires_grad = self._requires_grad
        if self._grad is not None:
            result._grad = self._grad.__deepcopy__(memo)
        return result

    def __reduce__(self) -> tuple[Any, ...]:
        if self._node is not None:
            raise RuntimeError("a tensor that isn't a leaf can't be pickled; detach() it first")
        return _unpickled, (type(self), self._array, self._requires_grad)

    # Off the tape.

    @property
    def data(self) -> Tensor:
        """The same memory, cut from the tape and from the check for in-place changes."""
        return wrap(self._array)

    @data.setter
    def data(self, value: Tensor) -> None:
        if not isinstance(value, Tensor):
            raise TypeError(f"Variable data has to be a tensor, but got {value.__class__.__name__}")
        self._array = value._array

    def detach(self) -> Tensor:
        """The same memory, cut from the tape."""
        result = wrap(self._array)
        result._counter = self._shared_counter()
        return result

    def detach_(self) -> Tensor:
        """Cuts itself from the tape."""
        if self._base is not None:
            raise RuntimeError("Can't detach views in-place. Use detach() instead.")
        self._node, self._requires_grad, self._output_nr = None, False, 0
        self._generation += 1
        return self

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
        if requires_grad and self._array.dtype.kind != "f":
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
        self._wants_grad()
        return self._node

    @property
    def is_leaf(self) -> bool:
        """Whether no recorded operation made it."""
        self._wants_grad()
        return self._node is None

    @property
    def output_nr(self) -> int:
        return self._output_nr

    def _is_view(self) -> bool:
        return self._base is not None

    def retain_grad(self) -> None:
        """Has backward fill its ``.grad`` too although it isn't a leaf."""
        if not self._wants_grad():
            raise RuntimeError("can't retain_grad on Tensor that has requires_grad=False")
        if self._node is None:
            return
        if self._node._retained is None:
            self._node._retained = {}
        self._node._retained[self._output_nr] = weakref.ref(self)

    @property
    def retains_grad(self) -> bool:
        return self._node is not None and self._output_nr in (self._node._retained or ())

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
        """Whether operations on it are recorded; brings a view whose base was changed in place up to date."""
        if self._base is not None and self._generation != self._base._generation:
            self._refresh()
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
        """It was modified in place by ``node``, and is now that node's output; so is its base, where it is a view."""
        if self._base is None:
            self._requires_grad, self._node, self._output_nr = True, node, output_nr
            self._generation += 1
            return
        values = wrap(self._array)
        values._requires_grad, values._node, values._output_nr = True, node, output_nr
        views = []
        view: Tensor = self
        while view._source is not None:
            views.append(view._view)
            view = view._source
        chainrule.ops.inplace.Overwrite.apply(self._base, values, tuple(views[::-1]))

    def _refresh(self) -> None:
        """Makes the node of a view again, from its base as it is now."""
        base = self._base
        assert base is not None
        stale: list[Tensor] = []
        view: Tensor | None = self
        while view is not None and view._base is not None and view._generation != base._generation:
            stale.append(view)
            view = view._source
        with _enable_grad():
            for view in reversed(stale):
                assert view._view is not None
                function, args = view._view
                again = function.apply(view._source, *args)
                view._generation = base._generation
                view._requires_grad = again._requires_grad
                view._node, view._output_nr = again._node, again._output_nr


_new = Tensor.__new__


def _unpickled(kind: type[Tensor], array: Array, requires_grad: bool) -> Tensor:
    tensor = kind.__new__(kind)
    tensor._array = array
    tensor._requires_grad = requires_grad
    return tensor


def wrap(array: Array) -> Tensor:
    """A tensor around this very array."""
    tensor = _new(Tensor)
    tensor._array = array
    return tensor


def unwrapped(data: Any) -> Any:
    """Nested lists and tuples with arrays in place of tensors."""
    if isinstance(data, Tensor):
        return data._array
    return [unwrapped(d) for d in data] if isinstance(data, (list, tuple)) else data


def listed(tensors: Any) -> list[Any]:
    """One tensor, or an iterable of them, as a list; anything else is a list of itself, for the caller to refuse."""
    one = isinstance(tensors, (Tensor, np.ndarray)) or not isinstance(tensors, Iterable)
    return [tensors] if one else list(tensors)


def refuse_no_tensor(error: AttributeError, where: str) -> None:
    """Raises TypeError where the error is that of code which was given something else than a tensor."""
    if error.name == "_array" and not isinstance(error.obj, Tensor):
        kind = type(error.obj).__name__
        raise TypeError(f"{where}: got a {kind}, want a Tensor: chainrule.tensor or from_numpy makes one") from error


def constant(array: Array) -> Tensor:
    """A tensor around an array whose values follow from shapes and Python numbers alone."""
    return wrap(constant_array(array))


from chainrule.autograd import engine as _engine  # noqa: E402  (they need Tensor)
from chainrule.autograd import function as _function  # noqa: E402
from chainrule.autograd.grad_mode import enable_grad as _enable_grad  # noqa: E402
