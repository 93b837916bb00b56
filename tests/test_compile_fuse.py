"""Merged kernels of compiled steps: fewer of them, the same bits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import chainrule as cr
import chainrule.nn.functional as F

ACTIVATIONS: dict[str, Callable[..., Any]] = {
    "relu": F.relu,
    "gelu": F.gelu,
    "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
    "silu": F.silu,
    "sigmoid": cr.sigmoid,
    "tanh": cr.tanh,
}


def normal(*shape: int, dtype: Any = np.float32, seed: int = 0) -> cr.Tensor:
    return cr.from_numpy(np.random.default_rng(seed).standard_normal(shape).astype(dtype))


def kernels_of(step: Any) -> list[str]:
    return [name for name, *_ in step.latest().lines()]


def check(fn: Callable[..., Any], *inputs: cr.Tensor) -> tuple[list[str], list[str]]:
    """The kernels of the list as it was made and after the passes; fails unless both have the bits of the call."""
    kernels = []
    for fuse in (False, True):
        step = cr.compile(fn, fuse=fuse)
        for _ in range(3):
            found, expected = step(*inputs), fn(*inputs)
            for a, b in zip(found, expected, strict=True):
                np.testing.assert_array_equal(a.detach().numpy(), b.detach().numpy())
        kernels.append(kernels_of(step))
    return kernels[0], kernels[1]


def with_gradients(fn: Callable[..., Any]) -> Callable[..., Any]:
    def run(*inputs: cr.Tensor) -> Any:
        leaves = [x.detach().requires_grad_() for x in inputs]
        y = fn(*leaves)
        return (y, *cr.autograd.grad((y * y).sum(), leaves))

    return run


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("rows", [1, 5, 64])
@pytest.mark.parametrize("name", list(ACTIVATIONS))
@pytest.mark.parametrize("gradients", [True, False])
def test_linear_and_activation(name: str, rows: int, dtype: Any, gradients: bool) -> None:
    act = ACTIVATIONS[name]

    def fn(x: cr.Tensor, w: cr.Tensor, b: cr.Tensor) -> Any:
        h = act(F.linear(x, w, b))
        return F.linear(h, w[:, :11].t(), None)

    inputs = [normal(*s, dtype=dtype, seed=i) for i, s in enumerate([(rows, 19), (11, 19), (11,)])]
    run = with_gradients(fn) if gradients else lambda *xs: (fn(*xs),)
    before, after = check(run, *inputs)
    assert before.count(name) == 1
    assert after.count(name) == 0
    assert len(after) == len(before) - 1


def test_conv_and_relu() -> None:
    def fn(x: cr.Tensor, w: cr.Tensor, b: cr.Tensor) -> Any:
        return F.relu(F.conv2d(x, w, b, padding=1))

    before, after = check(with_gradients(fn), normal(3, 2, 9, 9), normal(4, 2, 3, 3, seed=1), normal(4, seed=2))
    assert before.count("relu") == 1
    assert after.count("relu") == 0
    assert len(after) == len(before) - 1


def test_conv_and_gelu_whose_gradient_needs_the_sums() -> None:
    def fn(x: cr.Tensor, w: cr.Tensor) -> Any:
        return F.gelu(F.conv2d(x, w))

    before, after = check(with_gradients(fn), normal(3, 2, 9, 9), normal(4, 2, 3, 3, seed=1))
    assert before == after  # a convolution can't write both
    inference = lambda *xs: (fn(*xs),)  # noqa: E731
    before, after = check(inference, normal(3, 2, 9, 9), normal(4, 2, 3, 3, seed=1))
    assert len(after) == len(before) - 1


X, W = normal(7, 5), normal(5, 5, seed=1)
KEPT: dict[str, Callable[..., Any]] = {
    "used again": lambda h: F.relu(h) + h,
    "two activations": lambda h: F.relu(h) * cr.tanh(h),
    "used before": lambda h: (h * 2) + F.relu(h),
    "in place": lambda h: h.relu_(),
    "in place, of a clone": lambda h: h.clone().relu_() + h,
    "a view's": lambda h: F.relu(h.reshape(35)),
    "a part's": lambda h: F.relu(h[:3]).sum() + h.sum(),
    "a transposed one's": lambda h: F.relu(h.t()),
    "twice": lambda h: F.gelu(F.relu(h)),
}


@pytest.mark.parametrize("name", list(KEPT))
@pytest.mark.parametrize("gradients", [True, False])
def test_sums_that_something_else_uses(name: str, gradients: bool) -> None:
    fn = lambda x, w: KEPT[name](F.linear(x, w))  # noqa: E731
    check(with_gradients(fn) if gradients else lambda *xs: (fn(*xs),), X, W)


def test_sums_that_are_returned() -> None:
    def fn(x: cr.Tensor, w: cr.Tensor) -> Any:
        h = F.linear(x, w)
        return h, F.relu(h), h[1:3]

    check(fn, X, W)


def test_results_in_memory_that_the_inputs_left() -> None:
    def fn(x: cr.Tensor, w: cr.Tensor) -> Any:
        for _ in range(6):  # without gradients each layer's memory serves the one after the next
            x = F.relu(F.linear(x, w))
        return (x,)

    before, after = check(fn, X, W)
    assert len(after) < len(before)


def test_a_net_keeps_its_bits() -> None:
    def train(compiled: bool) -> list[np.ndarray]:
        cr.manual_seed(0)
        net = cr.nn.Sequential(
            *(cr.nn.Conv2d(1, 3, 3), cr.nn.ReLU(), cr.nn.MaxPool2d(2), cr.nn.Flatten()),
            *(cr.nn.Linear(27, 16), cr.nn.GELU(), cr.nn.Linear(16, 16), cr.nn.Tanh(), cr.nn.Linear(16, 3)),
        )
        opt = cr.optim.Adam(net.parameters(), lr=0.01)

        def step(x: cr.Tensor, y: cr.Tensor) -> cr.Tensor:
            opt.zero_grad()
            loss = F.cross_entropy(net(x), y)
            loss.backward()
            opt.step()
            return loss

        run = cr.compile(step) if compiled else step
        for seed in range(8):
            run(normal(6, 1, 8, 8, seed=seed), cr.arange(6) % 3)
        return [p.detach().numpy().copy() for p in net.parameters()]

    for a, b in zip(train(True), train(False), strict=True):
        np.testing.assert_array_equal(a, b)
