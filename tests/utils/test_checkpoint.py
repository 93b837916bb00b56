"""Checkpointing: the bits of the plain net, in less memory, eager and compiled."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.autograd.graph import saved_tensors_hooks
from chainrule.utils.checkpoint import CheckpointError, checkpoint, checkpoint_sequential

DEPTH, WIDTH, BATCH = 16, 32, 512


def deep_net(dropout: float = 0.1) -> nn.Sequential:
    cr.manual_seed(0)
    parts: list[nn.Module] = []
    for _ in range(DEPTH):
        parts += [nn.Linear(WIDTH, WIDTH), nn.GELU(), nn.LayerNorm(WIDTH), nn.Dropout(dropout)]
    return nn.Sequential(*parts)


def batch() -> cr.Tensor:
    return cr.from_numpy(np.random.default_rng(0).standard_normal((BATCH, WIDTH)).astype(np.float32))


def gradients(net: nn.Module, run: Callable[[cr.Tensor], cr.Tensor]) -> list[np.ndarray]:
    """Of the parameters and of the input."""
    net.zero_grad()
    x = batch().requires_grad_()
    cr.manual_seed(1)
    (run(x) ** 2).sum().backward()
    assert x.grad is not None
    return [p.grad.numpy().copy() for p in net.parameters() if p.grad is not None] + [x.grad.numpy()]


def same(a: list[np.ndarray], b: list[np.ndarray]) -> bool:
    return len(a) == len(b) and all(np.array_equal(p, q) for p, q in zip(a, b, strict=True))


def halves(net: nn.Sequential) -> Callable[[cr.Tensor], cr.Tensor]:
    """A checkpoint that holds two checkpoints."""
    parts = list(net.children())
    first, second = nn.Sequential(*parts[: len(parts) // 2]), nn.Sequential(*parts[len(parts) // 2 :])
    return lambda x: checkpoint(lambda h: checkpoint(second, checkpoint(first, h)), x)


@pytest.mark.parametrize("form", ["whole", "segments", "one segment", "nested", "keyword", "not reentrant"])
def test_gradients_have_the_bits_of_the_plain_net(form: str) -> None:
    net = deep_net()
    forms: dict[str, Callable[[cr.Tensor], cr.Tensor]] = {
        "whole": lambda x: checkpoint(net, x),
        "segments": lambda x: checkpoint_sequential(net, 5, x),
        "one segment": lambda x: checkpoint_sequential(net, 1, x),
        "nested": halves(net),
        "keyword": lambda x: checkpoint(lambda scale, h: net(h) * scale, 1.0, h=x),
        "not reentrant": lambda x: checkpoint(net, x, use_reentrant=False),
    }
    assert same(gradients(net, net), gradients(net, forms[form]))


def test_random_numbers_go_on_as_without_checkpoints() -> None:
    net = deep_net()
    after = []
    for run in (net, lambda x: checkpoint(net, x)):
        gradients(net, run)
        after.append(cr.rand(3).numpy())
    np.testing.assert_array_equal(*after)


def test_without_preserved_random_numbers_the_masks_differ() -> None:
    net = deep_net(0.5)
    assert not same(gradients(net, net), gradients(net, lambda x: checkpoint(net, x, preserve_rng_state=False)))


def held_after_forward(run: Callable[[cr.Tensor], cr.Tensor]) -> int:
    before = cr.memory_stats()["allocated_bytes"]
    y = run(batch().requires_grad_())
    held = cr.memory_stats()["allocated_bytes"] - before
    y.sum().backward()
    return held


def test_the_graph_holds_less() -> None:
    net = deep_net()
    activation = BATCH * WIDTH * 4
    plain = held_after_forward(net)
    segments = held_after_forward(lambda x: checkpoint_sequential(net, 4, x))
    nested = held_after_forward(halves(net))
    assert plain > DEPTH * 3 * activation  # of each block: linear's, gelu's and layer norm's
    assert segments < plain / 2  # the last quarter, and what three segments start from
    assert nested < 8 * activation


def test_a_compiled_step_needs_less_memory_and_has_the_same_bits() -> None:
    net = deep_net()

    def step_of(run: Callable[[cr.Tensor], cr.Tensor]) -> Any:
        def step(x: cr.Tensor) -> cr.Tensor:
            net.zero_grad()
            loss = (run(x) ** 2).sum()
            loss.backward()
            return loss

        return cr.compile(step)

    plain, less = step_of(net), step_of(lambda x: checkpoint_sequential(net, 4, x))
    for seed in range(3):
        found = []
        for step in (plain, less):
            cr.manual_seed(seed)
            loss = step(batch()).numpy()
            found.append([loss, *[p.grad.numpy().copy() for p in net.parameters() if p.grad is not None]])
        assert same(*found)
    parameters = sum(p.numel() for p in net.parameters()) * 4  # their gradients lie in the recording
    assert less.memory()["arena"] - parameters < 0.5 * (plain.memory()["arena"] - parameters)


def test_results_and_arguments_of_any_form() -> None:
    def fn(pair: list[cr.Tensor], scale: float, *, shift: cr.Tensor) -> tuple[cr.Tensor, dict[str, cr.Tensor]]:
        return pair[0].exp() * scale, {"b": (pair[1] + shift).sin()}

    def run(apply: Callable[..., Any]) -> list[np.ndarray]:
        a, b, c = (cr.full((3,), v).requires_grad_() for v in (0.5, 1.5, 2.5))
        first, rest = apply(fn, [a, b], 2.0, shift=c)
        (first.sum() + rest["b"].prod()).backward()
        return [t.grad.numpy() for t in (a, b, c) if t.grad is not None]

    plain = run(lambda f, *args, **kwargs: f(*args, **kwargs))
    assert len(plain) == 3
    assert same(plain, run(checkpoint))


def test_autograd_grad_and_second_derivatives() -> None:
    def fn(x: cr.Tensor, w: cr.Tensor) -> cr.Tensor:
        return (x @ w).tanh().exp()

    def second(apply: Callable[..., Any]) -> list[np.ndarray]:
        x, w = (cr.linspace(-1, 1, 9).reshape(3, 3).requires_grad_() for _ in range(2))
        y = apply(fn, x * 1, w)
        (gx,) = cr.autograd.grad(y.sum(), x, create_graph=True)
        return [gx.detach().numpy(), *[g.numpy() for g in cr.autograd.grad((gx**2).sum(), (x, w))]]

    assert same(second(lambda f, *args: f(*args)), second(checkpoint))


def test_backward_twice() -> None:
    x = cr.ones(3).requires_grad_()
    y = checkpoint(lambda h: h.exp().exp(), x).sum()
    y.backward(retain_graph=True)
    assert x.grad is not None
    once = x.grad.numpy().copy()
    y.backward()
    np.testing.assert_array_equal(x.grad.numpy(), 2 * once)
    with pytest.raises(RuntimeError, match="second time"):
        y.backward()


def test_one_second_run_for_all_that_was_saved() -> None:
    runs = []

    def fn(x: cr.Tensor) -> cr.Tensor:
        runs.append(1)
        return x.exp().sin().exp()

    x = cr.ones(3).requires_grad_()
    checkpoint(fn, x).sum().backward()
    assert len(runs) == 2


def test_without_gradients_it_is_the_call_itself() -> None:
    with cr.no_grad():
        y = checkpoint(lambda h: h * 2, cr.ones(2).requires_grad_())
    assert not y.requires_grad
    np.testing.assert_array_equal(y.numpy(), [2, 2])


@pytest.mark.parametrize("change", ["shape", "fewer"])
def test_a_function_that_does_something_else(change: str) -> None:
    calls: list[int] = []

    def fn(x: cr.Tensor) -> cr.Tensor:
        calls.append(1)
        if len(calls) == 1:
            return x.exp().exp()
        return x[:2].exp().exp() if change == "shape" else x * 1

    y = checkpoint(fn, cr.ones(3).requires_grad_()).sum()
    with pytest.raises(CheckpointError, match="it must do the same each time"):
        y.backward()


def test_an_argument_that_was_changed_in_place() -> None:
    x = cr.ones(3)
    w = cr.ones(3).requires_grad_()
    y = checkpoint(lambda a, b: (a * b).exp(), x, w).sum()
    x.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.backward()


def test_a_result_may_be_changed_in_place() -> None:
    x = cr.ones(3).requires_grad_()
    y = checkpoint(lambda a: a.exp(), x)
    y.add_(1)  # exp saved what it returned; the second run makes it anew
    y.sum().backward()
    assert x.grad is not None
    np.testing.assert_allclose(x.grad.numpy(), np.full(3, np.e), rtol=1e-6)


def test_contexts_of_both_runs() -> None:
    seen = []

    class Note(nullcontext):  # type: ignore[type-arg]
        def __init__(self, name: str) -> None:
            super().__init__()
            self.name = name

        def __enter__(self) -> None:
            seen.append(self.name)

    x = cr.ones(3).requires_grad_()
    y = checkpoint(lambda a: a.exp(), x, context_fn=lambda: (Note("first"), Note("again")))
    assert seen == ["first"]
    y.sum().backward()
    assert seen == ["first", "again"]


def test_bad_calls() -> None:
    with pytest.raises(ValueError, match="use_reentrant"):
        checkpoint(lambda x: x, cr.ones(1), use_reentrant=True)
    for segments in (0, 3):
        with pytest.raises(ValueError, match="segments"):
            checkpoint_sequential([lambda x: x] * 2, segments, cr.ones(1))


def test_hooks_on_saved_tensors() -> None:
    packed, unpacked = [], []

    def pack(x: cr.Tensor) -> np.ndarray:
        packed.append(x.shape)
        return x.detach().numpy().astype(np.float16)

    def unpack(x: np.ndarray) -> cr.Tensor:
        unpacked.append(x.shape)
        return cr.from_numpy(x.astype(np.float32))

    x = cr.full((2, 2), 1.5).requires_grad_()
    with saved_tensors_hooks(pack, unpack):
        y = x * x
    z = y.exp()  # saved without hooks
    z.sum().backward()
    assert x.grad is not None
    assert packed == [(2, 2), (2, 2)]
    assert unpacked == packed
    np.testing.assert_allclose(x.grad.numpy(), 3 * np.exp(2.25), rtol=1e-6)
