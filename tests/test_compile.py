"""compile: a replayed step gives the eager step's bits, notices what changed, and refuses what it can't replay."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import chainrule
from chainrule import _core, nn, optim
from chainrule.nn import functional as F

Step = Callable[..., Any]
RecordingError = _core.RecordingError


@pytest.fixture(params=[1, 2])
def team(request: pytest.FixtureRequest) -> Iterator[int]:
    before = _core.get_num_threads()
    _core.set_num_threads(request.param)
    _core.set_serial_cost(0 if request.param > 1 else -1)
    yield request.param
    _core.set_serial_cost(-1)
    _core.set_num_threads(before)


class Tokens(nn.Module):
    """Embedding, attention by hand, layer norm: a small transformer."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.places = nn.Embedding(11, 16), nn.Embedding(6, 16)
        self.qkv, self.out = nn.Linear(16, 48), nn.Linear(16, 16)
        self.norm, self.head = nn.LayerNorm(16), nn.Linear(16, 11)
        self.drop = nn.Dropout(0.2)

    def forward(self, x: Any) -> Any:
        h = self.table(x) + self.places.weight
        q, k, v = self.qkv(self.norm(h)).chunk(3, -1)
        weights = F.softmax(q @ k.transpose(-1, -2) * 0.25, -1)
        h = h + self.drop(self.out(weights @ v))
        return self.head(F.gelu(h)).transpose(1, 2)


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(17, 32), nn.Tanh(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 5))


def conv() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Dropout(0.3),
        nn.Flatten(),
        nn.Linear(64, 5),
    )


def sparse() -> nn.Module:
    return nn.Sequential(nn.Embedding(20, 8), nn.Flatten(), nn.Linear(24, 5))


NETS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], int, tuple[int, ...]]] = {
    "mlp": (mlp, (12, 17), 0, (12,)),
    "conv": (conv, (6, 1, 8, 8), 0, (6,)),
    "embedding": (sparse, (9, 3), 20, (9,)),
    "transformer": (Tokens, (4, 6), 11, (4, 6)),
}
OPTIMIZERS: dict[str, Callable[[Any], Any]] = {
    "sgd": lambda p: optim.SGD(p, lr=0.1),
    "momentum": lambda p: optim.SGD(p, lr=0.05, momentum=0.9, nesterov=True, weight_decay=1e-3),
    "adam": lambda p: optim.Adam(p, lr=1e-2),
    "amsgrad": lambda p: optim.Adam(p, lr=1e-2, amsgrad=True),
    "adamw": lambda p: optim.AdamW(p, lr=1e-2),
}


def batches(net: str, count: int) -> list[tuple[Any, Any]]:
    _, shape, kinds, labels = NETS[net]
    rng = np.random.default_rng(3)
    made = []
    for _ in range(count):
        x = rng.integers(0, kinds, shape) if kinds else rng.standard_normal(shape).astype(np.float32)
        made.append((chainrule.from_numpy(x), chainrule.from_numpy(rng.integers(0, 5, labels))))
    return made


def trainer(net: str, optimizer: str, clip: str = "norm") -> tuple[nn.Module, Any, Step]:
    chainrule.manual_seed(7)
    model = NETS[net][0]()
    opt = OPTIMIZERS[optimizer](model.parameters())

    def step(x: Any, y: Any) -> Any:
        opt.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        if clip == "norm":
            nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        elif clip == "value":
            nn.utils.clip_grad_value_(model.parameters(), 0.01)
        opt.step()
        return loss

    return model, opt, step


def everything(model: nn.Module) -> list[np.ndarray]:
    found = [t.numpy(force=True).copy() for t in model.state_dict().values()]
    return found + [p.grad.numpy().copy() for p in model.parameters() if p.grad is not None]


def assert_same(a: nn.Module, b: nn.Module) -> None:
    for x, y in zip(everything(a), everything(b), strict=True):
        np.testing.assert_array_equal(x, y)


def run(step: Step, data: list[tuple[Any, Any]]) -> list[float]:
    chainrule.manual_seed(5)
    return [step(x, y).item() for x, y in data]


