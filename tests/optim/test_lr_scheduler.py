"""Schedules of the learning rate against PyTorch's, and what becomes of them in compiled steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn, optim
from chainrule.optim import lr_scheduler

EPOCHS = 30

MADE: dict[str, Callable[[Any, Any], Any]] = {
    "LambdaLR": lambda s, o: s.LambdaLR(o, lambda i: 1 / (1 + i)),
    "LambdaLR, two": lambda s, o: s.LambdaLR(o, [lambda i: 0.9**i, lambda i: 1 + i]),
    "StepLR": lambda s, o: s.StepLR(o, 4, gamma=0.5),
    "MultiStepLR": lambda s, o: s.MultiStepLR(o, [3, 3, 10], gamma=0.2),
    "ExponentialLR": lambda s, o: s.ExponentialLR(o, 0.9),
    "ConstantLR": lambda s, o: s.ConstantLR(o, 0.25, total_iters=6),
    "LinearLR": lambda s, o: s.LinearLR(o, 0.1, total_iters=7),
    "LinearLR, down": lambda s, o: s.LinearLR(o, 1.0, end_factor=0.2, total_iters=9),
    "CosineAnnealingLR": lambda s, o: s.CosineAnnealingLR(o, 8, eta_min=1e-3),
    "CosineAnnealingLR, to 0": lambda s, o: s.CosineAnnealingLR(o, EPOCHS),
    "SequentialLR": lambda s, o: s.SequentialLR(
        o, [s.LinearLR(o, 0.1, total_iters=5), s.CosineAnnealingLR(o, 10), s.StepLR(o, 3)], [5, 17]
    ),
    "two at once": lambda s, o: (s.StepLR(o, 5, gamma=0.3), s.LinearLR(o, 0.5, total_iters=8)),
}


def optimizer_of(lib: Any, lr: Any = 0.1) -> Any:
    tensors = [lib.ones(2, requires_grad=True) for _ in range(2)]
    return lib.optim.SGD([{"params": tensors[:1]}, {"params": tensors[1:], "lr": 0.02}], lr=lr)


def rates(optimizer: Any) -> list[float]:
    return [float(group["lr"]) for group in optimizer.param_groups]


def steps(lib: Any, schedules: Any, make: Callable[[Any, Any], Any], optimizer: Any = None) -> list[list[float]]:
    optimizer = optimizer or optimizer_of(lib)
    made = make(schedules, optimizer)
    found = [rates(optimizer)]
    for _ in range(EPOCHS):
        optimizer.step()
        for schedule in made if isinstance(made, tuple) else (made,):
            schedule.step()
            assert schedule.get_last_lr() == rates(optimizer) or isinstance(made, tuple)
        found.append(rates(optimizer))
    return found


@pytest.mark.parametrize("make", MADE.values(), ids=MADE)
def test_rates_are_those_of_torch(make: Callable[[Any, Any], Any]) -> None:
    torch = pytest.importorskip("torch")
    want = steps(torch, torch.optim.lr_scheduler, make)
    np.testing.assert_allclose(steps(cr, lr_scheduler, make), want, rtol=1e-12, atol=1e-18)
    assert len({tuple(r) for r in want}) > 1


RESUMED = ["LambdaLR", "StepLR", "MultiStepLR", "ExponentialLR", "CosineAnnealingLR"]


@pytest.mark.parametrize("name", RESUMED)
def test_going_on_from_an_epoch_as_torch_does(name: str) -> None:
    torch = pytest.importorskip("torch")
    found = []
    for lib, schedules in ((cr, lr_scheduler), (torch, torch.optim.lr_scheduler)):
        optimizer = optimizer_of(lib)
        for group in optimizer.param_groups:
            group["initial_lr"] = group["lr"]
        arguments = {
            "LambdaLR": (lambda i: 1 / (1 + i),),
            "StepLR": (4,),
            "MultiStepLR": ([3, 10],),
            "ExponentialLR": (0.9,),
            "CosineAnnealingLR": (8,),
        }[name]
        found.append(
            steps(lib, schedules, lambda s, o, a=arguments: getattr(s, name)(o, *a, last_epoch=6), optimizer)  # type: ignore[misc]
        )
    np.testing.assert_allclose(found[0], found[1], rtol=1e-12, atol=1e-18)


PLATEAUS: dict[str, dict[str, Any]] = {
    "min": {"patience": 2},
    "max": {"mode": "max", "patience": 1, "factor": 0.5},
    "absolute": {"threshold_mode": "abs", "threshold": 0.05, "patience": 0, "cooldown": 3},
    "floors": {"patience": 0, "min_lr": [0.03, 0.001]},
    "eps": {"patience": 0, "eps": 0.01},
}


@pytest.mark.parametrize("options", PLATEAUS.values(), ids=PLATEAUS)
def test_plateaus_are_those_of_torch(options: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch")
    text = "1 .9 .9 .95 nan .9 .89 .8 .81 .82 1.5 1.4 .79 .79 .79 .79 2 3"
    metrics = [float(x) for x in text.split()]
    found = []
    for lib, schedules in ((cr, lr_scheduler), (torch, torch.optim.lr_scheduler)):
        optimizer = optimizer_of(lib)
        schedule = schedules.ReduceLROnPlateau(optimizer, **options)
        row = []
        for metric in metrics:
            schedule.step(lib.tensor(metric))
            row.append([*rates(optimizer), schedule.num_bad_epochs, schedule.cooldown_counter, schedule.best])
        found.append(row)
    np.testing.assert_allclose(found[0], found[1], rtol=1e-7)
    assert found[0][0][:2] != found[0][-1][:2]


@pytest.mark.parametrize("name", [n for n in MADE if n != "two at once"])
def test_a_state_dict_goes_on_where_it_was(name: str) -> None:
    whole = steps(cr, lr_scheduler, MADE[name])
    optimizer = optimizer_of(cr)
    schedule = MADE[name](lr_scheduler, optimizer)
    for _ in range(11):
        schedule.step()
    saved, rates_then = schedule.state_dict(), optimizer.state_dict()
    other = optimizer_of(cr)
    again = MADE[name](lr_scheduler, other)
    other.load_state_dict(rates_then)
    again.load_state_dict(saved)
    for want in whole[12:]:
        again.step()
        assert rates(other) == want


@pytest.mark.parametrize("name", [n for n in MADE if n != "two at once"])
def test_torchs_state_dict_is_taken_over(name: str) -> None:
    torch = pytest.importorskip("torch")
    want = steps(torch, torch.optim.lr_scheduler, MADE[name])
    theirs, ours = optimizer_of(torch), optimizer_of(cr)
    schedule, again = MADE[name](torch.optim.lr_scheduler, theirs), MADE[name](lr_scheduler, ours)
    for _ in range(11):
        theirs.step()
        schedule.step()
    ours.load_state_dict(theirs.state_dict())
    again.load_state_dict(schedule.state_dict())
    for rates_then in want[12:]:
        again.step()
        np.testing.assert_allclose(rates(ours), rates_then, rtol=1e-12, atol=1e-18)


def test_a_rate_that_is_a_tensor_changes_in_place() -> None:
    lr = cr.tensor(0.1)
    optimizer = optim.SGD([cr.ones(2, requires_grad=True)], lr=lr)
    schedule = lr_scheduler.ExponentialLR(optimizer, 0.5)
    schedule.step()
    assert optimizer.param_groups[0]["lr"] is lr
    assert lr.item() == pytest.approx(0.05)
    lr_scheduler.SequentialLR(optimizer, [lr_scheduler.StepLR(optimizer, 1)], [])
    assert optimizer.param_groups[0]["lr"] is lr
    assert lr.item() == pytest.approx(0.1)


def trained(compiled: bool) -> list[np.ndarray]:
    cr.manual_seed(3)
    model = nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 1))
    optimizer = optim.AdamW(model.parameters(), lr=0.1)
    schedule = lr_scheduler.SequentialLR(
        optimizer,
        [lr_scheduler.LinearLR(optimizer, 0.1, total_iters=4), lr_scheduler.CosineAnnealingLR(optimizer, 12)],
        [4],
    )
    x, y = cr.randn(16, 5), cr.randn(16, 1)

    def step(x: cr.Tensor, y: cr.Tensor) -> cr.Tensor:
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    run = cr.compile(step) if compiled else step
    for _ in range(16):
        run(x, y)
        schedule.step()
    return [p.detach().numpy().copy() for p in model.parameters()]


def test_a_compiled_step_reads_the_rate_anew() -> None:
    for ours, eager in zip(trained(True), trained(False), strict=True):
        assert ours.tobytes() == eager.tobytes()


def test_a_schedule_inside_of_a_compiled_step_is_refused() -> None:
    w = cr.ones(2, requires_grad=True)
    schedule = lr_scheduler.StepLR(optim.SGD([w], lr=0.1), 1)

    @cr.compile
    def step(x: cr.Tensor) -> cr.Tensor:
        schedule.step()
        return x * w

    with pytest.raises(RuntimeError, match=r"step\(\) of StepLR"):
        step(cr.ones(2))
    assert schedule.last_epoch == 0


BAD: dict[str, tuple[Callable[[Any], Any], type[Exception], str]] = {
    "no optimizer": (lambda o: lr_scheduler.StepLR("sgd", 1), TypeError, "str is not an Optimizer"),  # type: ignore[arg-type]
    "no initial rate": (lambda o: lr_scheduler.StepLR(o, 1, last_epoch=3), KeyError, "initial_lr"),
    "lambdas": (lambda o: lr_scheduler.LambdaLR(o, [lambda i: 1.0]), ValueError, "Expected 2 lr_lambdas, but got 1"),
    "start factor": (lambda o: lr_scheduler.LinearLR(o, 0.0), ValueError, "Starting multiplicative factor"),
    "end factor": (lambda o: lr_scheduler.LinearLR(o, end_factor=2.0), ValueError, "Ending multiplicative factor"),
    "constant factor": (lambda o: lr_scheduler.ConstantLR(o, 1.5), ValueError, "Constant multiplicative factor"),
    "milestones": (lambda o: lr_scheduler.SequentialLR(o, [], []), ValueError, "one schedule more than milestones"),
    "another's": (
        lambda o: lr_scheduler.SequentialLR(o, [lr_scheduler.StepLR(optimizer_of(cr), 1)], []),
        ValueError,
        "same optimizer",
    ),
    "a plateau in sequence": (
        lambda o: lr_scheduler.SequentialLR(o, [lr_scheduler.ReduceLROnPlateau(o)], []),
        ValueError,
        "no ReduceLROnPlateau",
    ),
    "plateau factor": (lambda o: lr_scheduler.ReduceLROnPlateau(o, factor=1.0), ValueError, "Factor"),
    "plateau mode": (lambda o: lr_scheduler.ReduceLROnPlateau(o, mode="best"), ValueError, "mode best"),
    "threshold mode": (
        lambda o: lr_scheduler.ReduceLROnPlateau(o, threshold_mode="x"),
        ValueError,
        "threshold mode x",
    ),
    "floors": (lambda o: lr_scheduler.ReduceLROnPlateau(o, min_lr=[0.0]), ValueError, "expected 2 min_lrs, got 1"),
    "base": (lr_scheduler.LRScheduler, NotImplementedError, "defines no get_lr"),
}


@pytest.mark.parametrize(("f", "error", "message"), BAD.values(), ids=BAD)
def test_bad_arguments(f: Callable[[Any], Any], error: type[Exception], message: str) -> None:
    optimizer = optimizer_of(cr)
    before = rates(optimizer)
    with pytest.raises(error, match=message):
        f(optimizer)
    assert rates(optimizer) == before
