"""Backward: nodes are taken in reverse creation order from a heap, so no recursion and no counting of uses.

A node's consumers were created after it, so when it is the newest one left, all of its gradient has arrived. Several
contributions to one gradient are added in the order in which they arrive, newest consumer first: fixed by the program.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterable, Sequence
from heapq import heappop, heappush
from typing import Any

import numpy as np

from chainrule import _core, formats, kernels
from chainrule.autograd.function import Context, Function, Node
from chainrule.autograd.grad_mode import state
from chainrule.broadcasting import broadcasts_to
from chainrule.tensor import Tensor, listed, wrap

__all__ = ["backward", "grad"]

Array = np.ndarray[Any, Any]
Target = Node | Tensor
_accumulating = threading.Lock()  # several threads may reach one leaf


class AddGradients(Function):
    """The sum of two gradients of one shape and dtype, itself differentiable."""

    @staticmethod
    def forward(ctx: Context, a: Tensor, b: Tensor) -> Tensor:
        if a._array.dtype.itemsize >= 4:
            return wrap(kernels.add(a._array, b._array))
        return wrap(np.add(a._array, b._array, out=np.empty(a._array.shape, a._array.dtype)))

    @staticmethod
    def backward(ctx: Context, dy: Tensor) -> Any:
        return dy, dy


class CloneGradient(Function):
    """A copy."""

    @staticmethod
    def forward(ctx: Context, a: Tensor) -> Tensor:
        return wrap(formats.copy(a._array))

    @staticmethod
    def backward(ctx: Context, dy: Tensor) -> Any:
        return dy


def _run(
    roots: Sequence[tuple[Tensor, Tensor]],
    retain_graph: bool,
    create_graph: bool,
    wanted: list[tuple[Target, int]] | None,
    sink: Callable[[Target, int, Tensor], None] | None,
) -> None:
    """Sends ``roots``' gradients down the graph.

    With ``wanted``, only towards those, and what reaches one goes to ``sink``; else into the leaves' ``.grad``.
    """
    needed = None if wanted is None else _leading_to([t._edge()[0] for t, _ in roots], {w for w, _ in wanted})
    capture = {} if wanted is None else _group(wanted)
    buffers: dict[Target, list[Tensor | None]] = {}
    owned: set[tuple[Target, int]] = set()  # sums made here: later contributions are added in place
    heap: list[tuple[int, Target]] = []
    for tensor, gradient in roots:
        target, nr = tensor._edge()
        if needed is None or target in needed or target in capture:
            _send(heap, buffers, owned, target, nr, gradient, create_graph)
    before = state.enabled
    state.enabled = create_graph
    try:
        while heap:
            target = heappop(heap)[1]
            grads = buffers.pop(target)
            if isinstance(target, Tensor):
                _finish_leaf(target, grads, capture.get(target), sink, create_graph, wanted is None)
                continue
            if target._hooks or target._retained:
                _run_hooks(target, grads)
            for nr in capture.get(target, ()):
                if grads[nr] is not None and sink is not None:
                    sink(target, nr, grads[nr])  # type: ignore[arg-type]
            if needed is not None and target not in needed:
                continue
            results = target._backward(grads)
            del grads
            for i, edge in enumerate(target._edges):
                if edge is None or results[i] is None:
                    continue
                if needed is not None and edge[0] not in needed and edge[0] not in capture:
                    continue
                gradient = _fitted(target, i, edge, results[i])  # type: ignore[arg-type]
                _send(heap, buffers, owned, edge[0], edge[1], gradient, create_graph)
                del gradient
            del results
            if not retain_graph:
                target._release()
    finally:
        state.enabled = before


def _send(
    heap: list[tuple[int, Target]],
    buffers: dict[Target, list[Tensor | None]],
    owned: set[tuple[Target, int]],
    target: Target,
    nr: int,
    gradient: Tensor,
    create_graph: bool,
) -> None:
    buffer = buffers.get(target)
    if buffer is None:
        buffer = buffers[target] = [None] * (1 if isinstance(target, Tensor) else len(target._shapes))
        heappush(heap, (-target._sequence, target))
    there = buffer[nr]
    if there is None:
        buffer[nr] = gradient
    elif create_graph:
        buffer[nr] = AddGradients.apply(there, gradient)
    elif (target, nr) in owned:
        _add_to(there._array, gradient._array)
    else:
        buffer[nr] = AddGradients.forward(Node(), there, gradient)
        owned.add((target, nr))


def _add_to(there: Any, gradient: Any) -> None:
    """``there += gradient``, in its memory."""
    if there.dtype.itemsize >= 4 and there.dtype == gradient.dtype:
        _core.accumulate(there, gradient)
    else:
        np.add(there, gradient, out=there)


def _fitted(node: Node, i: int, edge: tuple[Target, int], gradient: Tensor) -> Tensor:
    """``gradient`` in the shape and dtype of what it is the gradient of."""
    target, nr = edge
    if isinstance(target, Tensor):
        shape, dtype = target._array.shape, target._array.dtype
    else:
        shape, dtype = target._shapes[nr], target._dtypes[nr]
    if not isinstance(gradient, Tensor):
        raise TypeError(f"function {node.name()} returned a {type(gradient).__name__} at index {i}, want a Tensor")
    if gradient._array.shape != shape:
        if not broadcasts_to(shape, gradient._array.shape):
            raise RuntimeError(
                f"Function {node.name()} returned an invalid gradient at index {i} - got {list(gradient.shape)} but "
                f"expected shape compatible with {list(shape)}"
            )
        gradient = gradient.sum_to_size(shape)
    return gradient if gradient._array.dtype == dtype else gradient.to(dtype)


def _run_hooks(node: Node, grads: list[Tensor | None]) -> None:
    for nr, hooks in (node._hooks or {}).items():
        grads[nr] = _hooked(hooks, grads[nr])
    for nr, reference in (node._retained or {}).items():
        tensor, gradient = reference(), grads[nr]
        if tensor is not None and gradient is not None:
            _accumulate(tensor, gradient, state.enabled)


def _hooked(hooks: dict[int, Callable[[Tensor], Tensor | None]], gradient: Tensor | None) -> Tensor | None:
    for hook in list(hooks.values()):
        if gradient is None:
            return None
        result = hook(gradient)
        if result is None:
            continue
        if not isinstance(result, Tensor):
            raise TypeError(f"a gradient hook returned a {type(result).__name__}, want a Tensor or None")
        if result._array.shape != gradient._array.shape:
            raise RuntimeError(
                f"a gradient hook changed the size of the gradient from {list(gradient.shape)} to {list(result.shape)}"
            )
        gradient = result
    return gradient


def _finish_leaf(
    leaf: Tensor,
    grads: list[Tensor | None],
    captured: list[int] | None,
    sink: Callable[[Target, int, Tensor], None] | None,
    create_graph: bool,
    accumulate: bool,
) -> None:
    gradient = grads.pop()
    if leaf._hooks:
        gradient = _hooked(leaf._hooks, gradient)
    if gradient is None:
        return
    if captured is not None and sink is not None:
        sink(leaf, 0, gradient)
    if accumulate:
        _accumulate(leaf, gradient, create_graph)
        for hook in list((leaf._post_hooks or {}).values()):
            hook(leaf)


def _references(gradient: Tensor) -> tuple[int, int]:
    return sys.getrefcount(gradient), sys.getrefcount(gradient._array)


def _sole_owner(gradient: Tensor) -> bool:
    """Whether nothing but the caller's variable and its caller's refers to this gradient's memory."""
    array = gradient._array
    if isinstance(array.base, np.ndarray) or not array.flags.writeable:
        return False
    del array
    return _references(gradient) <= _ALONE


