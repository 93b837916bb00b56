"""softmax, log_softmax and cross-entropy against torch and central differences."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import chainrule
from chainrule import ops
from tests.ops.against_torch import check, compare

RNG = np.random.default_rng(0)
X = RNG.standard_normal((3, 4, 5))


@pytest.mark.parametrize("dim", [0, 1, -1])
@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_along_each_dimension(name: str, dim: int) -> None:
    torch = pytest.importorskip("torch")
    compare(lambda x: getattr(ops, name)(x, dim), lambda x: getattr(torch, name)(x, dim), [X])
    check(lambda x: getattr(ops, name)(x, dim), [X[:2, :2, :3]])


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_extreme_scores(name: str) -> None:
    torch = pytest.importorskip("torch")
    inf = np.inf
    x = np.array([[1e30, 1e30, 0], [-1e30, 0, 1], [-inf, 0, 1], [-inf, -inf, 3], [-inf, -inf, -inf], [inf, 0, 1]])
    x = x.astype(np.float32)
    for axis in (0, 1):
        data = np.ascontiguousarray(x if axis else x.T)
        got = getattr(ops, name)(chainrule.Tensor(data), axis).numpy()
        np.testing.assert_allclose(got, getattr(torch, name)(torch.tensor(data), axis).numpy(), rtol=1e-6)


def test_scalar() -> None:
    x = chainrule.Tensor(np.array(3.0), requires_grad=True)
    assert ops.softmax(x, 0).item() == 1
    assert ops.log_softmax(x, -1).item() == 0
    with pytest.raises(IndexError, match="softmax"):
        ops.softmax(x, 1)


SHAPES: list[tuple[int, ...]] = [(5,), (6, 5), (3, 5, 4), (2, 3, 4, 2)]
OPTIONS = [
    {"reduction": r, "label_smoothing": s, "weighted": w}
    for r in ("none", "mean", "sum")
    for s in (0.0, 0.2)
    for w in (False, True)
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("kind", ["labels", "probabilities", "learned"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_cross_entropy(shape: tuple[int, ...], kind: str, options: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(1)
    axis = 0 if len(shape) == 1 else 1
    positions = shape[:axis] + shape[axis + 1 :]
    x = rng.standard_normal(shape)
    weight = rng.random(shape[axis]) + 0.5 if options["weighted"] else None
    rest = {k: options[k] for k in ("reduction", "label_smoothing")}
    if kind == "labels":
        target = np.asarray(rng.integers(0, shape[axis], positions))
        if positions:
            target.reshape(-1)[1] = 3 % shape[axis]
            rest["ignore_index"] = 3 % shape[axis]
    else:
        target = rng.random(shape)
    w = None if weight is None else chainrule.Tensor(weight)
    v = None if weight is None else torch.tensor(weight)
    arrays = [x, target] if kind == "learned" else [x]
    t, u = chainrule.Tensor(target), torch.tensor(target)
    compare(
        lambda a, b=t: ops.cross_entropy(a, b, w, **rest),
        lambda a, b=u: torch.nn.functional.cross_entropy(a, b, v, **rest),
        arrays,
    )


def test_nothing_but_ignored_labels() -> None:
    x = chainrule.Tensor(np.ones((2, 3)), requires_grad=True)
    ignored = chainrule.Tensor(np.array([-100, -100]))
    loss = ops.cross_entropy(x, ignored)
    assert np.isnan(loss.item())
    loss.backward()
    np.testing.assert_array_equal(x.grad.numpy(), np.zeros((2, 3)))
    assert ops.cross_entropy(x, ignored, reduction="sum").item() == 0
