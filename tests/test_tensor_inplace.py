"""In-place changes against torch: memory, gradients through views and their bases, versions, what is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import chainrule as cr

torch = pytest.importorskip("torch")


def values(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0.5, 2, shape)


METHODS: dict[str, Callable[[Any, Any, Any], Any]] = {
    "add_": lambda lib, x, y: x.add_(y),
    "add_ alpha": lambda lib, x, y: x.add_(y, alpha=-0.5),
    "add_ number": lambda lib, x, y: x.add_(2),
    "sub_": lambda lib, x, y: x.sub_(y),
    "mul_": lambda lib, x, y: x.mul_(y),
    "mul_ itself": lambda lib, x, y: x.mul_(x),
    "div_": lambda lib, x, y: x.div_(y),
    "pow_": lambda lib, x, y: x.pow_(2),
    "exp_": lambda lib, x, y: x.exp_(),
    "log_": lambda lib, x, y: x.log_(),
    "sqrt_": lambda lib, x, y: x.sqrt_(),
    "tanh_": lambda lib, x, y: x.tanh_(),
    "sigmoid_": lambda lib, x, y: x.sigmoid_(),
    "relu_": lambda lib, x, y: x.sub_(1).relu_(),
    "neg_": lambda lib, x, y: x.neg_(),
    "abs_": lambda lib, x, y: x.sub_(1).abs_(),
    "clamp_": lambda lib, x, y: x.clamp_(0.8, 1.5),
    "addcmul_": lambda lib, x, y: x.addcmul_(y, y, value=0.5),
    "addcdiv_": lambda lib, x, y: x.addcdiv_(y, y + 1, value=2),
    "lerp_": lambda lib, x, y: x.lerp_(y, 0.25),
    "copy_": lambda lib, x, y: x.copy_(y),
    "copy_ row": lambda lib, x, y: x.copy_(y[0]),
    "fill_": lambda lib, x, y: x.fill_(3),
    "zero_": lambda lib, x, y: x.zero_(),
    "masked_fill_": lambda lib, x, y: x.masked_fill_(x.detach() > 1, 0.5),
    "tril_": lambda lib, x, y: x.tril_(),
    "index_add_": lambda lib, x, y: x.index_add_(0, lib.tensor([1, 1]), y[:2]),
    "scatter_": lambda lib, x, y: x.scatter_(1, lib.tensor([[0, 1], [1, 0]]), y[:2, :2]),
    "fill_diagonal_": lambda lib, x, y: x.fill_diagonal_(7.0),
    "multiply_": lambda lib, x, y: x.multiply_(y),
    "divide_": lambda lib, x, y: x.divide_(y),
    "atan2_": lambda lib, x, y: x.atan2_(y),
    "fmod_": lambda lib, x, y: x.fmod_(y),
    "expm1_": lambda lib, x, y: x.expm1_(),
    "log1p_": lambda lib, x, y: x.log1p_(),
    "log2_": lambda lib, x, y: x.log2_(),
    "log10_": lambda lib, x, y: x.log10_(),
    "tan_": lambda lib, x, y: x.sub_(1).tan_(),
    "erfc_": lambda lib, x, y: x.erfc_(),
    "cumsum_": lambda lib, x, y: x.cumsum_(0),
    "addmm_": lambda lib, x, y: x.addmm_(y, y, beta=0.5, alpha=2),
    "addmv_": lambda lib, x, y: x[0].addmv_(y, y[0]),
    "baddbmm_": lambda lib, x, y: x.unsqueeze(0).baddbmm_(y.unsqueeze(0), y.unsqueeze(0)),
    "eq_": lambda lib, x, y: x.eq_(y),
    "greater_": lambda lib, x, y: x.greater_(y),
    "logical_and_": lambda lib, x, y: x.logical_and_(y),
    "logical_not_": lambda lib, x, y: x.logical_not_(),
    "+=": lambda lib, x, y: x.__iadd__(y),
    "-=": lambda lib, x, y: x.__isub__(2),
    "*=": lambda lib, x, y: x.__imul__(y),
    "/=": lambda lib, x, y: x.__itruediv__(y),
    "**=": lambda lib, x, y: x.__ipow__(2),
}
OF_MATRICES = ("tril_", "scatter_", "fill_diagonal_", "addmm_", "addmv_", "baddbmm_")
each_method = pytest.mark.parametrize("f", METHODS.values(), ids=METHODS)


@each_method
def test_without_a_tape(f: Callable[[Any, Any, Any], Any]) -> None:
    x, y = values(3, 3), values(3, 3, seed=1)
    ours, theirs = cr.tensor(x), torch.tensor(x)
    view = ours[1]
    with cr.no_grad():
        assert f(cr, ours, cr.tensor(y)) is ours or f in [METHODS["addmv_"], METHODS["baddbmm_"]]
    f(torch, theirs, torch.tensor(y))
    np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=1e-14)
    np.testing.assert_array_equal(view.numpy(), ours.numpy()[1])


@each_method
@pytest.mark.parametrize("where", ["whole", "row", "block", "transposed", "view of a view"])
def test_on_the_tape(f: Callable[[Any, Any, Any], Any], where: str) -> None:
    """The change of a view reaches the base, its other views and the gradients of everything involved."""
    if f is METHODS["mul_ itself"]:
        pytest.skip("torch refuses it in backward; test_a_tensor_changed_by_itself has it")
    if f in (METHODS["logical_and_"], METHODS["logical_not_"]):
        pytest.skip("torch passes the gradient on; test_truth_values_have_no_gradient")
    views: dict[str, Callable[[Any], Any]] = {
        "whole": lambda b: b,
        "row": lambda b: b[0],
        "block": lambda b: b[1, 1:, :3],
        "transposed": lambda b: b[2].T,
        "view of a view": lambda b: b.view(12, 4)[3:6].T[1:],
    }
    results = []
    for lib in (cr, torch):
        x = lib.tensor(values(3, 4, 4), requires_grad=True)
        base = x * 1
        sibling = base[:, 1]
        part = views[where](base)
        y = lib.tensor(values(*part.shape, seed=1), requires_grad=True)
        if part.ndim != 2 and f in [METHODS[name] for name in OF_MATRICES]:
            part, y = part[0], y[0]
        if f is METHODS["copy_ row"] and part.ndim != 2:
            y = y.detach()
        f(lib, part, y)
        out = (base * base).sum() + (sibling * 3).sum() + (part * part.detach()).sum()
        out.backward()
        grads = [lib.zeros_like(t) if t.grad is None else t.grad for t in (x, y) if t.is_leaf]
        results.append([t.detach().numpy() for t in (base, sibling, part, out, *grads)])
    for ours, theirs in zip(*results, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-12)


def test_truth_values_have_no_gradient() -> None:
    for change in (METHODS["logical_and_"], METHODS["logical_not_"]):
        x, y = cr.ones(3, requires_grad=True), cr.ones(3, requires_grad=True)
        change(cr, z := x * 1, y * 1)
        (z * 2).sum().backward()
        assert x.grad is not None
        assert x.grad.tolist() == [0, 0, 0]
        assert y.grad is None or y.grad.tolist() == [0, 0, 0]
    x, y = cr.ones(3), cr.ones(3, requires_grad=True)
    assert not x.eq_(y).requires_grad


def test_a_view_of_a_buffer_takes_values_that_require_grad() -> None:
    results = []
    for lib in (cr, torch):
        w = lib.tensor([1.0, 2.0], requires_grad=True)
        buffer = lib.zeros(2, 2)
        first, second = buffer[0], buffer[1]
        first.copy_(w * w)
        assert second.grad_fn is not None  # until asked, torch takes it for a leaf
        second += w
        assert buffer.requires_grad
        assert first.requires_grad
        (buffer * lib.tensor([[1.0, 2.0], [3.0, 4.0]])).sum().backward()
        results.append([buffer.detach().numpy(), first.detach().numpy(), w.grad.numpy()])
    for ours, theirs in zip(*results, strict=True):
        np.testing.assert_allclose(ours, theirs)


def test_a_tensor_changed_by_itself() -> None:
    def f(x: cr.Tensor) -> cr.Tensor:
        y = x * 1
        y.mul_(y)
        return y

    assert cr.autograd.gradcheck(f, cr.tensor(values(2, 2), requires_grad=True))


def test_indexed_update() -> None:
    results = []
    for lib in (cr, torch):
        x = lib.tensor(values(3, 4), requires_grad=True)
        y = x * 2
        y[1] *= 3
        y[:, 0] += x[:, 1]
        y[y.detach() > 3] -= 1
        (y * y).sum().backward()
        results.append([y.detach().numpy(), x.grad.numpy()])
    for ours, theirs in zip(*results, strict=True):
        np.testing.assert_allclose(ours, theirs)


def test_gradients_of_gradients_through_a_changed_view() -> None:
    def f(x: cr.Tensor) -> cr.Tensor:
        y = x * x
        y[0].mul_(x[1])
        y[1, 0] = x[0, 1] * 2
        return y * y

    x = cr.tensor(values(2, 2), requires_grad=True)
    assert cr.autograd.gradcheck(f, x)
    assert cr.autograd.gradgradcheck(f, x)


REFUSED: dict[str, tuple[Callable[[Any], Any], str]] = {
    "a leaf": (lambda lib: lib.ones(2, requires_grad=True).add_(1), "a leaf Variable that requires grad"),
    "a leaf, +=": (lambda lib: lib.ones(2, requires_grad=True).__iadd__(1), "a leaf Variable that requires grad"),
    "a leaf's view": (lambda lib: lib.ones(2, requires_grad=True)[0].zero_(), "a view of a leaf Variable"),
    "a leaf's entry": (lambda lib: lib.ones(2, requires_grad=True).__setitem__(0, 1.0), "leaf Variable that requires"),
    "overlapping": (lambda lib: lib.ones(1).expand(3).add_(1), "more than one element"),
    "overlapping entries": (lambda lib: lib.ones(1).expand(3).__setitem__(slice(2), 2.0), "more than one element"),
    "growing": (lambda lib: lib.ones(1).add_(lib.ones(3)), "doesn't match the broadcast shape"),
    "float into int": (lambda lib: lib.ones(2, dtype=lib.int64).add_(1.5), "can't be cast"),
    "copy too large": (lambda lib: lib.ones(2).copy_(lib.ones(3)), "must match|shape"),
}


@pytest.mark.parametrize(("f", "message"), REFUSED.values(), ids=REFUSED)
def test_refused_as_by_torch(f: Callable[[Any], Any], message: str) -> None:
    with pytest.raises(RuntimeError):
        f(torch)
    with pytest.raises(RuntimeError, match=message):
        f(cr)


SAVED: dict[str, Callable[[Any, Any], Any]] = {
    "input": lambda lib, x: (lambda y: (y * y, y.add_(1))[0])(x * 1),
    "output": lambda lib, x: (lambda y: y.add_(1))((x * 1).exp()),
    "through a view": lambda lib, x: (lambda y: (y * y, y[0].zero_())[0])(x * 1),
    "a view was saved": lambda lib, x: (lambda y: (y[0] * y[1], y.zero_())[0])(x * 1),
    "through detach": lambda lib, x: (lambda y: (y.exp(), y.mul(y), y.detach().zero_())[1])(x * 1),
    "by index": lambda lib, x: (lambda y: (y * y, y.__setitem__(0, 0.0))[0])(x * 1),
    "output, in place": lambda lib, x: (x * 1).relu_().add_(1),
    "output, in place, through detach": lambda lib, x: (lambda y: (y, y.detach().zero_())[0])((x * 1).exp_()),
}


@pytest.mark.parametrize("f", SAVED.values(), ids=SAVED)
def test_a_saved_tensor_that_was_modified_is_noticed(f: Callable[[Any, Any], Any]) -> None:
    for lib in (cr, torch):
        x = lib.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
        out = f(lib, x).sum()
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            out.backward()


# What else refers to a tensor's memory, and what it sees there.
REFERRING: dict[str, Callable[[Any], Callable[[], Any]]] = {
    "nothing": lambda y: list,
    "detached": lambda y: (lambda d: d.tolist)(y.detach()),
    "a view": lambda y: (lambda v: v.tolist)(y[1:]),
    "a view without history": lambda y: (lambda v: v.tolist)(y.detach()[0]),
    "an array": lambda y: (lambda a: a.tolist)(y.detach().numpy()),
    "a view of an array": lambda y: (lambda a: a.tolist)(y.detach().numpy()[::-1]),
}
ACTIVATIONS: dict[str, Callable[[Any, Any], Any]] = {
    "relu": lambda lib, y: lib.nn.functional.relu(y, inplace=True),
    "leaky_relu": lambda lib, y: lib.nn.functional.leaky_relu(y, 0.1, inplace=True),
    "elu": lambda lib, y: lib.nn.functional.elu(y, inplace=True),
    "silu": lambda lib, y: lib.nn.functional.silu(y, inplace=True),
    "hardtanh": lambda lib, y: lib.nn.functional.hardtanh(y, inplace=True),
    "dropout": lambda lib, y: lib.nn.functional.dropout(y, training=False, inplace=True),
    "exp_": lambda lib, y: y.exp_(),
    "relu_ + 1": lambda lib, y: y.relu_() + 1,
    "+= of what was saved": lambda lib, y: (y.sigmoid(), y.__iadd__(1))[0],
}


@pytest.mark.parametrize("activation", ACTIVATIONS.values(), ids=ACTIVATIONS)
@pytest.mark.parametrize("referring", REFERRING.values(), ids=REFERRING)
def test_who_refers_to_the_memory_sees_the_change(
    activation: Callable[[Any, Any], Any], referring: Callable[[Any], Callable[[], Any]]
) -> None:
    results = []
    for lib in (cr, torch):
        x = lib.tensor((values(3, 4) - 1).astype(np.float32), requires_grad=True)
        y = x * 2
        seen = referring(y)
        z = activation(lib, y)
        z.sum().backward()
        results.append([np.asarray(seen()), y.detach().numpy(), z.detach().numpy(), x.grad.numpy()])
    for a, b in zip(*results, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7)


def test_an_activation_in_place_is_not_copied() -> None:
    x = cr.ones(1000, 1000, requires_grad=True)
    y = x * 2
    address, before = y.data_ptr(), cr.memory_stats()
    assert y.relu_() is y
    assert y.data_ptr() != address  # the result's, in which nobody can have looked for y
    assert cr.memory_stats()["allocated_bytes"] == before["allocated_bytes"]
    with cr.no_grad():
        z = x * 2
        address = z.data_ptr()
        assert z.relu_().data_ptr() == address


def test_what_needs_no_saved_value_may_be_modified() -> None:
    for lib in (cr, torch):
        x = lib.tensor([1.0, 2.0], requires_grad=True)
        y = x * 3
        z = y + 1
        y.zero_()
        z.sum().backward()
        assert x.grad.tolist() == [3, 3]


def test_versions() -> None:
    x = cr.ones(3)
    assert x._version == 0
    x.add_(1)
    x[0] = 2
    view = x[1:]
    view.zero_()
    assert x._version == view._version == x.detach()._version == 3
    assert x.data._version == 0


def test_an_optimizer_step_by_hand() -> None:
    w = cr.ones(2, requires_grad=True)
    (w * cr.tensor([1.0, 2.0])).sum().backward()
    with cr.no_grad():
        w -= 0.5 * w.grad
        w.grad.zero_()
    assert w.requires_grad
    assert w.is_leaf
    assert w.tolist() == [0.5, 0.0]
    w.data.add_(1)
    assert w.tolist() == [1.5, 1.0]
    w.data = cr.zeros(2)
    assert w.tolist() == [0, 0]


def test_detach_in_place_and_requires_grad() -> None:
    x = cr.ones(2, requires_grad=True)
    y = x * 2
    assert y.detach_() is y
    assert not y.requires_grad
    assert y.is_leaf
    z = x * 2
    with pytest.raises(RuntimeError, match="leaf variables"):
        z.requires_grad = False
    x.requires_grad_(False)
    assert not (x * 2).requires_grad