def both_ways(net: str, optimizer: str, train: Callable[[Any, Any, Step], Any]) -> Any:
    """Runs ``train(model, optimizer, step)`` with the eager step and with the compiled one, which is returned.

    Both must end with the same results, parameters, buffers and gradients.
    """
    a, opt, eager = trainer(net, optimizer)
    chainrule.manual_seed(1)
    expected = train(a, opt, eager)
    b, opt, plain = trainer(net, optimizer)
    step = chainrule.compile(plain)
    chainrule.manual_seed(1)
    assert train(b, opt, step) == expected
    assert_same(a, b)
    return step


@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_replays_have_the_eager_bits(net: str, optimizer: str, team: int) -> None:
    data = batches(net, 20)
    a, _, eager = trainer(net, optimizer)
    losses = run(eager, data)
    b, _, plain = trainer(net, optimizer)
    step = chainrule.compile(plain)
    assert run(step, data) == losses
    assert_same(a, b)
    assert step.memory()["recordings"] == 1


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("clip", ["none", "norm", "value"])
def test_every_optimizer_and_clipping(optimizer: str, clip: str) -> None:
    data = batches("mlp", 15)
    a, oa, eager = trainer("mlp", optimizer, clip)
    b, ob, plain = trainer("mlp", optimizer, clip)
    step = chainrule.compile(plain)
    assert run(step, data) == run(eager, data)
    assert_same(a, b)
    for p, q in zip(a.parameters(), b.parameters(), strict=True):
        for name, value in oa.state[p].items():
            np.testing.assert_array_equal(value.numpy(), ob.state[q][name].numpy())


def test_the_learning_rate_of_the_day() -> None:
    def train(model: Any, opt: Any, step: Step) -> None:
        for i, (x, y) in enumerate(batches("mlp", 12)):
            opt.param_groups[0]["lr"] = 0.01 / (i + 1)
            opt.param_groups[0]["betas"] = (0.9 - 0.01 * i, 0.99)
            step(x, y)

    assert both_ways("mlp", "adamw", train).memory()["recordings"] == 1


def test_a_learning_rate_in_a_tensor_is_read_each_time() -> None:
    def train(model: Any, opt: Any, step: Step) -> None:
        rate = opt.param_groups[0]["lr"] = chainrule.tensor(0.1)
        for x, y in batches("mlp", 6):
            rate.mul_(0.5)
            step(x, y)

    assert both_ways("mlp", "sgd", train).memory()["recordings"] == 1


def test_a_bad_learning_rate_is_refused_as_in_eager() -> None:
    _, opt, plain = trainer("mlp", "sgd")
    step = chainrule.compile(plain)
    ((x, y),) = batches("mlp", 1)
    step(x, y)
    opt.param_groups[0]["lr"] = float("nan")
    with pytest.raises(ValueError, match="lr"):
        step(x, y)
    opt.param_groups[0]["lr"] = 0.1
    step(x, y)


def test_structural_options_record_again() -> None:
    def train(model: Any, opt: Any, step: Step) -> None:
        for i, (x, y) in enumerate(batches("mlp", 6)):
            opt.param_groups[0]["momentum"] = 0.9 if i >= 3 else 0
            step(x, y)

    assert both_ways("mlp", "sgd", train).memory()["recordings"] == 2


def test_train_and_eval_are_two_recordings() -> None:
    def train(model: Any, opt: Any, step: Step) -> list[float]:
        losses = []
        for i, (x, y) in enumerate(batches("conv", 8)):
            model.train(i % 3 != 1)
            losses.append(step(x, y).item())
        return losses

    assert both_ways("conv", "adamw", train).memory()["recordings"] == 2


def test_gradients_accumulate_over_calls() -> None:
    data = batches("mlp", 9)
    found = []
    for compiled in (False, True):
        chainrule.manual_seed(7)
        model = mlp()
        opt = optim.SGD(model.parameters(), lr=0.1)

        def add(x: Any, y: Any, model: Any = model) -> Any:
            loss = F.cross_entropy(model(x), y) / 3
            loss.backward()
            return loss

        step = chainrule.compile(add) if compiled else add
        for i, (x, y) in enumerate(data):
            step(x, y)
            if i % 3 == 2:
                opt.step()
                opt.zero_grad()
        found.append(model)
    assert_same(*found)
    assert step.memory()["recordings"] == 2  # without a gradient, and with the one that the first leaves


