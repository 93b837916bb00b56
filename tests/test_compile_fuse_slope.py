"""Activations' gradients behind linear layers' in compiled steps: in the product's epilogue, the same bits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import chainrule as cr
import chainrule.nn.functional as F
from tests.test_compile_fuse import ACTIVATIONS, check, normal, with_gradients


def slopes(kernels: list[str]) -> list[str]:
    return [
        name for name in kernels for part in name.split("+") if part.endswith("_backward") and part[:-9] in ACTIVATIONS
    ]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("rows", [1, 5, 64, 300])
@pytest.mark.parametrize("name", list(ACTIVATIONS))
def test_layers_in_a_row(name: str, rows: int, dtype: Any) -> None:
    act = ACTIVATIONS[name]

    def fn(x: cr.Tensor, a: cr.Tensor, b: cr.Tensor, c: cr.Tensor) -> Any:
        return F.linear(act(F.linear(act(F.linear(x, a)), b)), c)

    shapes = [(rows, 19), (70, 19), (33, 70), (1, 33)]
    before, after = check(with_gradients(fn), *(normal(*s, dtype=dtype, seed=i) for i, s in enumerate(shapes)))
    assert len(slopes(before)) == 2
    assert slopes(after) == []


MERGED: dict[str, Callable[..., Any]] = {
    "three dimensions": lambda x, w: F.linear(cr.tanh(x.reshape(2, 3, 4)), w),
    "as another shape": lambda x, w: F.linear(cr.tanh(x).reshape(2, 3, 4), w),
    "a wide layer": lambda x, w: F.linear(cr.tanh(x), cr.cat([w] * 200)),
    "two layers, one behind": lambda x, w: F.linear(cr.relu(x), w) + F.linear(cr.tanh(x), w),
    "with relu": lambda x, w: F.relu(F.linear(cr.tanh(x), w)),
}
KEPT: dict[str, Callable[..., Any]] = {
    "two uses": lambda x, w: F.linear(h := cr.tanh(x), w) + F.linear(h, 2 * w),
    "a part": lambda x, w: F.linear(cr.tanh(x)[1:], w),
    "turned": lambda x, w: F.linear(cr.tanh(x.reshape(4, 6)).t().reshape(6, 4), w),
    "a number in between": lambda x, w: F.linear(cr.tanh(x) * 2, w),
    "leaky_relu": lambda x, w: F.linear(F.leaky_relu(x), w),
}


@pytest.mark.parametrize("name", [*MERGED, *KEPT])
def test_what_is_merged(name: str) -> None:
    """Behind another layer: what goes back to the caller may lie where the product's operands do."""
    made = {**MERGED, **KEPT}[name]

    def fn(x: cr.Tensor, v: cr.Tensor, w: cr.Tensor) -> Any:
        return made(F.linear(x, v), w)

    before, after = check(with_gradients(fn), *(normal(*s, seed=i) for i, s in enumerate([(6, 4), (4, 4), (5, 4)])))
    wanted = "leaky_relu" if name == "leaky_relu" else "tanh"
    count = [
        [part for k in kernels for part in k.split("+")].count(f"{wanted}_backward") for kernels in (before, after)
    ]
    assert count == [1, int(name in KEPT)]


@pytest.mark.parametrize("width", [4, 40])
def test_a_gradient_that_somebody_reads_is_kept(width: int) -> None:
    def fn(x: cr.Tensor, v: cr.Tensor, w: cr.Tensor) -> Any:
        x, v, w = (t.detach().requires_grad_() for t in (x, v, w))
        h = cr.tanh(F.linear(x, v))
        return cr.autograd.grad(F.linear(h, w).sum(), (x, v, h, w))

    before, after = check(fn, normal(6, 4), normal(width, 4, seed=1), normal(5, width, seed=2))
    assert slopes(before) == slopes(after) == ["tanh_backward"]


@pytest.mark.parametrize("rows", [3, 40, 300])
@pytest.mark.parametrize("width", [4, 40, 300])
@pytest.mark.parametrize("outputs", [1, 4, 40])
def test_memory_that_something_uses_in_between(rows: int, width: int, outputs: int) -> None:
    """The weight's own gradient, and that of what it is made of, come before the activation's."""

    def fn(x: cr.Tensor, v: cr.Tensor, u: cr.Tensor) -> Any:
        h = cr.tanh(F.linear(x, v))
        return F.linear(h, cr.sin(cr.exp(cr.cos(u)) * 2))

    check(with_gradients(fn), *(normal(*s, seed=i) for i, s in enumerate([(rows, 6), (width, 6), (outputs, width)])))


@pytest.mark.parametrize("rows", [3, 40, 200])
@pytest.mark.parametrize("names", [list(ACTIVATIONS), ["gelu"], ["relu"]], ids=len)
@pytest.mark.parametrize("widths", [(24, 32), (24, 24)])
def test_memory_that_is_used_again(widths: tuple[int, int], names: list[str], rows: int) -> None:
    """Many layers of few sizes: what a product reads is the memory of later gradients."""
    n, k = widths

    def fn(x: cr.Tensor, *weights: cr.Tensor) -> Any:
        for i, w in enumerate(weights):
            x = ACTIVATIONS[names[i % len(names)]](F.linear(x, w))
        return x

    shapes = [(rows, n), *[(k, n), (n, k)] * 6]
    before, after = check(with_gradients(fn), *(normal(*s, seed=i) for i, s in enumerate(shapes)))
    assert len(slopes(before)) == 12
    assert len(slopes(after)) == 1  # of the last layer: nothing is behind it


def test_training_has_the_bits_of_eager_steps() -> None:
    def run(compiled: bool) -> list[np.ndarray]:
        cr.manual_seed(0)
        model = cr.nn.Sequential(
            cr.nn.Linear(7, 50),
            cr.nn.GELU(),
            cr.nn.Linear(50, 50),
            cr.nn.Tanh(),
            cr.nn.Dropout(0.3),
            cr.nn.Linear(50, 3),
        )
        optimizer = cr.optim.Adam(model.parameters(), lr=1e-2)

        def step(x: cr.Tensor, y: cr.Tensor) -> cr.Tensor:
            optimizer.zero_grad()
            loss = F.mse_loss(model(x), y)
            loss.backward()
            cr.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            return loss

        call = cr.compile(step) if compiled else step
        losses = [call(normal(90, 7, seed=i), normal(90, 3, seed=-i - 1 + 99)).item() for i in range(12)]
        return [np.array(losses), *(p.detach().numpy() for p in model.parameters())]

    for a, b in zip(run(False), run(True), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", ["gelu", "tanh"])
def test_a_result_that_somebody_reads(name: str) -> None:
    def fn(x: cr.Tensor, v: cr.Tensor, w: cr.Tensor) -> Any:
        x, v, w = (t.detach().requires_grad_() for t in (x, v, w))
        z = F.linear(x, v)
        return cr.autograd.grad(F.linear(ACTIVATIONS[name](z), w).sum(), (x, v, z, w))

    check(fn, normal(60, 40), normal(40, 40, seed=1), normal(40, 40, seed=2))
