"""Reductions against torch and central differences."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import chainrule
from chainrule import ops
from tests.ops.against_torch import check, compare

X = np.random.default_rng(0).standard_normal((3, 4, 5))
TIES = np.array([[1.0, 3.0, 3.0], [2.0, 2.0, 2.0]])

CASES: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = [
    *((name, (), {}) for name in ("sum", "mean", "amax", "amin", "max", "min", "std", "var", "prod", "norm")),
    *((name, (dim,), {}) for name in ("sum", "mean", "amax", "amin", "std", "var") for dim in (1, -1, (0, 2))),
    *((name, ((),), {}) for name in ("sum", "mean", "amax", "amin")),  # torch's var over () has a wrong gradient
    *((name, (1, True), {}) for name in ("sum", "mean", "max", "min", "amax", "prod", "logsumexp")),
    *((name, (dim,), {}) for name in ("max", "min", "prod", "logsumexp", "cumsum") for dim in (0, 2)),
    *((name, (1,), {"correction": c, "keepdim": True}) for name in ("var", "std") for c in (0, 1, 2)),
    ("var_mean", (1,), {"correction": 0}),
    ("logsumexp", ((0, 2),), {}),
    *(("norm", (p, 1), {}) for p in (1, 2, 3, float("inf"), -float("inf"), "fro")),
    ("norm", (2, (0, 1), True), {}),
]


def name_of(case: Any) -> str:
    return f"{case[0]}-{case[1]}-{case[2]}"


@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_against_torch(case: Any) -> None:
    torch = pytest.importorskip("torch")
    name, args, kwargs = case
    compare(lambda x: getattr(ops, name)(x, *args, **kwargs), lambda x: getattr(torch, name)(x, *args, **kwargs), [X])


@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_gradients(case: Any) -> None:
    name, args, kwargs = case

    def fn(x: Any) -> Any:
        y = getattr(ops, name)(x, *args, **kwargs)
        return y[0] if isinstance(y, tuple) else y

    check(fn, [X[:2, :3, :3]])


@pytest.mark.parametrize("name", ["amax", "amin", "max", "min"])
def test_ties(name: str) -> None:
    """Full extremes share the gradient between equals; along a dimension the first one gets it."""
    torch = pytest.importorskip("torch")
    compare(getattr(ops, name), getattr(torch, name), [TIES])
    if name.startswith("a"):
        compare(lambda x: getattr(ops, name)(x, 1), lambda x: getattr(torch, name)(x, 1), [TIES])
    else:
        compare(lambda x: getattr(ops, name)(x, 1), lambda x: getattr(torch, name)(x, 1), [TIES])
        values, indices = getattr(ops, name)(chainrule.Tensor(TIES), 1)
        assert indices.dtype == np.int64
        assert indices.numpy().tolist() == ([1, 0] if name == "max" else [0, 0])
        assert values.numpy().tolist() == ([3, 2] if name == "max" else [1, 2])


@pytest.mark.parametrize("zeros", [[0], [1, 4], [0, 3, 5]])
def test_the_gradient_of_a_product_with_zeros(zeros: list[int]) -> None:
    torch = pytest.importorskip("torch")
    x = X.copy()
    x.reshape(-1)[zeros] = 0
    compare(lambda t: ops.prod(t, 2), lambda t: torch.prod(t, 2), [x], second=False)


def test_the_gradient_of_a_root_at_zero_is_zero() -> None:
    x = chainrule.Tensor(np.zeros(4), requires_grad=True)
    ops.norm(x).backward()
    np.testing.assert_array_equal(x.grad.numpy(), np.zeros(4))
    x.grad = None
    ops.std(x).backward()
    np.testing.assert_array_equal(x.grad.numpy(), np.zeros(4))


def test_dtypes() -> None:
    i = chainrule.Tensor(np.array([[1, 2], [3, 4]], np.int32))
    b = chainrule.Tensor(np.array([True, True, False]))
    assert ops.sum(i).dtype == np.int64
    assert ops.sum(i, 0).numpy().tolist() == [4, 6]
    assert ops.sum(b).item() == 2
    assert ops.sum(i, dtype="float32").dtype == np.float32
    assert ops.mean(i, dtype=np.float64).item() == 2.5
    assert ops.max(i).item() == 4
    assert ops.max(i, 0)[1].numpy().tolist() == [1, 1]
    assert ops.argmin(i).item() == 0
    assert ops.cumsum(b, 0).numpy().tolist() == [1, 2, 2]
    assert ops.all(b).item() is False
    assert ops.any(b).item() is True
    with pytest.raises(RuntimeError, match="mean"):
        ops.mean(i)
    with pytest.raises(RuntimeError, match="var"):
        ops.var(i)


def test_scalars() -> None:
    x = chainrule.Tensor(np.array(3.0), requires_grad=True)
    for y in (ops.sum(x, 0), ops.mean(x, -1), ops.max(x, 0)[0], ops.amax(x, 0), ops.cumsum(x, 0), ops.prod(x, 0)):
        assert y.shape == ()
        assert y.item() == 3
        assert isinstance(y.detach().numpy(), np.ndarray)
    assert ops.argmax(x, 0).item() == 0
    for fn in (ops.amax, ops.norm, ops.std, lambda t: ops.logsumexp(t, 0), ops.prod, lambda t: ops.max(t, 0)[0]):
        (g,) = chainrule.autograd.grad(fn(x), [x])
        assert isinstance(g.numpy(), np.ndarray)


def test_nothing() -> None:
    x = chainrule.Tensor(np.zeros((0, 3), np.float32))
    assert ops.sum(x).item() == 0
    assert np.isnan(ops.mean(x, 0).numpy()).all()
    assert np.isnan(ops.var(x, 0).numpy()).all()
    assert ops.sum(x, 1).shape == (0,)
    assert ops.amax(x, 1).shape == (0,)
    for fn in (ops.max, ops.amin, lambda t: ops.max(t, 0), lambda t: ops.argmax(t, 0), ops.argmin):
        with pytest.raises((RuntimeError, IndexError), match="non-zero size"):
            fn(x)


@pytest.mark.parametrize("name", ["sum", "mean", "amax", "max", "argmin", "var", "logsumexp", "cumsum", "any"])
def test_a_dimension_out_of_range(name: str) -> None:
    with pytest.raises(IndexError, match="Dimension out of range"):
        getattr(ops, name)(chainrule.Tensor(X), 3)


def test_a_dimension_twice() -> None:
    with pytest.raises(RuntimeError, match="sum: a dimension appears more than once"):
        ops.sum(chainrule.Tensor(X), (0, -3))
