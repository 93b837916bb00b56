"""Adam and AdamW."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from chainrule import kernels
from chainrule.optim.optimizer import (
    Group,
    Optimizer,
    Params,
    arrays,
    number,
    refuse_differentiable,
    with_gradients,
    zeros_like,
)
from chainrule.tensor import Tensor, wrap

__all__ = ["Adam", "AdamW"]


class Adam(Optimizer):
    """Adam (Kingma and Ba), with its AMSGrad variant; as ``torch.optim.Adam``.

    ``foreach``, ``capturable`` and ``fused`` are accepted and change nothing: a step is always one fused call.
    """

    def __init__(
        self,
        params: Params,
        lr: float | Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        amsgrad: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
        decoupled_weight_decay: bool = False,
    ) -> None:
        refuse_differentiable(type(self).__name__, differentiable)
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "amsgrad": amsgrad,
            "maximize": maximize,
            "foreach": foreach,
            "capturable": capturable,
            "differentiable": differentiable,
            "fused": fused,
            "decoupled_weight_decay": decoupled_weight_decay,
        }
        self._check(defaults)
        super().__init__(params, defaults)

    def _check(self, group: Group) -> None:
        if not number(group["lr"]) >= 0:
            raise ValueError(f"Invalid learning rate: {group['lr']}")
        if not group["eps"] >= 0:
            raise ValueError(f"Invalid epsilon value: {group['eps']}")
        if not isinstance(group["betas"], Sequence) or len(group["betas"]) != 2:
            raise TypeError(f"{type(self).__name__}: argument 'betas' is {group['betas']!r}, want two numbers")
        for i, beta in enumerate(group["betas"]):
            if not 0 <= number(beta) < 1:
                raise ValueError(f"Invalid beta parameter at index {i}: {beta}")
        if not group["weight_decay"] >= 0:
            raise ValueError(f"Invalid weight_decay value: {group['weight_decay']}")

    def _state(self, p: Tensor, amsgrad: bool) -> dict[str, Any]:
        state = self.state[p]
        if "step" not in state:
            state["exp_avg"] = zeros_like(p)
            state["exp_avg_sq"] = zeros_like(p)
            state["step"] = wrap(np.zeros((), np.int64))
        if amsgrad and "max_exp_avg_sq" not in state:
            state["max_exp_avg_sq"] = zeros_like(p)
        return state

    def _prepare(self, group: Group) -> None:
        for p in group["params"]:
            if p._grad is not None:
                self._state(p, group["amsgrad"])

    def _update(self, group: Group) -> None:
        amsgrad = group["amsgrad"]
        beta1, beta2 = group["betas"]
        for params in with_gradients(group["params"]):
            states = [self._state(p, amsgrad) for p in params]
            kernels.adam(
                [p._array for p in params],
                [p._grad._array for p in params],  # type: ignore[union-attr]
                arrays(states, "exp_avg"),
                arrays(states, "exp_avg_sq"),
                arrays(states, "max_exp_avg_sq") if amsgrad else None,
                arrays(states, "step"),
                lr=number(group["lr"]),
                beta1=number(beta1),
                beta2=number(beta2),
                eps=group["eps"],
                weight_decay=group["weight_decay"],
                decoupled=group["decoupled_weight_decay"],
                maximize=group["maximize"],
            )
            for p in params:
                p._bump()


class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov and Hutter); as ``torch.optim.AdamW``."""

    def __init__(
        self,
        params: Params,
        lr: float | Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        super().__init__(
            params,
            lr,
            betas,
            eps,
            weight_decay,
            amsgrad,
            foreach=foreach,
            maximize=maximize,
            capturable=capturable,
            differentiable=differentiable,
            fused=fused,
            decoupled_weight_decay=True,
        )