def _lies_as(gradient: Array, leaf: Array) -> bool:
    """Whether a leaf's gradient lies in memory as it should: dense, and in the order of the leaf."""
    if gradient.flags.c_contiguous and leaf.flags.c_contiguous:
        return True
    return gradient.strides == tuple([s * gradient.itemsize for s in _core.dense_strides(leaf)])


def _accumulate(tensor: Tensor, gradient: Tensor, create_graph: bool) -> None:
    """Adds to ``tensor.grad``. The first gradient becomes it where nobody else holds it, and where it lies as the
    tensor does; else a copy does."""
    with _accumulating:
        there = tensor._grad
        if create_graph:
            tensor._grad = CloneGradient.apply(gradient) if there is None else AddGradients.apply(there, gradient)
        elif there is None:
            leaf = tensor._array
            if _sole_owner(gradient) and _lies_as(gradient._array, leaf):
                tensor._grad = wrap(gradient._array)
            else:
                tensor._grad = wrap(kernels.copy(gradient._array, formats.empty_like(leaf, gradient._array.dtype)))
        elif there._node is None:
            _add_to(there._array, gradient._array)
            there._bump()
        else:  # made by create_graph: its own graph may have saved it
            tensor._grad = AddGradients.forward(Node(), there, gradient)


def _probe() -> tuple[int, int]:
    """What :func:`_references` says inside :func:`_accumulate` of a gradient that nothing else refers to."""

    def finish(grads: list[Tensor]) -> tuple[int, int]:
        gradient = grads.pop()
        return accumulate(gradient)

    def accumulate(gradient: Tensor) -> tuple[int, int]:
        return sole(gradient)

    def sole(gradient: Tensor) -> tuple[int, int]:
        return _references(gradient)

    return finish([wrap(np.zeros(1))])


