"""Pooling against torch: values, gradients, gradients of gradients; and against finite differences."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import ops
from chainrule.autograd import gradcheck

CASES: list[tuple[str, tuple[int, ...], dict[str, Any]]] = [
    ("max_pool2d", (2, 3, 6, 8), {"kernel_size": 2}),
    ("max_pool2d", (2, 3, 7, 9), {"kernel_size": (3, 2), "stride": (2, 1), "padding": 1, "ceil_mode": True}),
    ("max_pool2d", (3, 7, 9), {"kernel_size": 3, "stride": 1, "dilation": 2, "padding": 1}),
    ("avg_pool2d", (2, 3, 6, 8), {"kernel_size": 2}),
    ("avg_pool2d", (2, 3, 7, 9), {"kernel_size": (3, 2), "stride": (2, 1), "padding": 1, "ceil_mode": True}),
    ("avg_pool2d", (2, 3, 7, 9), {"kernel_size": 3, "stride": 2, "padding": 1, "count_include_pad": False}),
    ("avg_pool2d", (3, 7, 9), {"kernel_size": 3, "divisor_override": 4}),
    ("adaptive_avg_pool2d", (2, 3, 7, 9), {"output_size": 1}),
    ("adaptive_avg_pool2d", (2, 3, 7, 9), {"output_size": (3, None)}),
    ("adaptive_avg_pool2d", (3, 7, 9), {"output_size": (4, 5)}),
]


def image(shape: tuple[int, ...]) -> np.ndarray:
    """Distinct values, far apart: finite differences don't change which is the largest."""
    return np.random.default_rng(0).permutation(int(np.prod(shape))).reshape(shape) / 10.0


@pytest.mark.parametrize(("name", "shape", "options"), CASES)
def test_gradients_of_two_orders_are_torchs(name: str, shape: tuple[int, ...], options: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch")
    a = image(shape)
    x, tx = cr.tensor(a, requires_grad=True), torch.from_numpy(a).requires_grad_()
    y, want = getattr(ops, name)(x, **options), getattr(torch.nn.functional, name)(tx, **options)
    np.testing.assert_allclose(y.detach().numpy(), want.detach(), atol=1e-12)
    v = np.random.default_rng(1).standard_normal(want.shape)
    dy, tdy = cr.tensor(v, requires_grad=True), torch.from_numpy(v).requires_grad_()
    (first,) = cr.autograd.grad([y], [x], [dy], create_graph=True)
    (first_want,) = torch.autograd.grad([want], [tx], [tdy], create_graph=True)
    np.testing.assert_allclose(first.detach().numpy(), first_want.detach(), atol=1e-12)
    (second,) = cr.autograd.grad([first], [dy], [cr.tensor(a)])
    (second_want,) = torch.autograd.grad([first_want], [tdy], [torch.from_numpy(a)])
    np.testing.assert_allclose(second.detach().numpy(), second_want.detach(), atol=1e-12)


@pytest.mark.parametrize(("name", "shape", "options"), CASES)
def test_gradcheck(name: str, shape: tuple[int, ...], options: dict[str, Any]) -> None:
    assert gradcheck(lambda t: getattr(ops, name)(t, **options), [cr.tensor(image(shape), requires_grad=True)])


def test_indices_come_with_the_values_when_asked_for() -> None:
    x = cr.tensor(np.arange(16.0).reshape(1, 4, 4), requires_grad=True)
    y, indices = ops.max_pool2d(x, 2, return_indices=True)
    assert y.shape == indices.shape == (1, 2, 2)
    assert indices.numpy().ravel().tolist() == [5, 7, 13, 15]
    assert not indices.requires_grad
