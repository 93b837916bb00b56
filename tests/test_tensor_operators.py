"""Operators: arrays and numbers beside tensors, dtypes of mixed operands against torch."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
import pytest

import chainrule as cr


def test_operators_with_arrays_and_numpy_scalars_give_tensors() -> None:
    x = cr.tensor([1.0, 2.0], requires_grad=True)
    array = np.array([3.0, 4.0], np.float32)
    for y in (x * array, array * x):
        assert isinstance(y, cr.Tensor)
        assert y.requires_grad
        assert y.tolist() == [3.0, 8.0]
    assert (array - x).tolist() == [2.0, 2.0]
    assert isinstance(np.float64(2) * x, cr.Tensor)
    assert (np.float64(2) * x).dtype == np.float32
    assert (np.float32(2) / x).tolist() == [2.0, 1.0]
    assert (x > array).tolist() == [False, False]
    assert x.__add__("a") is NotImplemented
    assert (x == None) is False  # noqa: E711
    with pytest.raises(TypeError):
        x + "a"


DTYPES = [np.float32, np.float64, np.int64, np.int32, np.uint8, np.bool_]
OPERATORS = [operator.add, operator.sub, operator.mul, operator.truediv]
NUMBERS = [2, 2.5, True]


def same(ours: Any, theirs: Any) -> None:
    assert str(ours.dtype) == str(theirs.dtype).removeprefix("torch.")
    assert ours.shape == tuple(theirs.shape)
    np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=1e-6)


def results(f: Any, a: Any, b: Any) -> list[Any]:
    """What f gives in either library: a result, or that it refuses."""
    torch = pytest.importorskip("torch")
    found: list[Any] = []
    for lib in (cr, torch):
        x, y = (lib.tensor(v) if isinstance(v, np.ndarray) else v for v in (a, b))
        try:
            found.append(f(x, y))
        except RuntimeError:
            found.append(None)
    return found


@pytest.mark.parametrize("f", OPERATORS, ids=lambda f: f.__name__)
@pytest.mark.parametrize("b", DTYPES, ids=lambda d: d.__name__)
@pytest.mark.parametrize("a", DTYPES, ids=lambda d: d.__name__)
@pytest.mark.parametrize("shapes", [((3,), (3,)), ((3,), ()), ((), (3,)), ((2, 1), (3,))], ids=str)
def test_dtypes_of_two_tensors(a: Any, b: Any, f: Any, shapes: Any) -> None:
    ours, theirs = results(f, np.full(shapes[0], 3).astype(a), np.full(shapes[1], 1).astype(b))
    if theirs is not None:  # torch refuses to subtract bools
        same(ours, theirs)


@pytest.mark.parametrize("f", OPERATORS, ids=lambda f: f.__name__)
@pytest.mark.parametrize("number", NUMBERS, ids=str)
@pytest.mark.parametrize("dtype", DTYPES, ids=lambda d: d.__name__)
@pytest.mark.parametrize("shape", [(3,), ()], ids=str)
def test_dtypes_beside_numbers(dtype: Any, number: Any, f: Any, shape: Any) -> None:
    x = np.full(shape, 3).astype(dtype)
    for a, b in ((x, number), (number, x)):
        ours, theirs = results(f, a, b)
        if theirs is not None:  # torch refuses to subtract bools
            same(ours, theirs)


@pytest.mark.parametrize("f", [operator.floordiv, operator.mod], ids=lambda f: f.__name__)
@pytest.mark.parametrize("b", [2, -2, 2.5, np.array([2, -3, 4]), np.array([2.5, -3, 4])], ids=str)
@pytest.mark.parametrize("a", [np.array([7, -7, 8]), np.array([7.5, -7.5, 8])], ids=str)
def test_quotients_and_remainders(a: Any, b: Any, f: Any) -> None:
    same(*results(f, a, b))
    if not isinstance(b, np.ndarray):
        same(*results(f, b, a))


@pytest.mark.parametrize("b", [2, 0, 3.5, np.array([1.0, 2.0, 0.5])], ids=str)
def test_powers(b: Any) -> None:
    a = np.array([1.5, 2.0, 3.0])
    same(*results(operator.pow, a, b))
    same(*results(operator.pow, b, a))


def test_unary_operators() -> None:
    x = cr.tensor([-1.0, 2.0])
    assert (-x).tolist() == [1, -2]
    assert (+x) is x
    assert abs(x).tolist() == [1, 2]
    assert (x @ x).item() == 5
    assert (~cr.tensor([True, False])).tolist() == [False, True]


def test_every_method_has_its_operation() -> None:
    """Methods forward by name: an operation that is missing is noticed here and not by a user."""
    import inspect
    import re

    for module in (cr.tensor_cast, cr.tensor_inplace, cr.tensor_math, cr.tensor_shape):
        names = set(re.findall(r"chainrule\.ops\.(\w+)", inspect.getsource(module)))
        assert names
        assert not [n for n in sorted(names) if not hasattr(cr.ops, n)], module.__name__
