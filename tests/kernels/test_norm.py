"""Normalisations: running statistics, hard values, bad input. Values over shapes are in test_twins.py."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from chainrule import kernels, reference

X = np.random.default_rng(0).standard_normal((6, 4)).astype(np.float32)
C = np.ones(4, np.float32)
M = np.zeros(6, np.float32)


@pytest.mark.parametrize("shape", [(6, 3), (300, 17), (4, 3, 5)])
@pytest.mark.parametrize("momentum", [0.1, 1.0, 0.0])
def test_running_statistics(shape: tuple[int, ...], momentum: float, isa: str, threads: int) -> None:
    rng = np.random.default_rng(1)
    x, c = rng.standard_normal(shape).astype(np.float32), shape[1]
    ours = [rng.standard_normal(c).astype(np.float32), rng.random(c).astype(np.float32)]
    theirs = [a.astype(np.float64) for a in ours]
    kernels.batch_norm(x, None, None, *ours, True, momentum)
    reference.batch_norm(x.astype(np.float64), None, None, *theirs, True, momentum)
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-6, atol=1e-6)


def test_evaluation_leaves_the_running_statistics_alone() -> None:
    mean, variance = np.zeros(4, np.float32), np.ones(4, np.float32)
    mean.flags.writeable = variance.flags.writeable = False
    y, _, _ = kernels.batch_norm(X, None, None, mean, variance, False, eps=0.0)
    np.testing.assert_array_equal(y, X)


def test_constant_rows_become_zero(isa: str) -> None:
    y, mean, _ = kernels.layer_norm(np.full((3, 50), 0.1, np.float32))
    np.testing.assert_array_equal(y, 0)
    np.testing.assert_array_equal(mean, np.float32(0.1))


@pytest.mark.parametrize("n", [5, 5000])
def test_a_row_does_not_depend_on_its_batch(n: int, isa: str) -> None:
    x = np.random.default_rng(2).standard_normal((9, n)).astype(np.float32)
    whole = kernels.layer_norm(x)[0]
    for i in range(9):
        assert kernels.layer_norm(x[i : i + 1])[0].tobytes() == whole[i].tobytes()


def test_nan_stays_in_its_row_or_channel(isa: str) -> None:
    x = X.copy()
    x[2, 1] = np.nan
    assert np.isnan(kernels.layer_norm(x)[0]).any(1).tolist() == [False, False, True, False, False, False]
    assert np.isnan(kernels.batch_norm(x)[0]).any(0).tolist() == [False, True, False, False]


def read_only() -> np.ndarray:
    a = np.ones(4, np.float32)
    a.flags.writeable = False
    return a


BAD: list[tuple[str, tuple[Any, ...], dict[str, Any], type[Exception], str]] = [
    ("layer_norm", ([1.0],), {}, TypeError, "argument 'x' is a list"),
    ("layer_norm", (X.astype(int),), {}, TypeError, "argument 'x' is a int64"),
    ("layer_norm", (X,), {"axes": 0}, ValueError, "argument 'axes' is 0"),
    ("layer_norm", (X,), {"axes": 3}, ValueError, "argument 'axes' is 3"),
    ("layer_norm", (X[:, :0],), {}, ValueError, "argument 'x' is a float32 array of shape (6, 0)"),
    ("layer_norm", (X, M), {}, ValueError, "argument 'weight' is"),
    ("layer_norm", (X, C, C.astype(np.float64)), {}, TypeError, "argument 'bias' is"),
    ("layer_norm", (X,), {"eps": -1.0}, ValueError, "argument 'eps' is"),
    ("layer_norm", (X,), {"eps": np.nan}, ValueError, "argument 'eps' is"),
    ("layer_norm_backward", (X, X[:2], M, M), {}, ValueError, "argument 'x' is"),
    ("layer_norm_backward", (X, X, C, M), {}, ValueError, "argument 'mean' is"),
    ("layer_norm_backward", (X, X, M, C), {}, ValueError, "argument 'rstd' is"),
    ("batch_norm", (C,), {}, ValueError, "argument 'x' is a float32 array of shape (4,)"),
    ("batch_norm", (X[:1],), {}, ValueError, "argument 'x' is a float32 array of shape (1, 4), want more than one"),
    ("batch_norm", (X, M), {}, ValueError, "argument 'weight' is"),
    ("batch_norm", (X, C, C, C[:3], C), {}, ValueError, "argument 'running_mean' is"),
    ("batch_norm", (X, C, C, C, C.astype(np.float64)), {}, TypeError, "argument 'running_var' is"),
    ("batch_norm", (X, C, C, read_only(), C), {}, ValueError, "argument 'running_mean' is"),
    ("batch_norm", (X, C, C, np.ones(8, np.float32)[::2], C), {}, ValueError, "argument 'running_mean' is"),
    ("batch_norm", (X, C, C, None, None, False), {}, TypeError, "argument 'running_mean' is None"),
    ("batch_norm", (X, C, C, C, C), {}, ValueError, "running_mean and running_var are the same memory"),
    ("batch_norm_backward", (X, X[:2], C, C), {}, ValueError, "argument 'x' is"),
    ("batch_norm_backward", (X, X, M, C), {}, ValueError, "argument 'mean' is"),
]


@pytest.mark.parametrize(("name", "args", "kwargs", "error", "match"), BAD)
def test_bad_input(name: str, args: Any, kwargs: Any, error: type[Exception], match: str) -> None:
    before = [a.copy() if isinstance(a, np.ndarray) else a for a in args]
    with pytest.raises(error, match=f"^{name}: {re.escape(match)}"):
        getattr(kernels, name)(*args, **kwargs)
    for a, b in zip(args, before, strict=True):
        np.testing.assert_array_equal(a, b)
