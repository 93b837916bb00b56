"""scaled_dot_product_attention against torch and central differences."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import chainrule
from chainrule import nn, ops
from tests.ops.against_torch import compare

RNG = np.random.default_rng(0)
F = nn.functional

Shape = tuple[int, ...]
SHAPES: list[tuple[Shape, Shape, Shape]] = [
    ((2, 3, 5, 4), (2, 3, 5, 4), (2, 3, 5, 4)),
    ((2, 3, 5, 4), (2, 3, 7, 4), (2, 3, 7, 2)),
    ((2, 5, 4), (2, 70, 4), (2, 70, 3)),
    ((70, 4), (5, 4), (5, 4)),
    ((2, 1, 3, 5, 4), (2, 2, 3, 6, 4), (2, 2, 3, 6, 4)),
    ((2, 3, 5, 4), (2, 1, 6, 4), (3, 6, 4)),
    ((1, 1, 3, 4), (1, 1, 0, 4), (1, 1, 0, 2)),
]


def arrays(*shapes: Shape) -> list[np.ndarray]:
    return [RNG.standard_normal(s) for s in shapes]


def in_torch(*args: Any, **options: Any) -> Any:
    """By torch's plain formula: its fused kernel has no second derivative, and NaN for a causal negative scale."""
    torch = pytest.importorskip("torch")
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        return torch.nn.functional.scaled_dot_product_attention(*args, **options)


def both(*shapes: Shape, second: bool = True, masks: Any = (None, None), **options: Any) -> None:
    pytest.importorskip("torch")
    ours, theirs = masks
    compare(
        lambda *a: F.scaled_dot_product_attention(*a, attn_mask=ours, **options),
        lambda *a: in_torch(*a, attn_mask=theirs, **options),
        arrays(*shapes),
        second,
    )


OPTIONS = [{}, {"is_causal": True}, {"scale": 0.3}, {"is_causal": True, "scale": -1.5}]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("shapes", SHAPES, ids=str)
def test_against_torch(shapes: tuple[Shape, Shape, Shape], options: dict[str, Any]) -> None:
    both(*shapes, **options, second=shapes[1][-2] > 0)


MASKS = {
    "rows": RNG.random((5, 7)) < 0.7,
    "padding": RNG.random((2, 1, 1, 7)) < 0.6,
    "a row that sees nothing": np.arange(5)[:, None] * np.ones(7) != 2,
    "added": RNG.standard_normal((3, 5, 7)),
    "minus infinity added": np.where(np.arange(5)[:, None] * np.ones(7) == 1, -np.inf, 0.5),
}


@pytest.mark.parametrize("kind", MASKS)
def test_masks(kind: str) -> None:
    torch = pytest.importorskip("torch")
    mask = MASKS[kind]
    shapes = (2, 3, 5, 4), (2, 3, 7, 4), (2, 3, 7, 2)
    once = "nothing" in kind or "minus" in kind  # torch's second derivative of a row without keys is NaN
    both(*shapes, masks=(chainrule.tensor(mask), torch.tensor(mask)), second=not once)


def test_a_learned_mask() -> None:
    compare(F.scaled_dot_product_attention, in_torch, arrays((2, 3, 4), (2, 5, 4), (2, 5, 4), (3, 5)))


def test_grouped_queries() -> None:
    both((2, 6, 5, 4), (2, 2, 7, 4), (2, 2, 7, 3), enable_gqa=True)


def test_fused_and_composed_agree_in_float32() -> None:
    q, k, v = (chainrule.randn(2, 4, 150, 40) for _ in range(3))
    fused = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    mask = chainrule.tensor(np.tri(150, dtype=bool))
    np.testing.assert_allclose(
        fused.numpy(), F.scaled_dot_product_attention(q, k, v, mask).numpy(), rtol=1e-4, atol=1e-5
    )


def test_transposed_heads_are_not_copied() -> None:
    """(batch, rows, heads, columns) views in, and a result that goes back to (batch, rows, all columns) as a view."""
    x = chainrule.randn(2, 9, 3 * 12, requires_grad=True)
    q, k, v = (t.view(2, 9, 3, 4).transpose(1, 2) for t in x.split(12, 2))
    y = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2)
    assert y.is_contiguous()
    y.reshape(2, 9, 12).sum().backward()
    assert x.grad is not None


def test_dropout_keeps_the_mean_and_is_seeded() -> None:
    q, k = chainrule.zeros(1, 1, 3, 2), chainrule.zeros(1, 1, 20000, 2)
    v = chainrule.ones(1, 1, 20000, 1)
    drawn = []
    for seed in (1, 1, 2):
        chainrule.manual_seed(seed)
        drawn.append(F.scaled_dot_product_attention(q, k, v, dropout_p=0.4).numpy())
    np.testing.assert_array_equal(drawn[0], drawn[1])
    assert (drawn[0] != drawn[2]).all()
    np.testing.assert_allclose(drawn, np.ones_like(drawn), atol=0.05)
    np.testing.assert_array_equal(
        F.scaled_dot_product_attention(q, k, v, dropout_p=1.0).numpy(), np.zeros((1, 1, 3, 1))
    )


X = chainrule.ones(2, 3)
BAD: list[tuple[tuple[Any, ...], dict[str, Any], type[Exception], str]] = [
    ((X[0], X, X), {}, ValueError, "argument 'query' has shape"),
    ((X, X.double(), X), {}, TypeError, "argument 'key' is"),
    ((X, X, X.long()), {}, TypeError, "argument 'value' is"),
    ((X, X[:, :2], X), {}, ValueError, "argument 'key' has shape"),
    ((X, X, X[:1]), {}, ValueError, "argument 'value' has shape"),
    ((X, X, X), {"attn_mask": X[:, :2].bool(), "is_causal": True}, ValueError, "argument 'attn_mask' is given"),
    ((X, X, X), {"attn_mask": X[:, :2].double()}, TypeError, "argument 'attn_mask' is"),
    ((X, X, X), {"dropout_p": 1.5}, ValueError, "argument 'dropout_p' is 1.5"),
]


@pytest.mark.parametrize(("args", "kwargs", "error", "match"), BAD)
def test_bad_input(args: Any, kwargs: Any, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=f"^scaled_dot_product_attention: {match}"):
        ops.scaled_dot_product_attention(*args, **kwargs)
