"""Reductions: hard values, odd arrays, bad input. Values over shapes are in test_twins.py."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from chainrule import kernels

VALUES = ["sum", "mean", "amax", "amin"]
ONE_AXIS = ["max", "min", "argmax", "argmin"]


def outputs(name: str, *args: Any, **kwargs: Any) -> list[np.ndarray]:
    result = getattr(kernels, name)(*args, **kwargs)
    return list(result) if isinstance(result, tuple) else [result]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(37,), (9000,), (40, 3), (300, 20)])
def test_the_first_nan_wins(shape: tuple[int, ...], dtype: Any, isa: str, threads: int) -> None:
    x = np.random.default_rng(0).standard_normal(shape).astype(dtype)
    n = shape[0]
    x[[n // 3, n - 1]] = np.nan
    x[0] = np.inf
    x[1] = -np.inf
    for name in ("amax", "amin"):
        assert np.isnan(getattr(kernels, name)(x, 0)).all()
    for name in ("max", "min"):
        values, places = getattr(kernels, name)(x, 0)
        assert np.isnan(values).all()
        assert (places == n // 3).all()
        assert (getattr(kernels, "arg" + name)(x, 0) == n // 3).all()


@pytest.mark.parametrize("fill", [0.0, -np.inf, np.inf, 7.0])
@pytest.mark.parametrize("shape", [(5,), (17,), (9000,), (300, 3)])
def test_the_first_of_equals_wins(shape: tuple[int, ...], fill: float, isa: str) -> None:
    x = np.full(shape, fill, np.float32)
    for name in ONE_AXIS:
        *_, places = outputs(name, x, 0)
        assert (places == 0).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n", [1, 2, 7, 8, 9, 15, 16, 17, 31, 33, 63, 64, 65, 130, 200])
def test_the_place_is_found_wherever_it_is(n: int, dtype: Any, isa: str) -> None:
    """The first of two equals, or of two NaN, in each place of each row; zeros, which fill unused lanes, among them."""
    for best in (0.0, 3.0, np.nan):
        x = np.repeat(np.random.default_rng(n).uniform(-9, -1, (1, n)), n, 0).astype(dtype)
        for place in range(n):
            x[place, [place, n - 1, (place + n) // 2]] = best
        expected = np.arange(n)
        np.testing.assert_array_equal(kernels.argmax(x, 1), expected)
        values, places = kernels.max(x, 1)
        np.testing.assert_array_equal(values, np.full(n, best, dtype))
        np.testing.assert_array_equal(places, expected)
        np.testing.assert_array_equal(kernels.argmin(-x, 1), expected)


def test_zeros_of_either_sign_are_equal(isa: str) -> None:
    x = np.array([-0.0, 0.0, -0.0, 0.0], np.float32)
    assert kernels.argmax(x) == 0
    assert kernels.argmin(x[1:]) == 0


@pytest.mark.parametrize("shape", [(3,), (4096,), (4099,), (50_001,), (500, 3)])
@pytest.mark.parametrize("value", [0.1, 1e6 + 0.3, 1e-30])
def test_constant_data_has_exactly_its_mean_and_no_variance(shape: tuple[int, ...], value: float, isa: str) -> None:
    x = np.full(shape, value, np.float32)
    variance, mean = kernels.var_mean(x, 0)
    np.testing.assert_array_equal(variance, np.zeros(shape[1:], np.float32))
    np.testing.assert_array_equal(mean, x[0])


def test_variance_far_from_zero(isa: str) -> None:
    """The means of chunks carry eps * 1e4; a sum of squares would keep nothing."""
    x = (1e4 + np.random.default_rng(1).standard_normal(100_000)).astype(np.float32)
    variance, _ = kernels.var_mean(x)
    np.testing.assert_allclose(
        variance, np.var(x.astype(np.float64), ddof=1), rtol=3e-5
    )  # the means of chunks carry eps * 1e4


def test_too_few_elements_for_the_correction() -> None:
    one, three = np.ones(1, np.float32), np.arange(3, dtype=np.float32)
    assert np.isnan(kernels.var_mean(one)[0])
    assert kernels.var_mean(three, correction=5)[0] == np.inf


def test_a_long_sum_is_accurate(isa: str) -> None:
    """One running sum of 10 million 0.1s in float32 is off by 8 %; chunks and a tree aren't."""
    x = np.full(10_000_000, 0.1, np.float32)
    exact = 10_000_000 * float(x[0])
    assert abs(float(kernels.sum(x)) - exact) <= 2 * np.finfo(np.float32).eps * exact
    columns = kernels.sum(x.reshape(-1, 2), 0)
    assert np.abs(columns - exact / 2).max() <= 4 * np.finfo(np.float32).eps * exact / 2


