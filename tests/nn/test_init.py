"""Initialisers: bounds, moments and distributions are those that PyTorch documents; seeds repeat them."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from chainrule import nn
from chainrule.nn import init
from chainrule.random import Generator, manual_seed
from chainrule.tensor import Tensor

Cdf = Callable[[np.ndarray], np.ndarray]


def empty(*shape: int, dtype: Any = np.float32) -> Tensor:
    return Tensor(np.full(shape, np.nan, dtype))


def uniform(bound: float) -> Cdf:
    return lambda x: np.clip((x + bound) / (2 * bound), 0, 1)


def normal(std: float) -> Cdf:
    return np.vectorize(statistics.NormalDist(0, std).cdf)


def assert_distributed(values: np.ndarray, cdf: Cdf) -> None:
    """Kolmogorov-Smirnov at a level that a right sampler fails once in 10^6 seeds (and the seed is fixed)."""
    x = np.sort(values.ravel().astype(np.float64))
    n = x.size
    p = cdf(x)
    distance = max(np.max(np.arange(1, n + 1) / n - p), np.max(p - np.arange(n) / n))
    assert distance < math.sqrt(-math.log(0.5e-6) / 2 / n)


WIDE, CONV = (50, 80), (20, 10, 3, 5)
CASES: list[tuple[str, Callable[[Tensor], Tensor], tuple[int, ...], Cdf]] = [
    ("uniform", lambda t: init.uniform_(t, -3, 3), WIDE, uniform(3)),
    ("normal", lambda t: init.normal_(t, 0, 2), WIDE, normal(2)),
    ("xavier_uniform", init.xavier_uniform_, WIDE, uniform(math.sqrt(6 / 130))),
    ("xavier_uniform gain", lambda t: init.xavier_uniform_(t, gain=2), WIDE, uniform(2 * math.sqrt(6 / 130))),
    ("xavier_normal", init.xavier_normal_, WIDE, normal(math.sqrt(2 / 130))),
    ("xavier_normal conv", init.xavier_normal_, CONV, normal(math.sqrt(2 / (30 * 15)))),
    ("kaiming_uniform", init.kaiming_uniform_, WIDE, uniform(math.sqrt(6 / 80))),
    ("kaiming_uniform tanh", lambda t: init.kaiming_uniform_(t, 0, "fan_in", "tanh"), WIDE, uniform(math.sqrt(5 / 48))),
    ("kaiming_uniform sqrt5", lambda t: init.kaiming_uniform_(t, a=math.sqrt(5)), WIDE, uniform(1 / math.sqrt(80))),
    ("kaiming_normal", init.kaiming_normal_, WIDE, normal(math.sqrt(2 / 80))),
    ("kaiming_normal out", lambda t: init.kaiming_normal_(t, mode="fan_out"), CONV, normal(math.sqrt(2 / 300))),
]  # fmt: skip


@pytest.mark.parametrize(("fill", "shape", "cdf"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_distributions(fill: Any, shape: tuple[int, ...], cdf: Cdf, dtype: Any) -> None:
    manual_seed(3)
    t = empty(*shape, dtype=dtype)
    assert fill(t) is t
    assert t.dtype == dtype
    assert_distributed(t.numpy(), cdf)


def test_uniform_stays_within_its_bounds() -> None:
    manual_seed(0)
    values = init.uniform_(empty(100_000), -0.5, 0.25).numpy()
    assert values.min() >= -0.5
    assert values.max() < 0.25


def test_trunc_normal() -> None:
    manual_seed(0)
    values = init.trunc_normal_(empty(*WIDE), 0.0, 2.0, -2.0, 1.0).numpy()
    assert values.min() >= -2
    assert values.max() <= 1
    d = statistics.NormalDist(0, 2)
    low, high = d.cdf(-2), d.cdf(1)
    assert_distributed(values, lambda x: (np.vectorize(d.cdf)(x) - low) / (high - low))
    assert_distributed(init.trunc_normal_(empty(*WIDE), std=0.02).numpy(), normal(0.02))
    with pytest.warns(UserWarning, match="more than 2 std"):
        assert np.all(np.isfinite(init.trunc_normal_(empty(100), 0.0, 0.1, 1.0, 2.0).numpy()))


def test_constants() -> None:
    np.testing.assert_array_equal(init.constant_(empty(2, 3), 0.3).numpy(), np.full((2, 3), 0.3, np.float32))
    np.testing.assert_array_equal(init.ones_(empty(2)).numpy(), [1, 1])
    np.testing.assert_array_equal(init.zeros_(empty(2)).numpy(), [0, 0])
    np.testing.assert_array_equal(init.eye_(empty(2, 3)).numpy(), np.eye(2, 3))


@pytest.mark.parametrize("shape", [(5, 3), (3, 5), (4, 4), (3, 2, 5)])
def test_orthogonal(shape: tuple[int, ...]) -> None:
    q = init.orthogonal_(empty(*shape, dtype=np.float64), gain=2.0).numpy().reshape(shape[0], -1)
    gram = q @ q.T if q.shape[0] <= q.shape[1] else q.T @ q
    np.testing.assert_allclose(gram, 4 * np.eye(len(gram)), atol=1e-12)


@pytest.mark.parametrize("groups", [1, 2])
def test_dirac_hands_channels_through(groups: int) -> None:
    torch = pytest.importorskip("torch")
    for shape in ((4, 2, 3, 3), (6, 2, 5), (2, 4, 3, 2, 3)):
        expected = torch.nn.init.dirac_(torch.empty(shape), groups).numpy()
        np.testing.assert_array_equal(init.dirac_(empty(*shape), groups).numpy(), expected)


def test_sparse() -> None:
    manual_seed(0)
    values = init.sparse_(empty(10, 50), 0.25, std=3.0).numpy()
    np.testing.assert_array_equal((values == 0).sum(axis=0), np.full(50, 3))
    assert len({tuple(np.flatnonzero(values[:, j] == 0)) for j in range(50)}) > 10
    assert_distributed(values[values != 0], normal(3))


def test_gains() -> None:
    torch = pytest.importorskip("torch")
    for name in ("linear", "conv1d", "conv2d", "conv_transpose3d", "sigmoid", "tanh", "relu", "leaky_relu", "selu"):
        assert init.calculate_gain(name) == torch.nn.init.calculate_gain(name)
    assert init.calculate_gain("leaky_relu", 0.2) == torch.nn.init.calculate_gain("leaky_relu", 0.2)


def test_seeds_and_generators_repeat() -> None:
    manual_seed(5)
    first = init.normal_(empty(4)).numpy().copy()
    second = init.normal_(empty(4)).numpy().copy()
    assert not np.array_equal(first, second)
    manual_seed(5)
    np.testing.assert_array_equal(init.normal_(empty(4)).numpy(), first)
    own = [init.uniform_(empty(4), generator=Generator().manual_seed(1)).numpy() for _ in range(2)]
    np.testing.assert_array_equal(*own)
    np.testing.assert_array_equal(init.normal_(empty(4)).numpy(), second)  # the default one was left alone


@pytest.mark.parametrize(
    ("act", "kind", "match"),
    [
        (lambda: init.eye_(empty(2)), ValueError, "2 dimensions"),
        (lambda: init.orthogonal_(empty(2)), ValueError, "2 or more"),
        (lambda: init.sparse_(empty(2), 0.1), ValueError, "2 dimensions"),
        (lambda: init.dirac_(empty(2, 2)), ValueError, "3, 4, or 5"),
        (lambda: init.dirac_(empty(3, 2, 2), 2), ValueError, "divisible by groups"),
        (lambda: init.xavier_uniform_(empty(3)), ValueError, "Fan in and fan out"),
        (lambda: init.xavier_normal_(empty(0, 0)), ValueError, "xavier"),
        (lambda: init.kaiming_normal_(empty(2, 2), mode="both"), ValueError, "Mode both not supported"),
        (lambda: init.kaiming_normal_(empty(2, 2), nonlinearity="x"), ValueError, "Unsupported nonlinearity x"),
        (lambda: init.uniform_(empty(2), 1.0, 0.0), ValueError, "uniform_: argument 'a' is 1.0"),
        (lambda: init.normal_(empty(2), 0.0, -1.0), ValueError, "normal_: argument 'std' is -1.0"),
        (lambda: init.trunc_normal_(empty(2), std=0.0), ValueError, "trunc_normal_"),
    ],
)
def test_bad_use(act: Any, kind: type[Exception], match: str) -> None:
    with pytest.raises(kind, match=match):
        act()


def test_kaiming_of_nothing_warns() -> None:
    with pytest.warns(UserWarning, match="zero-element"):
        init.kaiming_uniform_(empty(0, 3))


# What the layers do with them.


@pytest.mark.parametrize(
    ("make", "fan_in"),
    [
        (lambda: nn.Linear(37, 200), 37),
        (lambda: nn.Conv2d(4, 100, (3, 5)), 60),
        (lambda: nn.Conv2d(4, 100, 3, groups=2), 18),
    ],
    ids=["Linear", "Conv2d", "Conv2d groups"],
)
def test_linear_and_conv_start_uniform(make: Any, fan_in: int) -> None:
    manual_seed(2)
    layer = make()
    assert_distributed(layer.weight.detach().numpy(), uniform(1 / math.sqrt(fan_in)))
    assert_distributed(layer.bias.detach().numpy(), uniform(1 / math.sqrt(fan_in)))
    again = layer.weight.detach().numpy().copy()
    layer.reset_parameters()
    assert not np.array_equal(layer.weight.detach().numpy(), again)


def test_other_layers_start_as_pytorchs() -> None:
    manual_seed(2)
    embedding = nn.Embedding(60, 50, padding_idx=3)
    table = embedding.weight.detach().numpy()
    np.testing.assert_array_equal(table[3], np.zeros(50))
    assert_distributed(np.delete(table, 3, axis=0), normal(1))
    for layer in (nn.BatchNorm2d(3), nn.LayerNorm((2, 3))):
        np.testing.assert_array_equal(layer.weight.detach().numpy(), np.ones(layer.weight.shape))
        np.testing.assert_array_equal(layer.bias.detach().numpy(), np.zeros(layer.bias.shape))
    norm = nn.BatchNorm1d(3)
    np.testing.assert_array_equal(norm.running_mean.numpy(), np.zeros(3))
    np.testing.assert_array_equal(norm.running_var.numpy(), np.ones(3))
    assert norm.num_batches_tracked.dtype == np.int64


def test_layers_of_size_zero() -> None:
    with pytest.warns(UserWarning, match="zero-element"):
        layer = nn.Linear(0, 2)
    assert layer.weight.shape == (2, 0)
    np.testing.assert_array_equal(layer.bias.detach().numpy(), np.zeros(2))


def test_dtype_argument() -> None:
    for layer in (
        nn.Linear(2, 2, dtype=np.float64),
        nn.Conv2d(1, 1, 1, dtype="float64"),
        nn.BatchNorm1d(2, device="cpu", dtype=np.float64),
        nn.LayerNorm(2, dtype=np.float64),
        nn.Embedding(2, 2, dtype=np.float64),
    ):
        assert all(p.dtype == np.float64 for p in layer.parameters())
    assert nn.BatchNorm1d(2, dtype=np.float64).running_var.dtype == np.float64
