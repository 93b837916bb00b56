"""Losses against torch and central differences."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import chainrule
from chainrule import ops
from tests.ops.against_torch import check, compare

RNG = np.random.default_rng(0)
X, T = 2 * RNG.standard_normal((4, 3)), RNG.random((4, 3))
REDUCTIONS = ["none", "mean", "sum"]


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("name", ["mse_loss", "l1_loss", "smooth_l1_loss"])
def test_differences(name: str, reduction: str) -> None:
    F = pytest.importorskip("torch").nn.functional
    ours = lambda x, t: getattr(ops, name)(x, t, reduction=reduction)  # noqa: E731
    compare(ours, lambda x, t: getattr(F, name)(x, t, reduction=reduction), [X, T])
    check(ours, [X, T])


@pytest.mark.filterwarnings("ignore:Using a target size")
def test_a_target_that_broadcasts() -> None:
    F = pytest.importorskip("torch").nn.functional
    compare(ops.mse_loss, F.mse_loss, [X, T[:1]])


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("weights", [(False, False), (True, False), (False, True), (True, True)])
def test_binary_cross_entropy_with_logits(weights: tuple[bool, bool], reduction: str) -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(1)
    data = [rng.random(s) if w else None for w, s in zip(weights, ((4, 1), (3,)), strict=True)]
    w, p = (None if d is None else chainrule.Tensor(d) for d in data)
    v, q = (None if d is None else torch.tensor(d) for d in data)

    def ours(x: Any, t: Any) -> Any:
        return ops.binary_cross_entropy_with_logits(x, t, w, p, reduction)

    def theirs(x: Any, t: Any) -> Any:
        return torch.nn.functional.binary_cross_entropy_with_logits(x, t, weight=v, pos_weight=q, reduction=reduction)

    fixed, constant = chainrule.Tensor(T), torch.tensor(T)
    compare(ours, theirs, [X, T])
    compare(lambda x: ours(x, fixed), lambda x: theirs(x, constant), [X])
    compare(lambda x: ours(x, fixed), lambda x: theirs(x, constant), [X], second=False)
    check(lambda x: ours(x, fixed), [X])


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("shape", [(5,), (6, 5), (3, 5, 4)], ids=str)
def test_nll_loss(shape: tuple[int, ...], reduction: str) -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(2)
    axis = 0 if len(shape) == 1 else 1
    target = np.asarray(rng.integers(0, 5, shape[:axis] + shape[axis + 1 :]))
    weight = rng.random(5)
    t, w, u, v = chainrule.Tensor(target), chainrule.Tensor(weight), torch.tensor(target), torch.tensor(weight)
    compare(
        lambda x: ops.nll_loss(x, t, w, 2, reduction),
        lambda x: torch.nn.functional.nll_loss(x, u, v, ignore_index=2, reduction=reduction),
        [rng.standard_normal(shape)],
    )
    with pytest.raises(IndexError, match="nll_loss: a label is out of range"):
        ops.nll_loss(chainrule.Tensor(np.zeros((1, 2))), chainrule.Tensor(np.array([2])))


def test_bad_input() -> None:
    x, t = chainrule.Tensor(X), chainrule.Tensor(T)
    with pytest.raises(ValueError, match="mse_loss: argument 'reduction' is 'average'"):
        ops.mse_loss(x, t, "average")
    with pytest.raises(ValueError, match="Target size"):
        ops.binary_cross_entropy_with_logits(x, chainrule.Tensor(T[:1]))
    with pytest.raises(ValueError, match="average is not a valid value"):
        ops.l1_loss(x, t, "average")
    with pytest.raises(RuntimeError, match=r"mse_loss: shapes .* don't broadcast"):
        ops.mse_loss(x, chainrule.zeros(len(X) + 1, dtype=x.dtype))
    with pytest.raises(ValueError, match="binary_cross_entropy_with_logits: argument 'pos_weight' has shape"):
        ops.binary_cross_entropy_with_logits(x, t, pos_weight=chainrule.ones(97))
    with pytest.raises(RuntimeError, match=r"scaled_dot_product_attention: shapes .* don't broadcast"):
        ops.scaled_dot_product_attention(*(chainrule.zeros(n, 3, 4) for n in (2, 3, 2)))
