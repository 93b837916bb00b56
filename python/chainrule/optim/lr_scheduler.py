"""Schedules of the learning rate, as in ``torch.optim.lr_scheduler``: call ``step()`` after the optimizer's.

A schedule changes ``optimizer.param_groups[i]["lr"]``, which compiled steps read anew on every call; call it outside of
them. Most find the next rate from the present one, so that several can act on one optimizer.
"""

from __future__ import annotations

import bisect
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from chainrule.optim.optimizer import Optimizer, number
from chainrule.recording.state import refuse
from chainrule.tensor import Tensor

__all__ = [
    "ConstantLR",
    "CosineAnnealingLR",
    "ExponentialLR",
    "LRScheduler",
    "LambdaLR",
    "LinearLR",
    "MultiStepLR",
    "ReduceLROnPlateau",
    "SequentialLR",
    "StepLR",
]


class LRScheduler:
    """The base of all schedules. A subclass defines ``get_lr()``: the groups' rates at ``self.last_epoch``.

    ``last_epoch`` is -1 to begin, or the number of the last step that is done, to go on: groups must then have an
    ``"initial_lr"``, else it raises KeyError. What counts as an epoch is up to the caller: one call of ``step()``.
    """

    _not_saved: tuple[str, ...] = ("optimizer",)

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"{type(optimizer).__name__} is not an Optimizer")
        for i, group in enumerate(optimizer.param_groups):
            if last_epoch == -1:
                group.setdefault("initial_lr", number(group["lr"]))
            elif "initial_lr" not in group:
                raise KeyError(f"param 'initial_lr' is not specified in param_groups[{i}] when resuming an optimizer")
        self.optimizer = optimizer
        self.base_lrs: list[float] = [group["initial_lr"] for group in optimizer.param_groups]
        self.last_epoch = last_epoch
        self._begun = False  # where it goes on, the groups have the rates of `last_epoch` already
        self.step()
        self._begun = True

    def get_lr(self) -> list[float]:
        """The groups' rates at ``self.last_epoch``, most often from those of the step before."""
        raise NotImplementedError(f"{type(self).__name__} defines no get_lr()")

    def get_last_lr(self) -> list[float]:
        """The rates that the last ``step()`` set, one per parameter group."""
        return self._last_lr

    def step(self) -> None:
        """Goes to the next epoch and sets its rates. Raises RecordingError inside of a compiled step."""
        refuse(f"step() of {type(self).__name__}")
        self.last_epoch += 1
        self._set(self.get_lr())

    def state_dict(self) -> dict[str, Any]:
        """All attributes but the optimizer and functions."""
        return {name: value for name, value in self.__dict__.items() if name not in self._not_saved}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Takes over what ``state_dict`` returned, also PyTorch's. The rates are the optimizer's: load its, too."""
        self.__dict__.update((name, value) for name, value in state_dict.items() if name not in self._not_saved)

    def _set(self, rates: Sequence[float]) -> None:
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            if isinstance(group["lr"], Tensor):
                group["lr"].detach().fill_(rate)
            else:
                group["lr"] = rate
        self._last_lr = _rates(self.optimizer)

    def _restart(self) -> None:
        """Begins again from the initial rates."""
        self._set(self.base_lrs)
        self.last_epoch = -1
        self.step()


class LambdaLR(LRScheduler):
    """The initial rate times ``lr_lambda(last_epoch)``: one function, or a list with one for each group."""

    _not_saved = ("optimizer", "lr_lambdas")

    def __init__(
        self,
        optimizer: Optimizer,
        lr_lambda: Callable[[int], float] | Sequence[Callable[[int], float]],
        last_epoch: int = -1,
    ) -> None:
        groups = len(optimizer.param_groups)
        self.lr_lambdas = [lr_lambda] * groups if callable(lr_lambda) else list(lr_lambda)
        if len(self.lr_lambdas) != groups:
            raise ValueError(f"Expected {groups} lr_lambdas, but got {len(self.lr_lambdas)}")
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        return [base * f(self.last_epoch) for base, f in zip(self.base_lrs, self.lr_lambdas, strict=True)]


class _FactorLR(LRScheduler):
    """The present rate times a factor that is equal for all groups."""

    def factor_now(self) -> float:
        raise NotImplementedError

    def get_lr(self) -> list[float]:
        factor = self.factor_now()
        return [lr * factor for lr in _rates(self.optimizer)]


class StepLR(_FactorLR):
    """Times ``gamma`` every ``step_size`` epochs."""

    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1, last_epoch: int = -1) -> None:
        self.step_size, self.gamma = step_size, gamma
        super().__init__(optimizer, last_epoch)

    def factor_now(self) -> float:
        return self.gamma if self.last_epoch > 0 and self.last_epoch % self.step_size == 0 else 1.0


class MultiStepLR(_FactorLR):
    """Times ``gamma`` at each of the ``milestones``; at one that is there twice, twice."""

    def __init__(
        self, optimizer: Optimizer, milestones: Iterable[int], gamma: float = 0.1, last_epoch: int = -1
    ) -> None:
        self.milestones, self.gamma = Counter(milestones), gamma
        super().__init__(optimizer, last_epoch)

    def factor_now(self) -> float:
        return float(self.gamma ** self.milestones[self.last_epoch])


class ExponentialLR(_FactorLR):
    """Times ``gamma`` every epoch."""

    def __init__(self, optimizer: Optimizer, gamma: float, last_epoch: int = -1) -> None:
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def factor_now(self) -> float:
        return self.gamma if self._begun and self.last_epoch > 0 else 1.0


class ConstantLR(_FactorLR):
    """Times ``factor``, from 0 to 1, until epoch ``total_iters``."""

    def __init__(
        self, optimizer: Optimizer, factor: float = 1.0 / 3, total_iters: int = 5, last_epoch: int = -1
    ) -> None:
        if not 0 <= factor <= 1:
            raise ValueError("Constant multiplicative factor expected to be between 0 and 1.")
        self.factor, self.total_iters = factor, total_iters
        super().__init__(optimizer, last_epoch)

    def factor_now(self) -> float:
        if self.last_epoch == 0:
            return self.factor
        return 1.0 / self.factor if self.last_epoch == self.total_iters else 1.0


class LinearLR(_FactorLR):
    """Times a factor that goes from ``start_factor`` to ``end_factor`` in ``total_iters`` epochs: a warm-up."""

    def __init__(
        self,
        optimizer: Optimizer,
        start_factor: float = 1.0 / 3,
        end_factor: float = 1.0,
        total_iters: int = 5,
        last_epoch: int = -1,
    ) -> None:
        if not 0 < start_factor <= 1:
            raise ValueError("Starting multiplicative factor expected to be greater than 0 and less or equal to 1.")
        if not 0 <= end_factor <= 1:
            raise ValueError("Ending multiplicative factor expected to be between 0 and 1.")
        self.start_factor, self.end_factor, self.total_iters = start_factor, end_factor, total_iters
        super().__init__(optimizer, last_epoch)

    def factor_now(self) -> float:
        if self.last_epoch == 0:
            return self.start_factor
        if self.last_epoch > self.total_iters or not self._begun:
            return 1.0
        slope = self.end_factor - self.start_factor
        return 1.0 + slope / (self.total_iters * self.start_factor + (self.last_epoch - 1) * slope)


class CosineAnnealingLR(LRScheduler):
    """Half a cosine from the initial rate to ``eta_min`` in ``T_max`` epochs, and back (Loshchilov and Hutter 2017)."""

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0, last_epoch: int = -1) -> None:
        self.T_max, self.eta_min = T_max, eta_min
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        now, low, end = self.last_epoch, self.eta_min, self.T_max
        rates = _rates(self.optimizer)
        if now == 0 or not self._begun:
            return rates
        if (now - 1 - end) % (2 * end) == 0:  # the rate is eta_min: there is nothing to multiply
            rise = (1 - math.cos(math.pi / end)) / 2
            return [lr + (base - low) * rise for lr, base in zip(rates, self.base_lrs, strict=True)]
        factor = (1 + math.cos(math.pi * now / end)) / (1 + math.cos(math.pi * (now - 1) / end))
        return [factor * (lr - low) + low for lr in rates]


class SequentialLR(LRScheduler):
    """One schedule after the other: the next begins, with the initial rates, at each of the ``milestones``."""

    _not_saved = ("optimizer", "_schedulers")

    def __init__(
        self, optimizer: Optimizer, schedulers: Sequence[LRScheduler], milestones: Sequence[int], last_epoch: int = -1
    ) -> None:
        if not schedulers or len(milestones) != len(schedulers) - 1:
            raise ValueError(
                f"SequentialLR expects one schedule more than milestones, but got {len(schedulers)} and "
                f"{len(milestones)}"
            )
        if any(isinstance(s, ReduceLROnPlateau) for s in schedulers):
            raise ValueError("SequentialLR takes no ReduceLROnPlateau: its step() wants a metric")
        if any(s.optimizer is not optimizer for s in schedulers):
            raise ValueError("SequentialLR expects all schedulers to belong to the same optimizer")
        self.optimizer, self.last_epoch = optimizer, last_epoch + 1
        self._schedulers, self._milestones = list(schedulers), list(milestones)
        self._schedulers[0]._restart()  # the others have set their first rates, too
        self._last_lr = self._schedulers[0].get_last_lr()

    def step(self) -> None:
        refuse("step() of SequentialLR")
        self.last_epoch += 1
        now = bisect.bisect_right(self._milestones, self.last_epoch)
        scheduler = self._schedulers[now]
        if now > 0 and self._milestones[now - 1] == self.last_epoch:
            scheduler._restart()
        else:
            scheduler.step()
        self._last_lr = scheduler.get_last_lr()

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "_schedulers": [s.state_dict() for s in self._schedulers]}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        for scheduler, state in zip(self._schedulers, state_dict["_schedulers"], strict=True):
            scheduler.load_state_dict(state)
        super().load_state_dict(state_dict)


class ReduceLROnPlateau(LRScheduler):
    """Times ``factor`` when a metric has not become better for more than ``patience`` epochs; ``step(metric)``.

    Better is below the best value so far (``mode="min"``) or above it (``"max"``) by more than ``threshold``, of that
    value (``threshold_mode="rel"``) or in itself (``"abs"``). For ``cooldown`` epochs after a reduction nothing counts
    as bad. Rates stay at ``min_lr`` or above, and as they are where they would change by ``eps`` or less.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        mode: str = "min",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: str = "rel",
        cooldown: int = 0,
        min_lr: float | Sequence[float] = 0,
        eps: float = 1e-8,
    ) -> None:
        if factor >= 1.0:
            raise ValueError("Factor should be < 1.0.")
        if mode not in ("min", "max"):
            raise ValueError(f"mode {mode} is unknown!")
        if threshold_mode not in ("rel", "abs"):
            raise ValueError(f"threshold mode {threshold_mode} is unknown!")
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"{type(optimizer).__name__} is not an Optimizer")
        groups = len(optimizer.param_groups)
        self.min_lrs = [float(min_lr)] * groups if isinstance(min_lr, (int, float)) else list(min_lr)
        if len(self.min_lrs) != groups:
            raise ValueError(f"expected {groups} min_lrs, got {len(self.min_lrs)}")
        self.optimizer, self.factor, self.patience, self.cooldown, self.eps = optimizer, factor, patience, cooldown, eps
        self.mode, self.threshold, self.threshold_mode = mode, threshold, threshold_mode
        self.best = math.inf if mode == "min" else -math.inf
        self.num_bad_epochs = self.cooldown_counter = self.last_epoch = 0
        self._last_lr = _rates(optimizer)

    def step(self, metrics: float | Tensor) -> None:  # type: ignore[override]
        """Goes to the next epoch, at whose end the metric was ``metrics``, a number or a tensor of one element."""
        refuse("step() of ReduceLROnPlateau")
        value = float(metrics)
        self.last_epoch += 1
        better = self._is_better(value)
        if better:
            self.best = value
        self.num_bad_epochs = 0 if better else self.num_bad_epochs + 1
        if self.cooldown_counter > 0:
            self.cooldown_counter -= 1
            self.num_bad_epochs = 0
        if self.num_bad_epochs > self.patience:
            wanted = [max(lr * self.factor, low) for lr, low in zip(_rates(self.optimizer), self.min_lrs, strict=True)]
            now = _rates(self.optimizer)
            self._set([new if lr - new > self.eps else lr for lr, new in zip(now, wanted, strict=True)])
            self.cooldown_counter, self.num_bad_epochs = self.cooldown, 0
        self._last_lr = _rates(self.optimizer)

    def _is_better(self, value: float) -> bool:
        sign = -1 if self.mode == "min" else 1
        margin = self.threshold * self.best if self.threshold_mode == "rel" else self.threshold
        if not math.isfinite(self.best):  # an infinite best has no margin
            margin = 0.0
        return sign * value > sign * (self.best + sign * margin)


def _rates(optimizer: Optimizer) -> list[float]:
    return [number(group["lr"]) for group in optimizer.param_groups]
