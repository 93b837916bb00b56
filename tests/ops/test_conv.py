"""conv2d against torch: values, gradients, gradients of gradients; and against finite differences."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import ops
from chainrule.autograd import gradcheck

CASES: list[tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = [
    ((2, 3, 5, 6), (4, 3, 3, 3), {}),
    ((2, 3, 5, 6), (4, 3, 3, 2), {"stride": 2, "padding": 1}),
    ((2, 4, 7, 6), (4, 2, 3, 3), {"stride": (1, 3), "padding": (2, 1), "dilation": (2, 1), "groups": 2}),
    ((2, 3, 5, 6), (3, 1, 3, 3), {"groups": 3, "padding": 1}),
    ((3, 5, 6), (4, 3, 3, 3), {"padding": 1}),
    ((2, 3, 5, 6), (4, 3, 3, 3), {"padding": "same"}),
    ((2, 3, 5, 6), (4, 3, 2, 4), {"padding": "same", "dilation": (1, 2)}),
    ((2, 3, 5, 6), (4, 3, 4, 2), {"padding": "valid"}),
    ((0, 3, 5, 6), (4, 3, 3, 3), {}),
]


def tensors(*shapes: tuple[int, ...]) -> tuple[list[np.ndarray], list[Any]]:
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal(s) for s in shapes]
    return arrays, [cr.tensor(a, requires_grad=True) for a in arrays]


@pytest.mark.parametrize(("x", "w", "options"), CASES)
@pytest.mark.filterwarnings("ignore:Using padding='same'")
def test_gradients_of_two_orders_are_torchs(x: Any, w: Any, options: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch")
    probe = torch.nn.functional.conv2d(torch.zeros(x), torch.zeros(w), **options)
    arrays, (*ours, dy) = tensors(x, w, (w[0],), tuple(probe.shape))
    *theirs, tdy = [torch.from_numpy(a).requires_grad_() for a in arrays]
    y, want = ops.conv2d(*ours, **options), torch.nn.functional.conv2d(*theirs, **options)
    np.testing.assert_allclose(y.detach().numpy(), want.detach(), atol=1e-12)
    first = cr.autograd.grad([y], ours, [dy], create_graph=True)
    first_want = torch.autograd.grad([want], theirs, [tdy], create_graph=True)
    for g, e in zip(first, first_want, strict=True):
        np.testing.assert_allclose(g.detach().numpy(), e.detach(), atol=1e-11)
    if 0 in x:
        return  # torch leaves such gradients out of its graph
    arrays, directions = tensors(x, w, (w[0],))  # one per gradient: its own gradient with respect to x, w and dy
    second = cr.autograd.grad(first, [*ours[:2], dy], directions)
    second_want = torch.autograd.grad(first_want, [*theirs[:2], tdy], [torch.from_numpy(a) for a in arrays])
    for g, e in zip(second, second_want, strict=True):
        np.testing.assert_allclose(g.detach().numpy(), e.detach(), atol=1e-11)


@pytest.mark.parametrize(("x", "w", "options"), [c for c in CASES if c[0][0] > 0])
def test_gradcheck(x: Any, w: Any, options: dict[str, Any]) -> None:
    _, inputs = tensors(x, w, (w[0],))
    assert gradcheck(lambda *t: ops.conv2d(*t, **options), inputs)


def test_only_needed_gradients_are_computed() -> None:
    (x, w), _ = tensors((1, 2, 4, 4), (3, 2, 3, 3))
    weight = cr.tensor(w, requires_grad=True)
    image = cr.tensor(x)
    ops.conv2d(image, weight).backward(cr.tensor(np.ones((1, 3, 2, 2))))
    assert image.grad is None
    assert weight.grad is not None
    assert weight.grad.shape == (3, 2, 3, 3)


@pytest.mark.parametrize(
    ("options", "match"),
    [({"padding": "same", "stride": 2}, "'padding'"), ({"padding": "full"}, "'padding'"), ({"stride": 0}, "'stride'")],
)
def test_refuses(options: dict[str, Any], match: str) -> None:
    _, (x, w) = tensors((1, 2, 4, 4), (3, 2, 3, 3))
    with pytest.raises(ValueError, match=f"conv2d: .*{match}"):
        ops.conv2d(x, w, **options)
