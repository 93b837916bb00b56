"""Losses: hard values and bad input. Values over shapes are in test_twins.py."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from chainrule import kernels

X = np.random.default_rng(0).standard_normal((3, 4)).astype(np.float32)
ONE = np.ones((), np.float32)
BCE = "binary_cross_entropy_with_logits"


def test_logits_far_from_zero(isa: str) -> None:
    x = np.array([1000, -1000, 1000, -1000], np.float32)
    t = np.array([1, 0, 0, 1], np.float32)
    np.testing.assert_array_equal(kernels.binary_cross_entropy_with_logits(x, t, reduction="none"), [0, 0, 1000, 1000])
    got = kernels.binary_cross_entropy_with_logits_backward(np.ones(4, np.float32), x, t, reduction="none")
    np.testing.assert_array_equal(got, [0, 0, 1, -1])


@pytest.mark.parametrize("name", ["mse_loss", BCE])
def test_nothing_and_nan(name: str, isa: str) -> None:
    kernel, empty = getattr(kernels, name), np.zeros((0, 3), np.float32)
    assert np.isnan(kernel(empty, empty))
    assert kernel(empty, empty, reduction="sum") == 0
    assert kernel(empty, empty, reduction="none").shape == (0, 3)
    x = X.copy()
    x[1, 2] = np.nan
    assert np.isnan(kernel(x, X))
    assert np.isnan(kernel(x, X, reduction="none")).sum() == 1


def test_odd_arrays() -> None:
    expected = kernels.mse_loss(X, X[::-1].copy())
    for odd in (X.astype(">f4"), np.asfortranarray(X), np.repeat(X, 2, 1)[:, ::2]):
        assert kernels.mse_loss(odd, X[::-1]) == expected


BAD: list[tuple[str, tuple[Any, ...], dict[str, Any], type[Exception], str]] = [
    *(
        case
        for name in ("mse_loss", BCE)
        for case in (
            (name, ([1.0], X), {}, TypeError, "argument 'x' is a list"),
            (name, (X, X[:1]), {}, ValueError, "argument 'target' is a float32 array of shape (1, 4)"),
            (name, (X, X.astype(np.float64)), {}, TypeError, "argument 'target' is a float64"),
            (name, (X, X), {"reduction": "average"}, ValueError, "argument 'reduction' is 'average'"),
            (name, (X, X), {"reduction": None}, TypeError, "argument 'reduction' is a NoneType"),
            (name + "_backward", (X, X, X), {}, ValueError, "argument 'dloss' is"),
            (name + "_backward", (ONE, X, X), {"reduction": "none"}, ValueError, "argument 'dloss' is"),
            (name + "_backward", (ONE, X, X[:1]), {}, ValueError, "argument 'target' is"),
        )
    ),
    (BCE, (X, X, X[0]), {}, ValueError, "argument 'weight' is"),
    (BCE, (X, X, X, X[0]), {}, ValueError, "argument 'pos_weight' is"),
]


@pytest.mark.parametrize(("name", "args", "kwargs", "error", "match"), BAD)
def test_bad_input(name: str, args: Any, kwargs: Any, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=f"^{name}: {re.escape(match)}"):
        getattr(kernels, name)(*args, **kwargs)
