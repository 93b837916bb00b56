"""step.run: a loop over batches that gives the bits of the loop in Python."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest

import chainrule as cr
import chainrule.nn.functional as F
from chainrule import nn
from chainrule.utils.data import DataLoader, TensorDataset

ROWS = 103  # 25 batches of 4, and one of 3


class Training:
    """A net with dropout and batch norm, its optimizer and its step."""

    def __init__(self, optimizer: str = "AdamW", wide: int = 16) -> None:
        cr.manual_seed(0)
        self.net = nn.Sequential(
            nn.Linear(6, wide), nn.BatchNorm1d(wide), nn.ReLU(), nn.Dropout(0.2), nn.Linear(wide, 3)
        )
        self.opt = getattr(cr.optim, optimizer)(self.net.parameters(), lr=0.05)
        self.step = cr.compile(self.train)

    def train(self, x: cr.Tensor, y: cr.Tensor) -> cr.Tensor:
        self.opt.zero_grad()
        loss = F.cross_entropy(self.net(x), y)
        loss.backward()
        nn.utils.clip_grad_norm_(self.net.parameters(), 1.0)
        self.opt.step()
        return loss

    def state(self) -> list[np.ndarray]:
        own = [t.detach().numpy().copy() for t in self.net.state_dict().values()]
        return own + [t.numpy().copy() for s in self.opt.state_dict()["state"].values() for t in s.values()]


def data(rows: int = ROWS) -> tuple[cr.Tensor, cr.Tensor]:
    rng = np.random.default_rng(3)
    x = rng.standard_normal((rows, 6)).astype(np.float32)
    return cr.from_numpy(x), cr.from_numpy(rng.integers(0, 3, rows))


def same(a: list[np.ndarray], b: list[np.ndarray]) -> bool:
    return len(a) == len(b) and all(np.array_equal(p, q) for p, q in zip(a, b, strict=True))


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("optimizer", ["SGD", "Adam", "AdamW"])
@pytest.mark.parametrize(("shuffle", "drop_last"), [(True, False), (True, True), (False, False)])
def test_the_bits_of_a_loop_over_a_loader(threads: int, optimizer: str, shuffle: bool, drop_last: bool) -> None:
    x, y = data()
    before = cr.get_num_threads()
    cr.set_num_threads(threads)
    try:
        loop, run = Training(optimizer), Training(optimizer)
        cr.manual_seed(7)
        expected = []
        for _ in range(3):
            for xb, yb in DataLoader(TensorDataset(x, y), batch_size=4, shuffle=shuffle, drop_last=drop_last):
                expected.append(loop.train(xb, yb).item())
        cr.manual_seed(7)
        losses = run.step.run(x, y, batch_size=4, epochs=3, shuffle=shuffle, drop_last=drop_last)
    finally:
        cr.set_num_threads(before)
    np.testing.assert_array_equal(losses, expected)
    assert same(run.state(), loop.state())


def test_large_rows_are_gathered_by_all_threads() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((40, 50_000)).astype(np.float32)
    step = cr.compile(lambda t: (t[:, ::1000].sum(), t * 1))
    sums = step.run(cr.from_numpy(x), batch_size=8, generator=cr.Generator().manual_seed(1))
    rows = TensorDataset(cr.arange(40))
    loader = DataLoader(rows, batch_size=8, shuffle=True, generator=cr.Generator().manual_seed(1))
    order = np.concatenate([b[0].numpy() for b in loader])
    expected = [float(cr.from_numpy(x[order[i : i + 8]])[:, ::1000].sum().item()) for i in range(0, 40, 8)]
    np.testing.assert_array_equal(sums, expected)


def test_learning_rates_by_step() -> None:
    x, y = data()
    loop, run = Training(), Training()

    def factor(i: int) -> float:
        return min(1.0, (i + 1) / 10) * 0.99**i

    cr.manual_seed(7)
    expected, steps = [], 0
    for _ in range(2):
        for xb, yb in DataLoader(TensorDataset(x, y), batch_size=4, shuffle=True):
            loop.opt.param_groups[0]["lr"] = 0.05 * factor(steps)
            expected.append(loop.train(xb, yb).item())
            steps += 1
    cr.manual_seed(7)
    losses = run.step.run(x, y, batch_size=4, epochs=2, optimizer=run.opt, lr_lambda=factor)
    np.testing.assert_array_equal(losses, expected)
    assert same(run.state(), loop.state())
    assert run.opt.param_groups[0]["lr"] == 0.05 * factor(steps - 1)
    run.opt.param_groups[0]["lr"] = 0.0  # and it is read again afterwards
    weight = run.net[0].weight.detach().numpy().copy()
    run.opt.param_groups[0]["weight_decay"] = 0.0
    run.step.run(x, y, batch_size=4)
    np.testing.assert_array_equal(run.net[0].weight.detach().numpy(), weight)


def test_callback() -> None:
    x, y = data()
    training = Training()
    seen: list[Any] = []

    def callback(progress: Any) -> bool:
        seen.append(progress)
        if progress.epoch == 2:
            training.net.eval()  # recorded anew
        return bool(progress.epoch == 3)

    losses = training.step.run(x, y, batch_size=4, epochs=5, callback=callback)
    assert [(p.epoch, p.epochs, p.step, p.steps, p.epoch_done) for p in seen] == [
        (1, 5, 26, 130, True),
        (2, 5, 52, 130, True),
        (3, 5, 78, 130, True),
    ]
    assert len(losses) == 78
    for p in seen:
        assert p.loss == pytest.approx(losses[p.step - 26 : p.step].mean())
    tracked = training.net[1].num_batches_tracked
    assert tracked is not None
    assert tracked.item() == 52


def test_reports_during_an_epoch() -> None:
    x, y = data(4000)
    steps: list[int] = []
    Training().step.run(x, y, batch_size=2, callback=lambda p: steps.append(p.step), report_every=0.0)
    assert len(steps) >= 2
    assert steps == sorted(set(steps))
    assert steps[-1] == 2000


def test_the_error_of_a_bad_label_ends_the_run_where_it_is() -> None:
    x, y = data()
    loop, run = Training(), Training()
    y[61] = 3
    cr.manual_seed(7)
    for i in range(15):
        loop.train(x[4 * i : 4 * i + 4], y[4 * i : 4 * i + 4])
    cr.manual_seed(7)
    with pytest.raises(ValueError, match="label 3"):
        run.step.run(x, y, batch_size=4, shuffle=False)
    assert same(run.state()[:2], loop.state()[:2])


def test_what_a_step_returns() -> None:
    x = cr.arange(12.0).reshape(6, 2)
    np.testing.assert_array_equal(cr.compile(lambda t: None).run(x, batch_size=2), np.full(3, np.nan))
    found = cr.compile(lambda t: {"y": t * 2, "loss": t.sum()}).run(x, batch_size=2, shuffle=False)
    np.testing.assert_array_equal(found, [6, 22, 38])
    whole = cr.compile(lambda t: t.double().sum())
    np.testing.assert_array_equal(whole.run(x, batch_size=6), [66])


def test_strided_tensors_and_arrays() -> None:
    x = np.arange(24.0, dtype=np.float32).reshape(2, 12).T
    labels = np.arange(12) % 3
    step = cr.compile(lambda a, b: F.cross_entropy(cr.cat([a, a[:, :1]], 1), cr.as_tensor(b)))
    found = step.run(cr.from_numpy(x), labels[::-1], batch_size=4, shuffle=False)
    wide = np.concatenate([x, x[:, :1]], 1)
    expected = [
        F.cross_entropy(cr.from_numpy(wide[i : i + 4]), cr.from_numpy(labels[::-1][i : i + 4].copy())).item()
        for i in range(0, 12, 4)
    ]
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("arrays", "options", "error", "match"),
    [
        ((cr.ones(4, 2), cr.ones(3)), {}, ValueError, r"\[3, 4\] rows"),
        ((), {}, ValueError, "rows"),
        ((cr.ones(0, 2),), {}, ValueError, "rows"),
        ((cr.ones(()),), {}, ValueError, "no dimension"),
        (([1, 2],), {}, TypeError, "argument 0 is list"),
        ((cr.ones(4).requires_grad_(),), {}, ValueError, "requires a gradient"),
        ((cr.ones(4),), {"batch_size": 0}, ValueError, "batch_size"),
        ((cr.ones(4),), {"epochs": 0}, ValueError, "epochs"),
        ((cr.ones(4),), {"batch_size": 5, "drop_last": True}, ValueError, "no batch of 5"),
        ((cr.ones(4),), {"lr_lambda": lambda i: 1.0}, ValueError, "belong together"),
    ],
)
def test_bad_calls(arrays: Any, options: dict[str, Any], error: type[Exception], match: str) -> None:
    step = cr.compile(lambda *a: None)
    with pytest.raises(error, match=match):
        step.run(*arrays, **{"batch_size": 2, **options})


def seconds_to_interrupt(run: Callable[[], object]) -> float:
    """From SIGINT, half a second after its start, until `run` is left."""
    asked: list[float] = []

    def ask() -> None:
        asked.append(time.perf_counter())
        signal.raise_signal(signal.SIGINT)

    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    timer = threading.Timer(0.5, ask)
    try:
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            run()
        return time.perf_counter() - asked[0]
    finally:
        timer.cancel()
        signal.signal(signal.SIGINT, handler)


def test_an_interrupt_ends_it_at_a_steps_end() -> None:
    x, y = data(2000)
    training = Training(wide=64)
    training.step.run(x[:8], y[:8], batch_size=8)  # recorded, however long that takes beside other programs
    run = partial(training.step.run, x, y, batch_size=8, epochs=40_000)
    # 0.05 on a quiet machine; a host that stops the whole machine for a second is asked again
    assert any(seconds_to_interrupt(run) < 0.25 for _ in range(3))
    steps = {int(s["step"].item()) for s in training.opt.state.values()}
    assert len(steps) == 1  # every parameter has done as many steps
    tracked = training.net[1].num_batches_tracked
    assert tracked is not None
    assert steps == {tracked.item()}


@pytest.mark.slow
def test_a_million_replays_leak_nothing() -> None:
    resource = pytest.importorskip("resource")
    training = Training()
    x, y = data(4000)
    training.step.run(x, y, batch_size=4, epochs=2)
    before, used = cr.memory_stats(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    training.step.run(x, y, batch_size=4, epochs=1000)
    after = cr.memory_stats()
    assert training.net[1].num_batches_tracked.item() == 1_002_000  # type: ignore[union-attr]
    assert after["allocated_bytes"] == before["allocated_bytes"]
    assert after["allocations"] - before["allocations"] < 3000  # the orders of 1000 epochs, not the steps
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - used < 8192  # kB


def test_a_run_inside_of_a_compiled_step_is_refused() -> None:
    inner = cr.compile(lambda x: x * 2)
    with pytest.raises(cr.RecordingError, match="run of a compiled step"):
        cr.compile(lambda x: inner.run(x, batch_size=1))(cr.ones(2))
