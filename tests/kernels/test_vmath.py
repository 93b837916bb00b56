"""The worst errors that csrc/kernels/vmath.h states, by dense sampling; special values are in cases/elementwise.py.

The oracle is NumPy in float64 for float32, in extended precision for float64 (the C library's erf, below 1 itself).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from chainrule import kernels, reference

Array = np.ndarray[Any, Any]
COUNT = 200_000

erf = np.vectorize(math.erf, otypes=[np.float64])
erfc = np.vectorize(math.erfc, otypes=[np.float64])
BY_LIBM = ("erf", "erfc", "gelu")  # slow oracles in float64, an error of up to one unit of their own
# name: oracle, worst ULP in float32 and float64, range in float32 and float64
TABLE: dict[str, tuple[Callable[[Array], Array], tuple[float, float], tuple[float, float], tuple[float, float]]] = {
    "exp": (np.exp, (1.1, 1.1), (-104, 89), (-746, 710)),
    "expm1": (np.expm1, (1.7, 2.2), (-25, 89), (-45, 710)),
    "tanh": (np.tanh, (2.5, 2.8), (-12, 12), (-22, 22)),
    "sigmoid": (lambda x: 1 / (1 + np.exp(-x)), (2.5, 2.5), (-104, 20), (-746, 40)),
    "sin": (np.sin, (0.6, 1.5), (-1e4, 1e4), (-1e4, 1e4)),
    "cos": (np.cos, (0.6, 1.5), (-1e4, 1e4), (-1e4, 1e4)),
    "log": (np.log, (0.9, 0.9), (0, 3e38), (0, 1e308)),
    "log1p": (np.log1p, (1.5, 1.5), (-1, 3e38), (-1, 1e308)),
    "erf": (erf, (1.1, 2.1), (-5, 5), (-7, 7)),
    "erfc": (erfc, (6.0, 7.0), (-6, 9.1), (-7, 26.5)),
    "gelu": (reference.gelu, (7.5, 9.0), (-14, 9), (-36, 9)),
}


def samples(low: float, high: float, dtype: Any) -> Array:
    """Over the whole range, near 0 and 1, and at all magnitudes down to the denormals."""
    rng = np.random.default_rng(0)
    tiny = float(np.log2(float(np.finfo(dtype).smallest_subnormal)))
    small = np.exp2(rng.uniform(tiny, math.log2(high), COUNT)) * rng.choice([-1, 1], COUNT)
    parts = [rng.uniform(low, high, COUNT), rng.uniform(-2, 2, COUNT), 1 + rng.uniform(-1e-3, 1e-3, COUNT), small]
    x = np.concatenate(parts).astype(dtype)
    return x[(x > low) & (x < high)]


def worst(got: Array, expected: Array) -> float:
    """The largest error in units of got's dtype at the expected value."""
    with np.errstate(over="ignore"):
        rounded = expected.astype(got.dtype)
        usable = np.isfinite(rounded) & np.isfinite(got)
        assert np.array_equal(rounded[~usable], got[~usable], equal_nan=True)
        unit = np.spacing(np.abs(rounded[usable])).astype(expected.dtype)
    return float(np.max(np.abs(got[usable].astype(expected.dtype) - expected[usable]) / unit))


@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["f32", "f64"])
@pytest.mark.parametrize("name", TABLE)
def test_worst_error_is_within_the_stated_one(name: str, dtype: Any, isa: str) -> None:
    oracle, bounds, *ranges = TABLE[name]
    wide = dtype == np.float64
    if wide and np.finfo(np.longdouble).eps >= np.finfo(np.float64).eps:
        pytest.skip("needs an extended precision")
    x = samples(*ranges[wide], dtype)
    if name in BY_LIBM:
        x = x[::17]
    exact = np.float64 if not wide or name in BY_LIBM else np.longdouble
    with np.errstate(all="ignore"):
        error = worst(getattr(kernels, name)(x), oracle(x.astype(exact)))
    assert error <= bounds[wide] + (0.5 if isa == "generic" else 0)


