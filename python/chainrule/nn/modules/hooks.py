"""Hooks of modules: registering them, and the two identity ops that catch a module's gradients."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

from chainrule import autograd
from chainrule.autograd import Function
from chainrule.tensor import Handle, Tensor, wrap

__all__ = ["BackwardHooks", "add_hook"]


def add_hook(hooks: OrderedDict[int, Any], hook: Any, prepend: bool = False) -> Handle:
    """Registers ``hook`` in ``hooks``, last, or first with ``prepend``; the handle takes it out again."""
    handle = Handle(hooks, hook)
    if prepend:
        hooks.move_to_end(handle.id, last=False)
    return handle


class _Catch(Function):
    """Identity on tensors whose backward hands the gradients to ``caught`` and passes on what that returns."""

    @staticmethod
    def forward(ctx: Any, caught: Callable[[tuple[Any, ...]], Sequence[Any]], *tensors: Tensor) -> tuple[Tensor, ...]:
        ctx.caught = caught
        ctx.set_materialize_grads(False)
        return tuple(wrap(t._array) for t in tensors)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Any, ...]:
        return (None, *ctx.caught(grads))


class BackwardHooks:
    """One call's full backward hooks.

    The outputs pass through one identity, whose backward runs the pre-hooks and keeps the gradients of the
    outputs; the inputs pass through another, whose backward then runs the hooks with both. Where no input
    requires a gradient the hooks run as soon as the outputs' gradients are there.
    """

    def __init__(self, module: Any, hooks: Sequence[Any], pre_hooks: Sequence[Any]) -> None:
        self.module = module
        self.hooks = hooks
        self.pre_hooks = pre_hooks
        self.grad_outputs: tuple[Any, ...] = ()
        self.inputs_caught = False
        self.inputs: tuple[int, int] = (0, 0)

    def catch_inputs(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """The arguments, the tensors among them passed through the identity."""
        places = [i for i, a in enumerate(args) if isinstance(a, Tensor)]
        self.inputs_caught = autograd.is_grad_enabled() and any(args[i].requires_grad for i in places)
        if not self.inputs_caught:
            self.places, self.n_args = [], len(args)
            return args
        self.places, self.n_args = places, len(args)
        caught = list(args)
        for i, t in zip(places, _Catch.apply(self._inputs_ready, *(args[i] for i in places)), strict=True):
            caught[i] = t
        return tuple(caught)

    def catch_outputs(self, result: Any) -> Any:
        """The result (a tensor or a tuple of tensors) passed through the identity."""
        single = isinstance(result, Tensor)
        outputs = (result,) if single else result
        if not isinstance(outputs, tuple) or not all(isinstance(t, Tensor) for t in outputs):
            raise TypeError(
                "full backward hooks: the module's output should be a Tensor or a tuple of Tensors, "
                f"got {type(result).__name__}"
            )
        if not (autograd.is_grad_enabled() and any(t.requires_grad for t in outputs)):
            return result
        caught = _Catch.apply(self._outputs_ready, *outputs)
        return caught[0] if single else tuple(caught)

    def _outputs_ready(self, grads: tuple[Any, ...]) -> tuple[Any, ...]:
        for hook in self.pre_hooks:
            replaced = hook(self.module, grads)
            if replaced is not None:
                grads = _as_tuple(replaced, len(grads), "backward pre-hook")
        self.grad_outputs = grads
        if not self.inputs_caught:
            for hook in self.hooks:
                if hook(self.module, (None,) * self.n_args, grads) is not None:
                    raise RuntimeError(
                        "backward hook: no input of the module requires a gradient, so the hook must return None"
                    )
        return grads

    def _inputs_ready(self, grads: tuple[Any, ...]) -> tuple[Any, ...]:
        full: list[Any] = [None] * self.n_args
        for i, g in zip(self.places, grads, strict=True):
            full[i] = g
        for hook in self.hooks:
            replaced = hook(self.module, tuple(full), self.grad_outputs)
            if replaced is not None:
                full = list(_as_tuple(replaced, self.n_args, "backward hook"))
        return tuple(full[i] for i in self.places)


def _as_tuple(value: Any, n: int, what: str) -> tuple[Any, ...]:
    grads: tuple[Any, ...] = value if isinstance(value, tuple) else (value,)
    if len(grads) != n:
        raise RuntimeError(f"{what}: returned {len(grads)} gradients, expected {n}")
    return grads
