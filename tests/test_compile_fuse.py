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


def parts(kernels: list[str]) -> list[str]:
    """With the members of chains on their own."""
    return [part for name in kernels for part in name.split("+")]


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
    assert parts(after).count(name) == 0
    assert len(parts(after)) == len(before) - 1


def test_conv_and_relu() -> None:
    def fn(x: cr.Tensor, w: cr.Tensor, b: cr.Tensor) -> Any:
        return F.relu(F.conv2d(x, w, b, padding=1))

    before, after = check(with_gradients(fn), normal(3, 2, 9, 9), normal(4, 2, 3, 3, seed=1), normal(4, seed=2))
    assert before.count("relu") == 1
    assert parts(after).count("relu") == 0
    assert len(parts(after)) == len(before) - 1


def test_conv_and_gelu_whose_gradient_needs_the_sums() -> None:
    def fn(x: cr.Tensor, w: cr.Tensor) -> Any:
        return F.gelu(F.conv2d(x, w))

    before, after = check(with_gradients(fn), normal(3, 2, 9, 9), normal(4, 2, 3, 3, seed=1))
    assert before == parts(after)  # a convolution can't write both
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


CHAINS: dict[str, tuple[Callable[..., Any], list[str]]] = {
    "two": (lambda a, b: (F.relu(a + b),), ["add+relu"]),
    "with a number": (lambda a, b: (2 * (a - 1) / b,), ["sub+mul+div"]),
    "a tree": (lambda a, b: ((a + b) * (a - b),), ["add+sub+mul"]),
    "twice the same": (lambda a, b: ((a + b) * (a + b).tanh() - a,), ["add+add+tanh+mul+sub"]),
    "one operand for both": (lambda a, b: ((y := a + b) * y,), ["add+mul"]),
    "the first is returned": (lambda a, b: ((y := a * b), y.exp()), ["mul+exp"]),
    "in place": (lambda a, b: ((a + b).relu_().mul_(b),), ["add+relu+copy+mul+copy"]),
    "with limits": (lambda a, b: (F.leaky_relu((a * b).clamp(-0.5, 2.0), 0.2),), ["mul+clamp+leaky_relu"]),
    "more than one chain holds": (
        lambda a, b: (a.exp().neg().exp().neg().exp().neg().exp().neg().exp().neg(),),
        ["exp+neg+exp+neg+exp+neg+exp+neg", "exp+neg"],
    ),
    "something stands between": (lambda a, b: ((y := a + b) * y.sum(),), ["add", "sum", "mul"]),
    "what it reads is written before": (
        lambda a, b: ((y := a + b), y.sum(), (z := y * 2), y.mul_(3), z - 1),
        ["add", "sum", "mul", "mul+copy", "sub"],
    ),
    "another size": (lambda a, b: ((a + b)[1:] * 2,), ["add", "mul"]),
    "another order": (lambda a, b: ((a + b).t().contiguous() * 2,), ["add", "copy", "mul"]),
    "broadcast": (lambda a, b: ((a * 2) + b[0],), ["mul", "add"]),
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(1, 3), (3, 7), (5, 4099), (40, 1024)])
@pytest.mark.parametrize("name", list(CHAINS))
def test_chains(name: str, shape: tuple[int, ...], dtype: Any) -> None:
    fn, kernels = CHAINS[name]
    if (name == "another order" and 1 in shape) or (name == "broadcast" and 1 in shape):
        pytest.skip("its memory is the same")
    if name == "another size" and shape[0] == 1:
        pytest.skip("nothing is left")
    before, after = check(fn, normal(*shape, dtype=dtype), normal(*shape, dtype=dtype, seed=1))
    assert after == kernels
    assert before == parts(kernels)


def program(seed: int) -> Callable[..., Any]:
    """Thirty operations, drawn by chance: element-wise ones, also in place, of views and of sums, products, copies. Most
    results are dropped again, so that their memory serves later ones."""

    def run(*inputs: cr.Tensor) -> Any:
        rng = np.random.default_rng(seed)
        pool = [x * 1 for x in inputs]
        for _ in range(30):
            a, b = (pool[i] for i in rng.integers(0, len(pool), 2))
            i = int(rng.integers(0, len(pool)))
            kind = int(rng.integers(0, 12))
            if kind < 3:
                made = [a + b, a * b, a - b][kind]
            elif kind < 6:
                made = [F.relu(a), cr.tanh(a), (a * 0.5).clamp(-1, 1)][kind - 3]
            elif kind == 6:
                made = F.relu(F.linear(a, b[:, :24].t())) if a.shape == b.shape else a.neg()
            elif kind == 7:
                a[3:9] = b[10:16] * 2
                continue
            elif kind == 8:
                pool[i].mul_(0.5).add_(b)
                continue
            elif kind == 9:
                made = a * cr.tanh(b.sum())
            elif kind == 10:
                made = (a.t().contiguous() + 1).t().contiguous()
            else:
                made = a.flip(0) - b
            if len(pool) < 6:
                pool.append(made)
            else:
                pool[i] = made
        return tuple(pool)

    return run


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("seed", range(60))
def test_programs_keep_their_bits(seed: int, dtype: Any) -> None:
    inputs = [normal(24, 24, dtype=dtype, seed=i) for i in range(3)]
    before, after = check(program(seed), *inputs)
    assert len(after) < len(before)


def test_a_chain_that_would_overtake_itself() -> None:
    def fn(x: cr.Tensor) -> Any:
        a = x + 1
        a[:9000] = a[100:9100] * 2  # later blocks read what earlier ones would have written
        b = x + 1
        b[100:9100] = b[:9000] * 2
        c = x + 1
        c[:9000] = c[:9000] * 2
        return a, b, c

    before, after = check(fn, normal(9100))
    assert before.count("mul") == 3
    assert after.count("mul+copy") == 1


@pytest.mark.parametrize("uses", range(2, 20))
def test_gradients_that_are_added_in_place(uses: int) -> None:
    def fn(x: cr.Tensor) -> Any:
        h = x * 2
        return sum((h * i for i in range(1, uses)), h)

    before, after = check(with_gradients(fn), normal(5, 1300))
    assert len(after) < len(before) / 2


def test_gradients_of_chains() -> None:
    def fn(a: cr.Tensor, b: cr.Tensor) -> Any:
        return F.silu(a * b) * F.gelu(a) + cr.sigmoid(b) / 3

    before, after = check(with_gradients(fn), normal(9, 700), normal(9, 700, seed=1))
    assert parts(after) == before
    assert len(after) <= len(before) // 3


def test_dropout_in_chains() -> None:
    def run(fuse: bool) -> tuple[list[Any], list[str]]:
        cr.manual_seed(3)

        def fn(x: cr.Tensor) -> Any:
            x = x.detach().requires_grad_()
            y = F.relu(F.dropout(F.relu(x * 2), 0.4))
            return cr.autograd.grad((y * y).sum(), [x])

        step = cr.compile(fn, fuse=fuse)
        return [step(normal(6, 2000, seed=i))[0].numpy() for i in range(4)], kernels_of(step)

    (plain, _), (fused, kernels) = run(False), run(True)
    np.testing.assert_array_equal(plain, fused)
    assert any("relu_backward+dropout_backward+relu_backward+mul" in k for k in kernels)


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