@pytest.mark.parametrize(("dtype", "bound"), [(np.float32, 0.6), (np.float64, 1.2)], ids=["f32", "f64"])
def test_worst_error_of_pow(dtype: Any, bound: float, isa: str) -> None:
    """Over results of all magnitudes, where an error of the logarithm would be magnified most."""
    if dtype == np.float64 and np.finfo(np.longdouble).eps >= np.finfo(np.float64).eps:
        pytest.skip("needs an extended precision")
    rng = np.random.default_rng(0)
    most = 87.0 if dtype == np.float32 else 700.0
    base = np.concatenate([np.exp2(rng.uniform(-100, 100, COUNT)), rng.uniform(0.5, 2, COUNT)]).astype(dtype)
    exponent = (rng.uniform(-most, most, base.size) / np.log(base.astype(np.float64))).astype(dtype)
    exact = np.float64 if dtype == np.float32 else np.longdouble
    with np.errstate(all="ignore"):
        error = worst(kernels.pow(base, exponent), np.power(base.astype(exact), exponent.astype(exact)))
    assert error <= bound


@pytest.mark.parametrize("name", ["sin", "cos"])
def test_sines_near_multiples_of_half_pi(name: str, isa: str) -> None:
    """The floats next to k pi/2, where what the reduction loses is all that is left, on both sides of its limit."""
    k = np.concatenate([np.arange(20_000), np.random.default_rng(0).integers(20_000, 700_000, 200_000)])
    x = (k * (np.pi / 2)).astype(np.float32)
    x = np.concatenate([x, -x, np.array([2.0**20, np.nextafter(np.float32(2**20), np.float32(0))], np.float32)])
    assert worst(getattr(kernels, name)(x), getattr(np, name)(x.astype(np.float64))) <= 0.6


@pytest.mark.parametrize("name", ["sin", "cos", "pow"])
def test_bits_do_not_depend_on_the_neighbours(name: str, isa: str) -> None:
    """An argument that takes the long way, in each place of a vector, changes nothing for the others."""
    rng = np.random.default_rng(0)
    x = rng.uniform(0.1, 1e4, (64, 16)).astype(np.float32)
    rest = (rng.uniform(-9, 9, x.shape).astype(np.float32),) if name == "pow" else ()
    kernel = getattr(kernels, name)
    alone = kernel(x, *rest)
    for odd in (np.inf, np.nan, 0.0, -1e9):
        for place in range(16):
            y = x.copy()
            y[:, place] = odd
            others = np.arange(16) != place
            np.testing.assert_array_equal(kernel(y, *rest)[:, others], alone[:, others])


def test_pow_of_special_floats(isa: str, threads: int) -> None:
    """Each special value beside ordinary ones, against C's pow in double."""
    some = [0.0, 1.0, 2.0, 3.0, 0.5, 1.5, 2.0**23 + 1, 2.0**24, 1e-45, 1e30, 3.4e38, np.inf]
    values = np.array([*some, *(-v for v in some), np.nan], np.float32)
    x, y = (a.ravel() for a in np.meshgrid(values, values))
    with np.errstate(all="ignore"):
        expected = np.power(x.astype(np.float64), y.astype(np.float64)).astype(np.float32)
    got = kernels.pow(x, y)
    np.testing.assert_array_max_ulp(got, expected, 1)
    np.testing.assert_array_equal(
        np.signbit(got), np.signbit(expected) & ~np.isnan(expected) | np.signbit(got) & np.isnan(expected)
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_gelu_at_the_ends(dtype: Any, isa: str) -> None:
    x = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1e30, -1e30, -1e-40, 1e-40], dtype)
    y, dx = kernels.gelu(x), kernels.gelu_backward(np.ones_like(x), x)
    np.testing.assert_array_equal(y[:7], np.array([0, 0, np.inf, np.nan, np.nan, 1e30, 0], dtype))
    assert np.signbit(y[1])
    assert not np.signbit(y[0])
    eps, tiny = np.finfo(dtype).eps, np.finfo(dtype).smallest_subnormal
    np.testing.assert_allclose(y[7:], x[7:] / 2, rtol=4 * eps, atol=tiny)
    np.testing.assert_array_equal(dx[2:7], np.array([1, 0, np.nan, 1, 0], dtype))
    np.testing.assert_allclose(dx[[0, 1, 7, 8]], 0.5, rtol=4 * eps)
