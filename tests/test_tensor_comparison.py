"""Comparisons, logic, bits and rounding against torch, operators included."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
import pytest

import chainrule as cr

torch = pytest.importorskip("torch")

OPERANDS: dict[str, Any] = {
    "float32": np.array([-1.5, 0.0, 2.0, np.nan, np.inf], np.float32),
    "float64": np.array([-1.5, 0.1, 2.0, 3.0, -np.inf]),
    "int64": np.array([-2, 0, 1, 2, 3]),
    "int32": np.array([2, 0, 1, 2, 3], np.int32),
    "bool": np.array([True, False, True, False, True]),
    "column": np.array([[-1.5], [2.0]], np.float32),
    "0-d float64": np.array(0.1),
    "0-d int": np.array(2),
    "float": 0.1,
    "int": 2,
    "True": True,
}
COMPARE = [operator.eq, operator.ne, operator.lt, operator.le, operator.gt, operator.ge]
BITS = [operator.and_, operator.or_, operator.xor]


def sides(a: Any, b: Any, lib: Any) -> list[Any]:
    return [lib.tensor(v) if isinstance(v, np.ndarray) else v for v in (a, b)]


@pytest.mark.parametrize("f", COMPARE, ids=lambda f: f.__name__)
@pytest.mark.parametrize("b", OPERANDS.values(), ids=OPERANDS)
@pytest.mark.parametrize("a", OPERANDS.values(), ids=OPERANDS)
def test_comparing(a: Any, b: Any, f: Any) -> None:
    if not isinstance(a, np.ndarray) and not isinstance(b, np.ndarray):
        return
    ours, theirs = f(*sides(a, b, cr)), f(*sides(a, b, torch))
    assert ours.dtype == np.bool_
    np.testing.assert_array_equal(ours.numpy(), theirs.numpy())


@pytest.mark.parametrize("f", BITS, ids=lambda f: f.__name__)
@pytest.mark.parametrize("b", ["int64", "int32", "bool", "int", "True"])
@pytest.mark.parametrize("a", ["int64", "int32", "bool"])
def test_bits(a: str, b: str, f: Any) -> None:
    ours, theirs = f(*sides(OPERANDS[a], OPERANDS[b], cr)), f(*sides(OPERANDS[a], OPERANDS[b], torch))
    assert str(ours.dtype) == str(theirs.dtype).removeprefix("torch.")
    np.testing.assert_array_equal(ours.numpy(), theirs.numpy())
    ours, theirs = f(*sides(OPERANDS[b], OPERANDS[a], cr)), f(*sides(OPERANDS[b], OPERANDS[a], torch))
    np.testing.assert_array_equal(ours.numpy(), theirs.numpy())


UNARY = ["isnan", "isinf", "isfinite", "logical_not", "floor", "ceil", "trunc", "round", "sign", "all", "any"]


@pytest.mark.parametrize("name", UNARY)
@pytest.mark.parametrize("key", ["float32", "float64", "int64", "0-d float64", "column"])
def test_one_operand(name: str, key: str) -> None:
    ours, theirs = getattr(cr.tensor(OPERANDS[key]), name)(), getattr(torch.tensor(OPERANDS[key]), name)()
    assert str(ours.dtype) == str(theirs.dtype).removeprefix("torch.")
    np.testing.assert_array_equal(ours.numpy(), theirs.numpy())


def test_halves_round_to_even_and_gradients_are_zero() -> None:
    x = cr.tensor([0.5, 1.5, -2.5], requires_grad=True)
    y = x.round()
    assert y.tolist() == [0, 2, -2]
    y.backward(cr.ones(3))
    assert x.grad is not None
    assert x.grad.tolist() == [0, 0, 0]


def test_along_a_dimension() -> None:
    x = cr.tensor([[True, False], [True, True]])
    assert x.all(1).tolist() == [False, True]
    assert x.any(0, keepdim=True).tolist() == [[True, True]]
    assert (~x).tolist() == [[False, True], [False, False]]
    assert cr.logical_xor(x, x[0]).tolist() == [[False, False], [False, True]]


def test_refused() -> None:
    x = cr.ones(3)
    with pytest.raises(RuntimeError, match="integer or bool"):
        operator.and_(x, x)
    with pytest.raises(RuntimeError, match="integer or bool"):
        operator.invert(x)
    with pytest.raises(RuntimeError, match=r"shapes \[3\] and \[2\]"):
        operator.lt(x, cr.ones(2))
    with pytest.raises(TypeError):
        operator.lt(x, "a")
    assert (x == "a") is False
    assert (x == None) is False  # noqa: E711


def test_closeness() -> None:
    x = cr.tensor([1.0, 2.0])
    assert x.allclose(cr.tensor([1.0, 2.000001]))
    assert not x.allclose(cr.tensor([1.0, 2.1]))
    assert x.isclose(cr.tensor([1.0, 2.1])).tolist() == [True, False]
    assert cr.equal(x, x.clone())
    assert not x.equal(cr.ones(3))
