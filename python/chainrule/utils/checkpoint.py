"""Activation checkpointing, as in ``torch.utils.checkpoint``: what a part of a net saved for backward is dropped, and
computed again when backward comes to it (Chen et al., 2016: Training Deep Nets with Sublinear Memory Cost).

The part runs as always, so its results and gradients have the same bits; second derivatives and ``autograd.grad``
work, and so do compiled steps, where the memory that a checkpoint frees serves the kernels after it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np

from chainrule.autograd import Context, Function, Node, enable_grad
from chainrule.autograd.grad_mode import state
from chainrule.autograd.graph import saved_tensors_hooks
from chainrule.nn import Module
from chainrule.random import KeyTape, drawing_from
from chainrule.tensor import Tensor, constant, wrap

__all__ = ["CheckpointError", "checkpoint", "checkpoint_sequential"]


class CheckpointError(RuntimeError):
    """The second run of a checkpointed function did other things than the first."""


class _Enough(Exception):
    """All that was saved is there again: the rest needs no second run."""


class _Keep(Function):
    """Saves tensors, so that outer checkpoints may drop them and a change in place is noticed."""

    @staticmethod
    def forward(ctx: Context, anchor: Tensor, *tensors: Tensor) -> Tensor:
        ctx.save_for_backward(*tensors)
        return wrap(anchor._array)

    @staticmethod
    def backward(ctx: Context, dy: Tensor) -> Any:
        raise AssertionError("nothing depends on it")


class _Packed:
    """What stays of a saved tensor: its number, and its place in the graph."""

    def __init__(self, number: int, tensor: Tensor) -> None:
        self.number = number
        self.shape, self.dtype = tensor._array.shape, tensor._array.dtype
        self.requires_grad = tensor.requires_grad
        self.node: Node | None = tensor._node
        self.output = tensor._output_nr


class _Frame:
    """One call of a checkpointed function."""

    def __init__(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._function = function
        self._others = [None if isinstance(a, Tensor) else a for a in (*args, *kwargs.values())]
        self._names = list(kwargs)
        self._tensors = [i for i, a in enumerate((*args, *kwargs.values())) if isinstance(a, Tensor)]
        anchor = constant(np.zeros(0, np.float32)).requires_grad_()
        self._kept = _Keep.apply(anchor, *[a for a in (*args, *kwargs.values()) if isinstance(a, Tensor)])._node
        self._packed: list[_Packed] = []
        self._again: list[Any] = []  # arrays by number, each given out once per backward
        self.keys: KeyTape | None = None
        self.contexts: tuple[AbstractContextManager[Any], AbstractContextManager[Any]] = (nullcontext(), nullcontext())

    def pack(self, tensor: Tensor) -> Any:
        if tensor.requires_grad and tensor._node is None:
            return tensor  # a parameter: alive anyway
        self._packed.append(_Packed(len(self._packed), tensor))
        return self._packed[-1]

    def unpack(self, packed: Any) -> Tensor:
        if isinstance(packed, Tensor):
            return packed
        if packed.number >= len(self._again) or self._again[packed.number] is None:
            self._run_again()
        array, self._again[packed.number] = self._again[packed.number], None
        tensor = wrap(array)
        tensor._requires_grad, tensor._node, tensor._output_nr = packed.requires_grad, packed.node, packed.output
        return tensor

    def _run_again(self) -> None:
        everything = list(self._others)
        stand_ins = set()  # leaves here, but not in the first run
        for i, tensor in zip(self._tensors, self._kept.saved_tensors, strict=True):
            everything[i] = tensor
            if tensor._node is not None or not tensor.requires_grad:
                everything[i] = tensor.detach().requires_grad_(tensor.requires_grad)
                stand_ins.add(id(everything[i]))
        count = len(everything) - len(self._names)
        args, kwargs = everything[:count], dict(zip(self._names, everything[count:], strict=True))
        again: list[tuple[Tensor, int]] = []

        def pack(tensor: Tensor) -> Any:
            if tensor.requires_grad and tensor._node is None and id(tensor) not in stand_ins:
                return tensor
            self._check(len(again), tensor)
            again.append((tensor, tensor._version))
            if len(again) == len(self._packed):
                raise _Enough
            return None

        try:
            with enable_grad(), self.contexts[1], saved_tensors_hooks(pack, _never):
                if self.keys is None:
                    self._function(*args, **kwargs)
                else:
                    self.keys.rewind()
                    with drawing_from(self.keys):
                        self._function(*args, **kwargs)
        except _Enough:
            pass
        if len(again) != len(self._packed):
            raise CheckpointError(
                f"checkpoint: the function saved {len(self._packed)} tensors for backward, and {len(again)} when it "
                "was run again: it must do the same each time"
            )
        for tensor, version in again:
            if tensor._version != version:
                raise RuntimeError(
                    "checkpoint: one of the variables needed for gradient computation has been modified by an inplace "
                    f"operation: [Tensor of shape {list(tensor.shape)}]"
                )
        self._again = [tensor._array for tensor, _ in again]

    def _check(self, number: int, tensor: Tensor) -> None:
        first = self._packed[number]
        found = tensor._array.shape, tensor._array.dtype
        if found != (first.shape, first.dtype):
            raise CheckpointError(
                f"checkpoint: saved tensor {number} had shape {first.shape} and dtype {first.dtype}, and shape "
                f"{found[0]} and dtype {found[1]} when the function was run again: it must do the same each time"
            )


def _never(packed: Any) -> Tensor:
    raise AssertionError("nobody differentiates the second run")


def checkpoint(
    function: Callable[..., Any],
    *args: Any,
    use_reentrant: bool | None = None,
    preserve_rng_state: bool = True,
    context_fn: Callable[[], tuple[AbstractContextManager[Any], AbstractContextManager[Any]]] | None = None,
    **kwargs: Any,
) -> Any:
    """``function(*args, **kwargs)`` without keeping what it saves for backward: backward runs it a second time.

    ``function`` must do the same both times; what it draws at random is the same unless ``preserve_rng_state`` is
    False. A batch norm in it sees its batch twice. ``use_reentrant`` True is refused: this is PyTorch's non-reentrant
    form, which does all that the other does. ``context_fn`` gives two context managers, for the first and the second
    run. Raises :class:`CheckpointError` in backward where the second run saves other tensors than the first.
    """
    if use_reentrant:
        raise ValueError("checkpoint: use_reentrant=True is not supported; leave it out, or pass False")
    if not state.enabled:
        return function(*args, **kwargs)
    frame = _Frame(function, args, kwargs)
    if preserve_rng_state:
        frame.keys = KeyTape()
    if context_fn is not None:
        frame.contexts = context_fn()
    with frame.contexts[0], saved_tensors_hooks(frame.pack, frame.unpack):
        if frame.keys is None:
            return function(*args, **kwargs)
        with drawing_from(frame.keys):
            return function(*args, **kwargs)


def checkpoint_sequential(
    functions: Iterable[Callable[..., Any]],
    segments: int,
    input: Any,
    use_reentrant: bool | None = None,
    preserve_rng_state: bool = True,
) -> Any:
    """``functions`` (or the children of a ``Sequential``) one after another, in ``segments`` parts of about the same
    number, each but the last checkpointed."""
    parts: list[Callable[..., Any]] = list(functions.children()) if isinstance(functions, Module) else list(functions)
    if not 1 <= segments <= len(parts):
        raise ValueError(
            f"checkpoint_sequential: argument 'segments' is {segments}, want 1 to {len(parts)}, the number of functions"
        )
    size = len(parts) // segments

    def run(part: list[Callable[..., Any]], x: Any) -> Any:
        for function in part:
            x = function(x)
        return x

    for i in range(segments - 1):
        part = parts[i * size : (i + 1) * size]
        input = checkpoint(run, part, input, use_reentrant=use_reentrant, preserve_rng_state=preserve_rng_state)
    return run(parts[(segments - 1) * size :], input)
