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


ACTIVATIONS = ["relu", "leaky_relu", "gelu", "gelu_tanh", "silu", "sigmoid", "tanh"]
SHAPES = [(2, 1), (33, 7), (300, 17), (5, 40), (3, 5, 7), (3, 5, 7, 9), (2, 3, 40, 60), (9, 70, 3, 5)]


def last(x: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2) if x.ndim == 4 else x


def hard(rng: np.random.Generator, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """With a channel that is constant, and values that make others NaN or infinite."""
    x = rng.standard_normal(shape).astype(dtype)
    x[:, 0] = 0.25
    if shape[1] > 6:
        x[0, -1, ...].flat[-1] = np.inf
        x[-1, -2, ...].flat[0] = np.nan
    return x


def same(a: Any, b: Any) -> None:
    np.testing.assert_array_equal(a, b)  # NaN where NaN is
    assert np.signbit(a[a == 0]).tolist() == np.signbit(b[b == 0]).tolist()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("shape", SHAPES)
def test_residual_and_activation_have_the_bits_of_kernels_behind(
    shape: tuple[int, ...], training: bool, dtype: Any, isa: str
) -> None:
    rng = np.random.default_rng(3)
    x, residual = (hard(rng, shape, dtype) for _ in range(2))
    c = shape[1]
    w, b, mean = (rng.standard_normal(c).astype(dtype) for _ in range(3))
    b[0] = 0
    for weight, bias in ((w, b), (None, b), (w, None)):
        for lay in (lambda a: a, last):
            args = lay(x), weight, bias, mean.copy(), np.ones(c, dtype), training
            h, m, r = kernels.batch_norm(*args)
            for other in (lay(residual), last(residual), None):
                z = h if other is None else kernels.add(h, lay(residual))
                for name in ["none", *ACTIVATIONS]:
                    y, *statistics = kernels.batch_norm(*args, residual=other, activation=name)
                    same(y, z if name == "none" else getattr(kernels, name)(z))
                    assert y.strides == h.strides
                    same(statistics[0], m)
                    same(statistics[1], r)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("shape", SHAPES)
def test_gradient_of_relu_has_the_bits_of_a_kernel_before(
    shape: tuple[int, ...], training: bool, dtype: Any, isa: str
) -> None:
    rng = np.random.default_rng(4)
    x, dy = (hard(rng, shape, dtype) for _ in range(2))
    c = shape[1]
    w, b, mean = (rng.standard_normal(c).astype(dtype) for _ in range(3))
    b[0] = 0  # and with it y, of all the channel
    for weight, bias in ((w, b), (None, b), (w, None), (None, None)):
        for lay in (lambda a: a, last):
            y, m, r = kernels.batch_norm(
                lay(x), weight, bias, mean, np.ones(c, dtype), training, momentum=0.0, activation="relu"
            )
            dz = kernels.relu_backward(lay(dy), y)
            for needs in ((True, True, True), (False, True, True), (True, False, False)):
                expected = kernels.batch_norm_backward(dz, lay(x), m, r, weight, training, needs)
                for given in (lay(dy), last(dy)):
                    found = kernels.batch_norm_backward(
                        given, lay(x), m, r, weight, training, needs, bias=bias, activation="relu"
                    )
                    for a, e, need in zip(found, expected, needs, strict=True):
                        if need:
                            same(a, e)
                        else:
                            assert a is e is None


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
    ("batch_norm", (X,), {"residual": X[:2]}, ValueError, "argument 'residual' is a float32 array of shape (2, 4)"),
    ("batch_norm", (X,), {"residual": X.astype(np.float64)}, TypeError, "argument 'residual' is"),
    ("batch_norm", (X,), {"activation": "elu"}, ValueError, "argument 'activation' is 'elu', want one of 'none', 're"),
    ("batch_norm_backward", (X, X, C, C), {"bias": M}, ValueError, "argument 'bias' is"),
    (
        "batch_norm_backward",
        (X, X, C, C),
        {"activation": "gelu"},
        ValueError,
        "argument 'activation' is 'gelu', want 'none' or 'relu'",
    ),
]


@pytest.mark.parametrize(("name", "args", "kwargs", "error", "match"), BAD)
def test_bad_input(name: str, args: Any, kwargs: Any, error: type[Exception], match: str) -> None:
    before = [a.copy() if isinstance(a, np.ndarray) else a for a in args]
    with pytest.raises(error, match=f"^{name}: {re.escape(match)}"):
        getattr(kernels, name)(*args, **kwargs)
    for a, b in zip(args, before, strict=True):
        np.testing.assert_array_equal(a, b)
