"""Views and reshapes against torch: shape, strides, shared memory, gradients; joins and splits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.autograd import gradcheck, gradgradcheck

torch = pytest.importorskip("torch")

VIEWS: dict[str, Callable[[Any], Any]] = {
    "view": lambda x: x.view(6, 4),
    "view tuple": lambda x: x.view((2, -1)),
    "view_as": lambda x: x.view_as(x.reshape(4, 6)),
    "reshape": lambda x: x.reshape(-1),
    "reshape copy": lambda x: x.transpose(0, 1).reshape(6, 4),
    "reshape of a slice": lambda x: x[:, 1:].reshape(2, 8),
    "view of a slice": lambda x: x[:, :, 1:3].view(2, 3, 2, 1),
    "permute": lambda x: x.permute(2, 0, 1),
    "permute tuple": lambda x: x.permute((1, -1, 0)),
    "transpose": lambda x: x.transpose(-1, 0),
    "T": lambda x: x[0].T,
    "mT": lambda x: x.mT,
    "t": lambda x: x[1].t(),
    "movedim": lambda x: x.movedim(0, -1),
    "moveaxis": lambda x: x.moveaxis(0, -1),
    "swapdims": lambda x: x.swapdims(0, 2),
    "movedim many": lambda x: x.movedim((0, 1), (2, 0)),
    "flatten": lambda x: x.flatten(),
    "flatten some": lambda x: x.flatten(1),
    "flatten 0-d": lambda x: x[0, 0, 0].flatten(),
    "unflatten": lambda x: x.unflatten(2, (2, -1)),
    "squeeze": lambda x: x.unsqueeze(1).unsqueeze(-1).squeeze(),
    "squeeze one": lambda x: x[:1].squeeze(0),
    "squeeze no": lambda x: x.squeeze(1),
    "squeeze some": lambda x: x[:1, :1].squeeze((0, 1)),
    "unsqueeze": lambda x: x.unsqueeze(-2),
    "expand": lambda x: x[:, :1].expand(2, 5, 4),
    "expand more": lambda x: x[:, :1].expand(3, -1, 5, -1),
    "expand_as": lambda x: x[0].expand_as(x),
    "narrow": lambda x: x.narrow(2, 1, 2),
    "narrow negative": lambda x: x.narrow(1, -2, 2),
    "select": lambda x: x.select(1, -1),
    "diagonal": lambda x: x.diagonal(1, 1, 2),
    "split": lambda x: x.split(2, 1)[1],
    "split list": lambda x: x.split([1, 2], 1)[1],
    "chunk": lambda x: x.chunk(3, 2)[1],
    "tensor_split": lambda x: x.tensor_split(3, 2)[0],
    "tensor_split cuts": lambda x: x.tensor_split((1, 3), 2)[1],
    "unbind": lambda x: x.unbind(1)[2],
    "contiguous": lambda x: x.transpose(0, 2).contiguous(),
    "contiguous already": lambda x: x.contiguous(),
    "clone": lambda x: x.clone(),
    "repeat": lambda x: x.repeat(2, 1, 1, 2),
    "tile": lambda x: x.tile(2, 1),
    "ravel": lambda x: x.ravel(),
}


@pytest.mark.parametrize("f", VIEWS.values(), ids=VIEWS)
def test_view(f: Callable[[Any], Any]) -> None:
    values = np.arange(24.0).reshape(2, 3, 4)
    x, w = cr.tensor(values, requires_grad=True), torch.tensor(values, requires_grad=True)
    y, z = f(x), f(w)
    assert y.shape == tuple(z.shape)
    if all(n > 1 for n in y.shape):
        assert y.stride() == z.stride()
    np.testing.assert_array_equal(y.detach().numpy(), z.detach().numpy())
    shares = np.shares_memory(y.detach().numpy(), x.detach().numpy())
    assert shares == (z.untyped_storage().data_ptr() == w.untyped_storage().data_ptr())
    weights = np.random.default_rng(0).standard_normal(y.shape)
    y.backward(cr.tensor(weights))
    z.backward(torch.tensor(weights))
    assert x.grad is not None
    np.testing.assert_allclose(x.grad.numpy(), w.grad.numpy())


@pytest.mark.parametrize("f", VIEWS.values(), ids=VIEWS)
def test_gradients_of_gradients(f: Callable[[Any], Any]) -> None:
    x = cr.tensor(np.random.default_rng(0).standard_normal((2, 3, 4)), requires_grad=True)
    assert gradcheck(f, x)
    assert gradgradcheck(f, x)


BAD: dict[str, tuple[Callable[[Any], Any], Any]] = {
    "view of a transpose": (lambda x: x.mT.view(-1), RuntimeError),
    "wrong size": (lambda x: x.view(5, 5), RuntimeError),
    "two unknown": (lambda x: x.view(-1, -1), RuntimeError),
    "negative": (lambda x: x.reshape(-2, 12), RuntimeError),
    "no divisor": (lambda x: x.reshape(-1, 5), RuntimeError),
    "permute twice": (lambda x: x.permute(0, 0, 1), RuntimeError),
    "permute few": (lambda x: x.permute(0, 1), RuntimeError),
    "transpose": (lambda x: x.transpose(0, 3), IndexError),
    "t": (lambda x: x.t(), RuntimeError),
    "expand": (lambda x: x.expand(2, 3, 5), RuntimeError),
    "expand fewer": (lambda x: x.expand(3, 4), RuntimeError),
    "expand new -1": (lambda x: x.expand(-1, 2, 3, 4), RuntimeError),
    "narrow": (lambda x: x.narrow(0, 1, 2), RuntimeError),
    "select": (lambda x: x.select(0, 2), IndexError),
    "squeeze": (lambda x: x.squeeze(3), IndexError),
    "unsqueeze": (lambda x: x.unsqueeze(4), IndexError),
    "split sizes": (lambda x: x.split([1, 1], 1), RuntimeError),
    "split zero": (lambda x: x.split(0), RuntimeError),
    "chunk zero": (lambda x: x.chunk(0), RuntimeError),
    "flatten order": (lambda x: x.flatten(2, 1), RuntimeError),
    "repeat few": (lambda x: x.repeat(2), RuntimeError),
    "diagonal": (lambda x: x.diagonal(0, 1, 1), RuntimeError),
}


@pytest.mark.parametrize(("f", "error"), BAD.values(), ids=BAD)
def test_bad_views_raise_what_torch_raises(f: Callable[[Any], Any], error: Any) -> None:
    values = np.arange(24.0).reshape(2, 3, 4)
    with pytest.raises(error):
        f(torch.tensor(values))
    with pytest.raises(error):
        f(cr.tensor(values))


JOINS: dict[str, Callable[[Any, Any, Any], Any]] = {
    "cat": lambda lib, x, y: lib.cat([x, y]),
    "cat 1": lambda lib, x, y: lib.cat((x, y, x), dim=1),
    "cat empty": lambda lib, x, y: lib.cat([lib.zeros(0), x]),
    "cat dtypes": lambda lib, x, y: lib.cat([x, lib.ones(1, 3, dtype=lib.int64)]),
    "stack": lambda lib, x, y: lib.stack([x, y]),
    "stack last": lambda lib, x, y: lib.stack([x, y], -1),
    "hstack": lambda lib, x, y: lib.hstack([x, y]),
    "vstack": lambda lib, x, y: lib.vstack([x, y[0]]),
    "where": lambda lib, x, y: lib.where(lib.tensor([True, False, True]), x, y[0]),
    "meshgrid": lambda lib, x, y: lib.meshgrid(x[0], y[0], indexing="xy")[1],
    "broadcast": lambda lib, x, y: lib.broadcast_tensors(x, y[0])[1],
}


@pytest.mark.parametrize("f", JOINS.values(), ids=JOINS)
def test_join(f: Callable[[Any, Any, Any], Any]) -> None:
    results = []
    for lib in (cr, torch):
        x = lib.tensor(np.arange(6.0, dtype=np.float32).reshape(2, 3), requires_grad=True)
        y = lib.tensor(-np.arange(6.0, dtype=np.float32).reshape(2, 3), requires_grad=True)
        out = f(lib, x, y)
        weights = np.random.default_rng(0).standard_normal(out.shape).astype(np.float32)
        out.backward(lib.tensor(weights))
        results.append([out.detach().numpy(), *[t.grad.numpy() for t in (x, y) if t.grad is not None]])
    assert len(results[0]) == len(results[1])
    for ours, theirs in zip(*results, strict=True):
        assert ours.dtype == theirs.dtype
        np.testing.assert_allclose(ours, theirs, rtol=1e-6)


def test_joins_refuse_what_does_not_fit() -> None:
    with pytest.raises(RuntimeError, match=r"Expected .* for tensor number 1"):
        cr.cat([cr.ones(2, 3), cr.ones(2, 4)])
    with pytest.raises(RuntimeError, match="equal size"):
        cr.stack([cr.ones(2), cr.ones(3)])
    with pytest.raises(RuntimeError, match="non-empty"):
        cr.cat([])
    with pytest.raises(TypeError, match="element 1"):
        cr.cat([cr.ones(1), np.ones(1)])  # type: ignore[list-item]
    with pytest.raises(RuntimeError, match="boolean"):
        cr.where(cr.ones(2), 1.0, 2.0)


def test_split_writes_its_gradient_in_one_go() -> None:
    x = cr.tensor(np.arange(24.0, dtype=np.float32).reshape(4, 6), requires_grad=True)
    a, b, c = x.split([1, 3, 2], 1)
    assert a.grad_fn is b.grad_fn is c.grad_fn
    (a.sum() * 2 + (c * c).sum()).backward()
    expected = np.zeros((4, 6), np.float32)
    expected[:, :1] = 2
    expected[:, 4:] = 2 * x.detach().numpy()[:, 4:]
    np.testing.assert_array_equal(x.grad.numpy(), expected)


def test_gradient_of_split_is_differentiable() -> None:
    x = cr.tensor(np.arange(1.0, 7), requires_grad=True)
    a, _, c = x.chunk(3)
    (dx,) = cr.autograd.grad((a * a * c).sum(), x, create_graph=True)
    (ddx,) = cr.autograd.grad((dx * dx).sum(), x)
    a_, c_ = x.detach().numpy()[:2], x.detach().numpy()[4:]
    expected = np.concatenate([8 * a_ * c_**2 + 4 * a_**3, np.zeros(2), 8 * a_**2 * c_])
    np.testing.assert_allclose(ddx.numpy(), expected)


def test_part_of_a_split_changed_in_place() -> None:
    leaf = cr.tensor(np.arange(6.0), requires_grad=True)
    x = leaf * 1
    a, b = x.split(3)
    a.mul_(3)
    (x.sum() + (b * b).sum() + a.sum()).backward()
    np.testing.assert_array_equal(leaf.grad.numpy(), np.concatenate([np.full(3, 6.0), 1 + 2 * np.arange(3.0, 6)]))