def test_shapes_and_dtypes_and_options_are_the_signature() -> None:
    @chainrule.compile
    def double(x: Any, times: int, *, shift: float = 0.0) -> Any:
        return {"y": x * times + shift, "n": times, "pair": (x + x, [x * 1])}

    for shape, dtype, times in [((3,), "f4", 2), ((3,), "f8", 2), ((2, 3), "f4", 2), ((3,), "f4", 5)]:
        for _ in range(3):
            x = np.random.default_rng(0).standard_normal(shape).astype(dtype)
            out = double(chainrule.from_numpy(x), times, shift=1.5)
            np.testing.assert_array_equal(out["y"].numpy(), x * np.asarray(times, dtype) + np.asarray(1.5, dtype))
            np.testing.assert_array_equal(out["pair"][1][0].numpy(), x)
            assert out["n"] == times
    assert double.memory()["recordings"] == 4


def test_inputs_of_any_layout() -> None:
    step = chainrule.compile(lambda x: x * 2)
    base = np.arange(12, dtype=np.float32).reshape(3, 4)
    for x in (base, base.T.copy().T, np.ascontiguousarray(base[::-1])[::-1], np.asfortranarray(base)):
        y = step(chainrule.from_numpy(x)).numpy()
        np.testing.assert_array_equal(y, base * 2)
        assert y.strides == (x * 2).strides or x.strides[0] < 0
    assert step.memory()["recordings"] == 2  # one for either order of the dimensions


def test_results_are_fresh() -> None:
    step = chainrule.compile(lambda x: x + 1)
    results = [step(chainrule.tensor([float(i)])) for i in range(5)]
    assert [r.item() for r in results] == [1, 2, 3, 4, 5]


def test_grad_mode_and_no_grad() -> None:
    w = nn.Parameter(chainrule.ones(3))

    @chainrule.compile
    def forward(x: Any) -> Any:
        return (w * x).sum()

    x = chainrule.ones(3)
    assert forward(x).item() == 3
    with chainrule.no_grad():
        assert forward(x).item() == 3
    assert forward.memory()["recordings"] == 2


def test_a_replaced_layer_or_parameter_is_noticed() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))
    step = chainrule.compile(lambda x: model(x))
    x = chainrule.ones(1, 2)
    for change in (
        lambda: None,
        lambda: model.__setitem__(1, nn.Linear(2, 1)),
        lambda: setattr(model[0], "weight", nn.Parameter(chainrule.ones(2, 2))),
        lambda: setattr(model[0].weight, "data", chainrule.zeros(2, 2)),
        lambda: model.append(nn.Tanh()),
        lambda: setattr(model, "forward", lambda x: x),
    ):
        change()
        step(x)
        assert step(x).numpy() == pytest.approx(model(x).detach().numpy())


def test_freezing_a_layer() -> None:
    def train(model: Any, opt: Any, step: Step) -> None:
        for i, (x, y) in enumerate(batches("mlp", 6)):
            for p in model[0].parameters():
                p.requires_grad_(i < 3)
            step(x, y)

    both_ways("mlp", "sgd", train)


def test_in_place_parameter_changes_between_calls_are_seen() -> None:
    w = nn.Parameter(chainrule.ones(3))
    step = chainrule.compile(lambda x: (w * x).sum())
    for k in range(4):
        with chainrule.no_grad():
            w.fill_(k)
        assert step(chainrule.ones(3)).item() == 3 * k


def test_loading_state_dicts() -> None:
    def train(model: Any, opt: Any, step: Step) -> None:
        for i, (x, y) in enumerate(batches("mlp", 6)):
            if i == 2:
                saved = {k: v.clone() for k, v in model.state_dict().items()}, opt.state_dict()
            if i == 4:
                model.load_state_dict(saved[0])
                opt.load_state_dict(saved[1])
            step(x, y)

    both_ways("mlp", "adam", train)


def test_bad_labels_are_refused_before_anything_changes() -> None:
    model, _, plain = trainer("conv", "adamw")
    step = chainrule.compile(plain)
    ((x, y),) = batches("conv", 1)
    step(x, y)
    before = everything(model)
    bad = y.clone()
    bad[2] = 7
    with pytest.raises(ValueError, match="cross_entropy: argument 'target' is holding the label 7"):
        step(x, bad)
    for a, b in zip(before, everything(model), strict=True):
        np.testing.assert_array_equal(a, b)
    step(x, y)