_ALONE = _probe()


def _group(wanted: Iterable[tuple[Target, int]]) -> dict[Target, list[int]]:
    groups: dict[Target, list[int]] = {}
    for target, nr in wanted:
        if nr not in groups.setdefault(target, []):
            groups[target].append(nr)
    return groups


def _leading_to(roots: Iterable[Target], wanted: set[Target]) -> set[Target]:
    """The nodes from which a wanted one can be reached through at least one edge."""
    seen: dict[Target, None] = {}
    stack = list(roots)
    while stack:
        target = stack.pop()
        if target in seen:
            continue
        seen[target] = None
        if not isinstance(target, Tensor):
            stack += [e[0] for e in target._edges if e is not None]
    needed: set[Target] = set()
    for target in sorted(seen, key=lambda t: t._sequence):  # what it consumed comes before a consumer
        if not isinstance(target, Tensor) and any(
            e is not None and (e[0] in wanted or e[0] in needed) for e in target._edges
        ):
            needed.add(target)
    return needed


def _root_gradients(
    op: str, tensors: Sequence[Tensor], gradients: Sequence[Tensor | None]
) -> list[tuple[Tensor, Tensor]]:
    if len(tensors) != len(gradients):
        raise RuntimeError(f"{op}: got {len(tensors)} tensors and {len(gradients)} gradients")
    roots = []
    for i, (tensor, gradient) in enumerate(zip(tensors, gradients, strict=True)):
        if not isinstance(tensor, Tensor):
            raise TypeError(f"{op}: element {i} of the tensors to differentiate is a {type(tensor).__name__}")
        if not tensor._wants_grad():
            raise RuntimeError(f"element {i} of tensors does not require grad and does not have a grad_fn")
        if gradient is None:
            if tensor._array.size != 1:
                raise RuntimeError("grad can be implicitly created only for scalar outputs")
            gradient = wrap(kernels.full(tensor._array.shape, 1, tensor._array.dtype))
        elif not isinstance(gradient, Tensor):
            raise TypeError(f"{op}: gradients can be either Tensors or None, but got {type(gradient).__name__}")
        elif gradient._array.shape != tensor._array.shape:
            raise RuntimeError(
                f"Mismatch in shape: grad_output has a shape of {list(gradient.shape)} and output has a shape of "
                f"{list(tensor.shape)}."
            )
        elif gradient._array.dtype != tensor._array.dtype:
            raise RuntimeError(
                f"Mismatch in dtype: grad_output is {gradient._array.dtype} and output is {tensor._array.dtype}."
            )
        roots.append((tensor, gradient))
    return roots


