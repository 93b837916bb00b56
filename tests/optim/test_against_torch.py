"""Many steps of every optimizer against PyTorch's, for all combinations of their options."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from chainrule import optim
from chainrule.tensor import Tensor

torch = pytest.importorskip("torch")

Array = np.ndarray
SHAPES = [(3, 5), (1,), (40,), (), (0,), (17, 9)]
STEPS = 60


def leaves(rng: np.random.Generator, dtype: Any) -> list[Array]:
    return [np.asarray(rng.standard_normal(s), dtype) for s in SHAPES]


def both(arrays: list[Array]) -> tuple[list[Tensor], list[Any]]:
    ours = [Tensor(a.copy(), requires_grad=True) for a in arrays]
    return ours, [torch.tensor(a, requires_grad=True) for a in arrays]


def train(ours: Any, theirs: Any, steps: int, dtype: Any, seed: int = 1) -> None:
    """Gradients pull towards random targets; now and then a tensor has none."""
    rng = np.random.default_rng(seed)
    params = [p for g in ours.param_groups for p in g["params"]]
    twins = [p for g in theirs.param_groups for p in g["params"]]
    for step in range(steps):
        for i, (p, t) in enumerate(zip(params, twins, strict=True)):
            g = np.asarray(rng.standard_normal(p.shape), dtype)
            missing = (step + i) % 7 == 3
            p.grad = None if missing else Tensor(g.copy())
            t.grad = None if missing else torch.tensor(g)
        ours.step()
        theirs.step()


def assert_close(ours: list[Tensor], theirs: list[Any], dtype: Any, steps: int = STEPS) -> None:
    """Every step may round differently by a few units in the last place of the values that it adds up."""
    for p, t in zip(ours, theirs, strict=True):
        bound = 4 * np.finfo(dtype).eps * steps
        np.testing.assert_allclose(p.detach().numpy(), t.detach().numpy(), rtol=bound, atol=bound)


each_dtype = pytest.mark.parametrize("dtype", [np.float32, np.float64])

SGD = [
    {"lr": 0.05, "momentum": m, "dampening": d, "weight_decay": w, "nesterov": n, "maximize": x}
    for m, d, w, n, x in itertools.product((0, 0.9), (0, 0.4), (0, 0.1), (False, True), (False, True))
    if not n or (m > 0 and d == 0)
]
ADAM = [
    {"lr": 0.01, "betas": b, "weight_decay": w, "amsgrad": a, "maximize": x, "eps": e}
    for b, w, a, x, e in itertools.product(
        ((0.9, 0.999), (0.3, 0.6)), (0, 0.1), (False, True), (False, True), (1e-8, 1e-2)
    )
]


@each_dtype
@pytest.mark.parametrize("options", SGD, ids=str)
def test_sgd(options: dict[str, Any], dtype: Any, rng: np.random.Generator) -> None:
    params, twins = both(leaves(rng, dtype))
    train(optim.SGD(params, **options), torch.optim.SGD(twins, **options), STEPS, dtype)
    assert_close(params, twins, dtype)


@each_dtype
@pytest.mark.parametrize("name", ["Adam", "AdamW"])
@pytest.mark.parametrize("options", ADAM, ids=str)
def test_adam(name: str, options: dict[str, Any], dtype: Any, rng: np.random.Generator) -> None:
    params, twins = both(leaves(rng, dtype))
    ours, theirs = getattr(optim, name)(params, **options), getattr(torch.optim, name)(twins, **options)
    train(ours, theirs, STEPS, dtype)
    assert_close(params, twins, dtype)


MAKERS = [
    ("SGD", {"lr": 0.1, "momentum": 0.9}),
    ("SGD", {"lr": 0.1}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "dampening": 0.5, "nesterov": False}),
    ("Adam", {"amsgrad": True}),
    ("AdamW", {}),
]


def arrays_of(state_dict: dict[str, Any]) -> dict[str, Any]:
    """A state dict of PyTorch with its tensors turned into NumPy arrays."""
    state = {
        i: {k: v.numpy().copy() if torch.is_tensor(v) else v for k, v in s.items()}
        for i, s in state_dict["state"].items()
    }
    return {"state": state, "param_groups": state_dict["param_groups"]}


@pytest.mark.parametrize(("name", "options"), MAKERS)
def test_the_state_dict_is_pytorchs(name: str, options: dict[str, Any], rng: np.random.Generator) -> None:
    params, twins = both(leaves(rng, np.float32))
    ours = getattr(optim, name)([{"params": params[:2]}, {"params": params[2:], "lr": 0.5}], **options)
    theirs = getattr(torch.optim, name)([{"params": twins[:2]}, {"params": twins[2:], "lr": 0.5}], **options)
    for steps in (0, 3):
        train(ours, theirs, steps, np.float32)
        mine, his = ours.state_dict(), theirs.state_dict()
        assert mine["param_groups"] == his["param_groups"]
        assert mine["state"].keys() == his["state"].keys()
        for i in his["state"]:
            assert mine["state"][i].keys() == his["state"][i].keys()


@pytest.mark.parametrize(("name", "options"), MAKERS)
def test_training_goes_on_from_pytorchs_state_dict(
    name: str, options: dict[str, Any], rng: np.random.Generator
) -> None:
    start = leaves(rng, np.float64)
    params, twins = both(start)
    theirs = getattr(torch.optim, name)(twins, **options)
    train(getattr(optim, name)(params, **options), theirs, 5, np.float64)
    params = [Tensor(t.detach().numpy().copy(), requires_grad=True) for t in twins]
    ours = getattr(optim, name)(params, lr=123.0)
    ours.load_state_dict(arrays_of(theirs.state_dict()))
    train(ours, theirs, 10, np.float64, seed=2)
    assert_close(params, twins, np.float64)


@pytest.mark.parametrize(("name", "options"), MAKERS)
def test_a_loaded_state_dict_continues_bit_for_bit(
    name: str, options: dict[str, Any], rng: np.random.Generator
) -> None:
    params, twins = both(leaves(rng, np.float32))
    first, theirs = getattr(optim, name)(params, **options), getattr(torch.optim, name)(twins, **options)
    train(first, theirs, 5, np.float32)
    copies = [Tensor(p.detach().numpy().copy(), requires_grad=True) for p in params]
    second = getattr(optim, name)(copies, lr=123.0)
    second.load_state_dict(first.state_dict())
    train(first, theirs, 5, np.float32, seed=2)
    train(second, theirs, 5, np.float32, seed=2)
    for a, b in zip(params, copies, strict=True):
        np.testing.assert_array_equal(a.detach().numpy(), b.detach().numpy())


def test_repr_is_pytorchs(rng: np.random.Generator) -> None:
    params, twins = both(leaves(rng, np.float32))
    for name, options in MAKERS:
        assert repr(getattr(optim, name)(params, **options)) == repr(getattr(torch.optim, name)(twins, **options))


BAD = [
    ("SGD", {"lr": -1}),
    ("SGD", {"momentum": -1}),
    ("SGD", {"weight_decay": -1}),
    ("SGD", {"nesterov": True}),
    ("SGD", {"nesterov": True, "momentum": 0.9, "dampening": 0.1}),
    ("Adam", {"lr": -1}),
    ("Adam", {"eps": -1}),
    ("Adam", {"betas": (1.0, 0.9)}),
    ("Adam", {"betas": (0.9, -0.1)}),
    ("Adam", {"weight_decay": -1}),
    ("AdamW", {"weight_decay": -1}),
]


@pytest.mark.parametrize(("name", "options"), BAD)
def test_bad_options_are_refused_in_pytorchs_words(name: str, options: dict[str, Any]) -> None:
    params, twins = both([np.zeros(3, np.float32)])
    with pytest.raises(ValueError) as theirs:  # noqa: PT011
        getattr(torch.optim, name)(twins, **options)
    with pytest.raises(ValueError) as ours:  # noqa: PT011
        getattr(optim, name)(params, **options)
    assert str(ours.value) == str(theirs.value)


@pytest.mark.parametrize("order", [2, 1, 3.5, np.inf, -np.inf, 0])
@each_dtype
def test_clip_grad_norm(order: float, dtype: Any, rng: np.random.Generator) -> None:
    from chainrule.nn.utils import clip_grad_norm_, get_total_norm

    for max_norm in (0.5, 1e6):
        params, twins = both([a for a in leaves(rng, dtype) if a.size])
        for p, t in zip(params, twins, strict=True):
            p.grad, t.grad = Tensor(p.detach().numpy().copy()), t.detach().clone()
        expected = torch.nn.utils.get_total_norm([t.grad for t in twins], order)
        np.testing.assert_allclose(get_total_norm([p.grad for p in params], order).item(), expected, rtol=1e-5)
        before = torch.nn.utils.clip_grad_norm_(twins, max_norm, order)
        norm = clip_grad_norm_(params, max_norm, order)
        assert norm.shape == ()
        assert norm.dtype == dtype
        bound = 8 * np.finfo(dtype).eps
        np.testing.assert_allclose(norm.item(), before, rtol=4 * bound)
        for p, t in zip(params, twins, strict=True):
            np.testing.assert_allclose(p.grad.numpy(), t.grad.numpy(), rtol=4 * bound)


def test_clip_grad_value(rng: np.random.Generator) -> None:
    from chainrule.nn.utils import clip_grad_value_

    params, twins = both(leaves(rng, np.float32))
    for p, t in zip(params[1:], twins[1:], strict=True):
        p.grad, t.grad = Tensor(p.detach().numpy().copy()), t.detach().clone()
    clip_grad_value_(params, 0.3)
    torch.nn.utils.clip_grad_value_(twins, 0.3)
    for p, t in zip(params[1:], twins[1:], strict=True):
        np.testing.assert_array_equal(p.grad.numpy(), t.grad.numpy())
    assert params[0].grad is None