def test_bad_indices_are_refused() -> None:
    _, _, plain = trainer("embedding", "sgd")
    step = chainrule.compile(plain)
    ((x, y),) = batches("embedding", 1)
    step(x, y)
    x[0, 0] = 20
    with pytest.raises(ValueError, match="embedding: argument 'index' is holding 20"):
        step(x, y)


def test_random_numbers_follow_the_generator() -> None:
    def noise(x: Any) -> Any:
        return F.dropout(x, 0.5) + chainrule.rand(4) + chainrule.randn(4), chainrule.randperm(9), chainrule.rand(2)

    step = chainrule.compile(noise)
    x = chainrule.ones(4)
    for seed in (1, 2):
        chainrule.manual_seed(seed)
        expected = [[t.numpy().copy() for t in noise(x)] for _ in range(4)]
        chainrule.manual_seed(seed)
        for row in expected:
            for a, b in zip(row, step(x), strict=True):
                np.testing.assert_array_equal(a, b.numpy())


def refused(line: str, body: Callable[[Any], Any], match: str) -> None:
    step = chainrule.compile(body)
    with pytest.raises(RecordingError, match=match) as caught:
        step(chainrule.ones(3))
    assert line in str(caught.value)
    assert "test_compile.py" in str(caught.value)
    assert not _core.is_recording()
    assert "_array" not in vars(chainrule.Tensor)


def test_what_cannot_be_recorded_names_the_line() -> None:
    kept: list[Any] = []
    constant = np.ones(3, np.float32)
    refused("x.sum().item()", lambda x: x * x.sum().item(), "item")
    refused("float(x[0])", lambda x: x * float(x[0]), "item|value")
    refused("if x[0] > 0", lambda x: x if x[0] > 0 else -x, "bool|value")
    refused("x.numpy()", lambda x: chainrule.from_numpy(np.tanh(x.numpy())), "numpy")
    refused("np.asarray(x)", lambda x: chainrule.from_numpy(np.asarray(x)), "array")
    refused("x.tolist()", lambda x: chainrule.tensor(x.tolist()), "tolist")
    refused("nn.Parameter(x)", lambda x: nn.Parameter(x), "Parameter")
    refused("nn.Linear(3, 3)", lambda x: nn.Linear(3, 3)(x), "Module")
    refused("chainrule.nonzero(x)", lambda x: chainrule.nonzero(x), "nonzero|NumPy")
    refused("x[x > 0]", lambda x: x[x > 0], "NumPy|shape")
    refused("from_numpy(constant)", lambda x: x + chainrule.from_numpy(constant), "NumPy array")
    with pytest.raises(RecordingError, match="keeps a tensor"):
        chainrule.compile(lambda x: kept.append(x + 1))(chainrule.ones(3))


def test_repr_while_recording_shows_no_value() -> None:
    seen = []

    @chainrule.compile
    def step(x: Any) -> Any:
        y = x * 2
        seen.append(repr(y))
        return y

    step(chainrule.ones(2))
    assert "recorded" in seen[0]


def test_an_exception_in_the_step_leaves_nothing_behind() -> None:
    w = nn.Parameter(chainrule.ones(3))

    @chainrule.compile
    def step(x: Any, fail: bool) -> Any:
        loss = (w * x).sum()
        loss.backward()
        if fail:
            raise KeyError("mine")
        return loss

    with pytest.raises(KeyError, match="mine"):
        step(chainrule.ones(3), True)
    assert not _core.is_recording()
    assert "_array" not in vars(chainrule.Tensor)
    assert step(chainrule.ones(3), False).item() == 3


