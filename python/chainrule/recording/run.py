"""Training over arrays in memory: the method ``run`` of a compiled step, whose loop over the batches is C++."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from chainrule import _core, formats
from chainrule.optim import Optimizer
from chainrule.random import Generator
from chainrule.recording.state import refuse
from chainrule.tensor import Tensor, wrap
from chainrule.utils.data import RandomSampler, SequentialSampler

if TYPE_CHECKING:
    from chainrule.recording.step import CompiledStep

__all__ = ["Progress", "run"]

Array = np.ndarray[Any, Any]
_SLICE = 0.05  # seconds without Python: Ctrl-C and progress wait for its end


@dataclass(frozen=True)
class Progress:
    """Where a run is. Epochs and steps are counted from 1; ``loss`` is the mean of this epoch's steps so far."""

    epoch: int
    epochs: int
    step: int  # of the whole run
    steps: int
    loss: float
    seconds: float  # since the run began
    epoch_done: bool


class _Rates:
    """The learning rates of an optimizer's groups: what they were, times a factor per step."""

    def __init__(self, optimizer: Optimizer | None, lr_lambda: Callable[[int], float] | None, steps: int) -> None:
        if (optimizer is None) != (lr_lambda is None):
            raise ValueError("run: arguments 'optimizer' and 'lr_lambda' belong together")
        self.base: list[tuple[dict[str, Any], float]] = []
        self.factors = np.empty(0)
        if optimizer is None or lr_lambda is None:
            return
        for group in optimizer.param_groups:
            if isinstance(group["lr"], Tensor):
                raise TypeError("run: argument 'lr_lambda' needs learning rates that are numbers, got a tensor")
            self.base.append((group, float(group["lr"])))
        self.factors = np.array([lr_lambda(i) for i in range(steps)], np.float64).reshape(steps)

    def set(self, step: int) -> None:
        for group, lr in self.base:
            group["lr"] = lr * float(self.factors[step])


def _whole_rows(array: Array) -> Array:
    """The array, or a copy whose rows lie together: channels_last images stay so."""
    if formats.format_of(array) is not formats.channels_last:
        return np.ascontiguousarray(array)
    return array if formats.is_contiguous(array, formats.channels_last) else formats.copy(array, formats.channels_last)


class _Data:
    """The arguments: arrays of the same length."""

    def __init__(self, given: tuple[Any, ...]) -> None:
        for i, x in enumerate(given):
            if not isinstance(x, (Tensor, np.ndarray)):
                raise TypeError(f"run: argument {i} is {type(x).__name__}, want tensors or arrays")
            if isinstance(x, Tensor) and x.requires_grad:
                raise ValueError(f"run: argument {i} requires a gradient; detach() it")
            if x.ndim == 0:
                raise ValueError(f"run: argument {i} has no dimension to take batches from")
        sizes = sorted({x.shape[0] for x in given})
        if len(sizes) != 1 or sizes[0] == 0:
            raise ValueError(f"run: arguments have {sizes} rows, want as many each, and one or more")
        self.size = int(sizes[0])
        self._arrays = [_whole_rows(x._array if isinstance(x, Tensor) else x) for x in given]
        self._is_tensor = [isinstance(x, Tensor) for x in given]
        self.whole = self._wrapped(self._arrays)

    def _wrapped(self, arrays: list[Array]) -> tuple[Any, ...]:
        return tuple([wrap(a) if tensor else a for a, tensor in zip(arrays, self._is_tensor, strict=True)])

    def rows(self, index: Array | slice) -> tuple[Any, ...]:
        if isinstance(index, slice):
            return self._wrapped([a[index] for a in self._arrays])
        return self._wrapped([_core.gather_rows(a, index) for a in self._arrays])  # which keeps their format


def run(
    step: CompiledStep,
    *arrays: Any,
    batch_size: int,
    epochs: int = 1,
    shuffle: bool = True,
    drop_last: bool = False,
    generator: Generator | None = None,
    optimizer: Optimizer | None = None,
    lr_lambda: Callable[[int], float] | None = None,
    callback: Callable[[Progress], Any] | None = None,
    report_every: float | None = None,
) -> Array:
    """Trains over arrays in memory: calls the step on batch after batch, without Python between them.

    ``arrays``: tensors or NumPy arrays with the samples along the first dimension; the step gets ``batch_size``
    rows of each. The bits are those of a loop over ``DataLoader(TensorDataset(*arrays), batch_size, shuffle,
    drop_last=drop_last, generator=generator)`` that calls the step. A last, smaller batch is a recording of its
    own.

    ``lr_lambda(i)`` is what the learning rates of ``optimizer``'s groups are multiplied with in step i of this run,
    from 0, as in ``torch.optim.lr_scheduler.LambdaLR``; it is asked for all steps before the first. The groups'
    ``lr`` is afterwards what the last step used.

    ``callback(progress)`` is called after each epoch, and every ``report_every`` seconds where that is given, with
    a :class:`Progress`; it may change options and modes, and ends the run by returning True. Ctrl-C ends it too,
    within 0.1 seconds or when the present step is done: parameters are then as that step left them.

    Returns the steps' losses (float64): the first floating-point tensor of one element in the step's result, NaN
    where there is none. Raises ValueError for arrays of different lengths.
    """
    refuse("run of a compiled step")
    for name, value in (("batch_size", batch_size), ("epochs", epochs)):
        if value < 1:
            raise ValueError(f"run: argument {name!r} is {value}, want 1 or more")
    data = _Data(arrays)
    sampler = RandomSampler(range(data.size), generator=generator) if shuffle else SequentialSampler(range(data.size))
    full, rest = divmod(data.size, batch_size)
    per_epoch = full + (rest > 0 and not drop_last)
    if per_epoch == 0:
        raise ValueError(f"run: {data.size} rows make no batch of {batch_size}")
    losses = np.full(per_epoch * epochs, np.nan)
    rates = _Rates(optimizer, lr_lambda, len(losses))
    start = reported = time.perf_counter()
    core: Any = None  # the recording of full batches
    example = data.rows(slice(batch_size))
    for epoch in range(epochs):
        order = sampler.order()
        first, at = epoch * per_epoch, 0
        while at < per_epoch:
            if core is None or at >= full or not core.matches(example):
                if rates.base:
                    rates.set(first + at)
                batch = data.rows(order[at * batch_size : (at + 1) * batch_size])
                _note(step(*batch), losses, first + at)
                at += 1
                core = step.latest() if at <= full else core
            else:
                places = slice(first + at, first + full)
                rows = order[at * batch_size : full * batch_size]
                factors = rates.factors[places] if rates.base else rates.factors
                at += core.run(data.whole, rows, factors, rates.base, losses[places], _SLICE)
                if rates.base:
                    rates.set(first + at - 1)
            now = time.perf_counter()
            epoch_done = at == per_epoch
            if callback and (epoch_done or (report_every is not None and now - reported >= report_every)):
                reported = now
                done = first + at
                mean = float(np.mean(losses[first:done]))
                if callback(Progress(epoch + 1, epochs, done, len(losses), mean, now - start, epoch_done)):
                    return losses[:done]
    return losses


def _note(result: Any, losses: Array, at: int) -> None:
    """The loss that an ordinary call returned: the first floating-point tensor of one element."""
    if isinstance(result, Tensor):
        if result.numel() == 1 and result.is_floating_point():
            losses[at] = float(result.item())
        return
    parts = result.values() if isinstance(result, dict) else result if isinstance(result, (tuple, list)) else ()
    for part in parts:
        _note(part, losses, at)
        if not np.isnan(losses[at]):
            return
