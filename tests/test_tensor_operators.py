"""Operators: arrays and numbers beside tensors, dtypes of mixed operands against torch."""

from __future__ import annotations

import operator
from collections.abc import Callable
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


NAMES: dict[str, Callable[[Any, Any, Any], Any]] = {
    "clamp_min": lambda lib, x, y: lib.clamp_min(x, 0.5),
    "clamp_max": lambda lib, x, y: lib.clamp_max(x, y),
    "detach": lambda lib, x, y: lib.detach(x),
    "fmod": lambda lib, x, y: x.fmod(y),
    "arctan2": lambda lib, x, y: lib.arctan2(x, y),
    "greater": lambda lib, x, y: lib.greater(x, y),
    "less_equal": lambda lib, x, y: x.less_equal(y),
    "not_equal": lambda lib, x, y: lib.not_equal(x, x),
    "outer": lambda lib, x, y: x[0].outer(y[0]),
    "addmm": lambda lib, x, y: x.addmm(x, y, beta=2, alpha=0.5),
    "addmv": lambda lib, x, y: x[0].addmv(x, y[0]),
    "baddbmm": lambda lib, x, y: x[None].baddbmm(x[None], y[None], beta=0),
    "argwhere": lambda lib, x, y: (x > y).argwhere(),
    "half": lambda lib, x, y: x.half(),
    "short": lambda lib, x, y: x.short(),
    "char": lambda lib, x, y: x.char(),
    "byte": lambda lib, x, y: (x * 9).byte(),
    "var": lambda lib, x, y: lib.var(x, 1, False),
    "var, biased": lambda lib, x, y: lib.var(x, False),
    "var, kept": lambda lib, x, y: lib.var(x, 0, True, True),
    "std": lambda lib, x, y: lib.std(x, 0, unbiased=False),
    "std_mean": lambda lib, x, y: lib.std_mean(x, 1, correction=0)[0],
    "var of all": lambda lib, x, y: x.var(False),
    "prod": lambda lib, x, y: x.prod(1, dtype=lib.float64),
    "cumsum": lambda lib, x, y: x.cumsum(0, dtype=lib.float64),
    "norm": lambda lib, x, y: x.norm(dtype=lib.float64),
    "softmax": lambda lib, x, y: x.softmax(1, lib.float64),
    "log_softmax": lambda lib, x, y: lib.log_softmax(x, 0, dtype=lib.float64),
}


@pytest.mark.parametrize("f", NAMES.values(), ids=NAMES)
def test_names_and_arguments_are_torchs(f: Any) -> None:
    torch = pytest.importorskip("torch")
    a, b = (np.random.default_rng(i).uniform(0.1, 2, (3, 3)).astype(np.float32) for i in (0, 1))
    same(f(cr, cr.tensor(a), cr.tensor(b)), f(torch, torch.tensor(a), torch.tensor(b)))


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