@pytest.mark.parametrize("name", VALUES)
@pytest.mark.parametrize("n", [100, 5000])
def test_a_row_does_not_depend_on_its_batch(name: str, n: int, isa: str, threads: int) -> None:
    x = np.random.default_rng(2).standard_normal((11, n)).astype(np.float32)
    whole = getattr(kernels, name)(x, 1)
    for i in range(11):
        assert getattr(kernels, name)(x[i : i + 1], 1).tobytes() == whole[i : i + 1].tobytes()


def test_sums_of_infinities(isa: str) -> None:
    x = np.array([np.inf, 1, 2], np.float32)
    assert kernels.sum(x) == np.inf
    assert kernels.mean(x) == np.inf
    assert np.isnan(kernels.sum(np.array([np.inf, -np.inf], np.float32)))


@pytest.mark.parametrize("name", [*VALUES, *ONE_AXIS, "var_mean"])
def test_odd_arrays(name: str) -> None:
    x = np.random.default_rng(3).standard_normal((6, 8)).astype(np.float32)
    expected = outputs(name, np.ascontiguousarray(x), 1)
    read_only = x.copy()
    read_only.flags.writeable = False
    misaligned = np.frombuffer(b"\0" + x.tobytes(), np.float32, offset=1).reshape(6, 8)
    for odd in (x.astype(">f4"), read_only, misaligned, np.asfortranarray(x), np.repeat(x, 2, 1)[:, ::2]):
        for g, e in zip(outputs(name, odd, 1), expected, strict=True):
            np.testing.assert_array_equal(g, e)
    for g, e in zip(outputs(name, x[::-1], 1), expected, strict=True):
        np.testing.assert_array_equal(g, e[::-1])


@pytest.mark.parametrize("name", VALUES)
def test_no_reduction_is_a_copy(name: str) -> None:
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    y = getattr(kernels, name)(x, ())
    np.testing.assert_array_equal(y, x)
    assert not np.shares_memory(x, y)


def test_nothing_to_reduce() -> None:
    empty = np.ones((0, 3), np.float32)
    assert kernels.sum(empty) == 0
    assert np.isnan(kernels.mean(empty, 0)).all()
    assert kernels.amax(np.ones((0, 3), np.float32), 1).shape == (0,)
    assert kernels.argmax(np.ones((0, 3), np.float32), 1).shape == (0,)


X = np.ones((2, 3), np.float32)
EMPTY = np.ones((0, 3), np.float32)
BAD: list[tuple[tuple[Any, ...], type[Exception], str]] = [
    (([1.0, 2.0],), TypeError, "argument 'x' is a list"),
    ((np.ones(3, np.int64),), TypeError, "argument 'x' is a int64 array"),
    ((np.ones(3, np.float16),), TypeError, "argument 'x' is a float16"),
    ((np.ones(3, complex),), TypeError, "argument 'x' is a complex128"),
    ((X, 2), ValueError, "argument 'axis' is 2, want an axis of an array of 2 dimensions"),
    ((X, -3), ValueError, "argument 'axis' is -3"),
    ((X, 10**30), ValueError, "argument 'axis' is"),
    ((X, 1.0), TypeError, "argument 'axis' is a float"),
    ((X, True), TypeError, "argument 'axis' is a bool"),
    ((X, "0"), TypeError, "argument 'axis' is a str"),
]


@pytest.mark.parametrize("name", [*VALUES, *ONE_AXIS, "var_mean"])
@pytest.mark.parametrize(("args", "error", "match"), BAD)
def test_bad_input(name: str, args: tuple[Any, ...], error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=f"^{name}: {re.escape(match)}"):
        getattr(kernels, name)(*args)


@pytest.mark.parametrize("name", [*VALUES, "var_mean"])
def test_axes_named_twice(name: str) -> None:
    with pytest.raises(ValueError, match=f"^{name}: argument 'axis' is \\(0, -2\\)"):
        getattr(kernels, name)(X, (0, -2))


@pytest.mark.parametrize("name", ["amax", "amin", *ONE_AXIS, "var_mean"])
def test_extremes_of_nothing(name: str) -> None:
    for axis in (0, None):
        with pytest.raises(ValueError, match=f"^{name}: argument 'x' of shape \\(0, 3\\) has nothing"):
            getattr(kernels, name)(EMPTY, axis)
