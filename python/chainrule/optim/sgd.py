"""Gradient descent with momentum."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from chainrule import kernels
from chainrule.optim.optimizer import (
    Array,
    Group,
    Optimizer,
    Params,
    number,
    refuse_differentiable,
    with_gradients,
    zeros_like,
)
from chainrule.tensor import Tensor, wrap

__all__ = ["SGD"]


class SGD(Optimizer):
    """Gradient descent, optionally with (Nesterov) momentum; as ``torch.optim.SGD``.

    ``foreach`` and ``fused`` are accepted and change nothing: a step is always one fused call.
    """

    def __init__(
        self,
        params: Params,
        lr: float | Tensor = 1e-3,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: float = 0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        refuse_differentiable("SGD", differentiable)
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "dampening": dampening,
            "weight_decay": weight_decay,
            "nesterov": nesterov,
            "maximize": maximize,
            "foreach": foreach,
            "differentiable": differentiable,
            "fused": fused,
        }
        # Steps taken with a buffer; none yet means that the buffer holds nothing (its first value is the gradient).
        self._steps: dict[Tensor, Tensor] = {}
        self._check(defaults)
        super().__init__(params, defaults)

    def _check(self, group: Group) -> None:
        if not number(group["lr"]) >= 0:
            raise ValueError(f"Invalid learning rate: {group['lr']}")
        if not group["momentum"] >= 0:
            raise ValueError(f"Invalid momentum value: {group['momentum']}")
        if not group["weight_decay"] >= 0:
            raise ValueError(f"Invalid weight_decay value: {group['weight_decay']}")
        if group["nesterov"] and (group["momentum"] <= 0 or group["dampening"] != 0):
            raise ValueError("Nesterov momentum requires a momentum and zero dampening")

    def _buffer(self, p: Tensor) -> Array:
        state = self.state[p]
        if state.get("momentum_buffer") is None:
            self._steps[p] = wrap(np.zeros((), np.int64))
            state["momentum_buffer"] = zeros_like(p)
        elif p not in self._steps:
            self._steps[p] = wrap(np.ones((), np.int64))  # a buffer that was loaded
        buffer: Array = state["momentum_buffer"]._array
        return buffer

    def _prepare(self, group: Group) -> None:
        for p in group["params"]:
            if p._grad is not None and group["momentum"]:
                self._buffer(p)

    def _update(self, group: Group) -> None:
        momentum = group["momentum"]
        for params in with_gradients(group["params"]):
            kernels.sgd(
                [p._array for p in params],
                [p._grad._array for p in params],  # type: ignore[union-attr]
                [self._buffer(p) for p in params] if momentum else None,
                [self._steps[p]._array for p in params] if momentum else None,
                lr=number(group["lr"]),
                momentum=momentum,
                dampening=group["dampening"],
                weight_decay=group["weight_decay"],
                nesterov=group["nesterov"],
                maximize=group["maximize"],
            )
            for p in params:
                p._bump()

    def _to_save(self, param: Tensor, state: dict[str, Any]) -> dict[str, Any]:
        empty = param in self._steps and self._steps[param]._array == 0
        return {**state, "momentum_buffer": None} if empty else state

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        super().load_state_dict(state_dict)
        self._steps.clear()