def backward(
    tensors: Tensor | Sequence[Tensor],
    grad_tensors: Tensor | Sequence[Tensor | None] | None = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    inputs: Tensor | Sequence[Tensor] | None = None,
) -> None:
    """Adds the gradients of ``tensors`` (weighted by ``grad_tensors``) to the ``.grad`` of the leaves they depend on.

    With ``inputs``, only to those. The graph is freed unless ``retain_graph`` (default: ``create_graph``).
    """
    outputs = listed(tensors)
    roots = _root_gradients(
        "backward", outputs, [None] * len(outputs) if grad_tensors is None else listed(grad_tensors)
    )
    retain = create_graph if retain_graph is None else retain_graph
    if inputs is None:
        _run(roots, retain, create_graph, None, None)
        return
    chosen = listed(inputs)
    if not chosen:
        raise RuntimeError("'inputs' argument to backward() cannot be empty.")
    wanted = _edges("backward", chosen)

    def accumulate(target: Target, nr: int, gradient: Tensor) -> None:
        for tensor, place in zip(chosen, wanted, strict=True):
            if place == (target, nr):
                _accumulate(tensor, gradient, create_graph)
                for hook in list((tensor._post_hooks or {}).values()):
                    hook(tensor)
                return

    _run(roots, retain, create_graph, wanted, accumulate)


def _edges(op: str, inputs: Sequence[Tensor]) -> list[tuple[Target, int]]:
    for tensor in inputs:
        if not isinstance(tensor, Tensor):
            raise TypeError(f"{op}: argument 'inputs' has a {type(tensor).__name__}, want Tensors")
        if not tensor._wants_grad():
            raise RuntimeError("One of the differentiated Tensors does not require grad")
    return [t._edge() for t in inputs]


def grad(
    outputs: Tensor | Sequence[Tensor],
    inputs: Tensor | Sequence[Tensor],
    grad_outputs: Tensor | Sequence[Tensor | None] | None = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    allow_unused: bool | None = None,
    is_grads_batched: bool = False,
    materialize_grads: bool = False,
) -> tuple[Any, ...]:
    """The gradients of ``outputs`` (weighted by ``grad_outputs``) with respect to ``inputs``; no ``.grad`` is touched.

    An input that the outputs don't depend on raises, or gives None with ``allow_unused`` (zeros with
    ``materialize_grads``).
    """
    if is_grads_batched:
        raise NotImplementedError("grad: argument 'is_grads_batched' is True, want False")
    tensors = listed(outputs)
    roots = _root_gradients("grad", tensors, [None] * len(tensors) if grad_outputs is None else listed(grad_outputs))
    chosen = listed(inputs)
    wanted = _edges("grad", chosen)
    found: dict[tuple[Target, int], Tensor] = {}

    def keep(target: Target, nr: int, gradient: Tensor) -> None:
        found[target, nr] = gradient

    _run(roots, create_graph if retain_graph is None else retain_graph, create_graph, wanted, keep)
    results: list[Tensor | None] = []
    for tensor, place in zip(chosen, wanted, strict=True):
        gradient = found.get(place)
        if gradient is None and materialize_grads:
            gradient = wrap(np.zeros_like(tensor._array))
        if gradient is None and not allow_unused:
            raise RuntimeError(
                "One of the differentiated Tensors appears to not have been used in the graph. Set allow_unused=True "
                "if this is the desired behavior."
            )
        results.append(gradient)
    return tuple(results)


def grad_where(needs: Sequence[bool], outputs: Any, inputs: Sequence[Tensor], grad_outputs: Any) -> list[Tensor | None]:
    """The gradients, themselves differentiable, of the inputs that need one; None for the others.

    What a fused Function's backward does where a graph of it is wanted: ``outputs`` are composed of operations.
    """
    wanted = [x for x, need in zip(inputs, needs, strict=True) if need]
    found = iter(grad(outputs, wanted, grad_outputs, create_graph=True, allow_unused=True))
    return [next(found) if need else None for need in needs]