def test_the_tape_is_freed() -> None:
    alive: list[Any] = []

    class Square(chainrule.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            alive.append(weakref.ref(ctx))
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        def backward(ctx: Any, dy: Any) -> Any:
            return 2 * ctx.saved_tensors[0] * dy

    w = nn.Parameter(chainrule.ones(3))

    @chainrule.compile
    def step(x: Any) -> Any:
        return Square.apply(w * x).sum()  # no backward: the graph is dropped

    step(chainrule.ones(3))
    assert alive[0]() is None


def test_a_recording_outlives_its_model_and_a_model_its_recording() -> None:
    def build() -> tuple[Any, Any]:
        model, _, plain = trainer("mlp", "adam")
        step = chainrule.compile(plain)
        step(*batches("mlp", 1)[0])
        return step, model

    step, model = build()
    recording = step._steps[0]
    parameters = list(model.parameters())
    del step, model
    gc.collect()
    ((x, y),) = batches("mlp", 1)
    before = parameters[0].numpy(force=True).copy()
    assert _core.replay([recording], (x, y), {}) is not _core.MISSING
    assert not np.array_equal(before, parameters[0].numpy(force=True))
    gradient = parameters[0].grad
    del recording
    gc.collect()
    held = gradient.numpy().copy()
    _ = [chainrule.zeros(1000) for _ in range(100)]
    np.testing.assert_array_equal(held, gradient.numpy())


def test_least_recently_used_recordings_go_and_thrashing_warns() -> None:
    step = chainrule.compile(lambda x: x + 1, cache_size=2)
    for n in (1, 2, 1, 1, 2):
        step(chainrule.ones(n))
    assert step.memory()["recordings"] == 2
    with pytest.warns(RuntimeWarning, match="recorded 2 times"):
        step(chainrule.ones(3))
    with pytest.raises(ValueError, match="cache_size"):
        chainrule.compile(lambda x: x, cache_size=0)


def test_two_threads_record_at_once() -> None:
    results: dict[int, list[float]] = {}
    data = batches("mlp", 10)
    expected = run(trainer("mlp", "adam")[2], data)
    made = [chainrule.compile(trainer("mlp", "adam")[2]) for _ in range(4)]
    start = threading.Barrier(4)

    def work(i: int) -> None:
        start.wait()
        results[i] = [made[i](x, y).item() for x, y in data]

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert all(results[i] == expected for i in range(4))
    assert "_array" not in vars(chainrule.Tensor)


def test_eager_work_in_another_thread_is_not_recorded() -> None:
    go, done = threading.Event(), threading.Event()
    found: list[float] = []

    def other() -> None:
        go.wait()
        found.append((chainrule.ones(3) * 2).sum().item())
        done.set()

    thread = threading.Thread(target=other)
    thread.start()

    @chainrule.compile
    def step(x: Any) -> Any:
        y = x + 1
        go.set()
        done.wait()
        return y * 2

    step(chainrule.ones(3))
    thread.join()
    assert found == [6.0]
    assert "sum" not in step.describe()


def test_compiled_steps_nest() -> None:
    inner = chainrule.compile(lambda x: x * 3)
    outer = chainrule.compile(lambda x: inner(x) + 1)
    for k in range(3):
        assert outer(chainrule.tensor([float(k)])).item() == 3 * k + 1
    assert inner.memory()["recordings"] == 0


def test_memory_does_not_grow_and_nothing_comes_from_the_system() -> None:
    _, _, plain = trainer("mlp", "adam")
    step = chainrule.compile(plain)
    ((x, y),) = batches("mlp", 1)
    for _ in range(20):
        step(x, y)
    gc.collect()
    before = _core.memory_stats()
    for _ in range(10_000):
        step(x, y)
    after = _core.memory_stats()
    assert after["reserved_bytes"] == before["reserved_bytes"]
    assert after["allocated_bytes"] == before["allocated_bytes"]
    assert after["allocations"] - before["allocations"] == after["reuses"] - before["reuses"]


def test_describe_and_memory() -> None:
    _, _, plain = trainer("mlp", "adam")
    step = chainrule.compile(plain)
    assert "not recorded" in step.describe()
    step(*batches("mlp", 1)[0])
    text = step.describe()
    for name in ("linear", "cross_entropy", "linear_backward", "clip_grad_norm", "adam", "m=12 n=32 k=17"):
        assert name in text
    assert step.memory()["arena"] > 0
    assert "step" in repr(step)


def test_as_a_method() -> None:
    class Trainer:
        def __init__(self, k: float) -> None:
            self.w = nn.Parameter(chainrule.ones(2) * k)

        @chainrule.compile
        def step(self, x: Any) -> Any:
            return (self.w * x).sum()

    a, b = Trainer(1), Trainer(2)
    for _ in range(3):
        assert (a.step(chainrule.ones(2)).item(), b.step(chainrule.ones(2)).item()) == (2, 4)
