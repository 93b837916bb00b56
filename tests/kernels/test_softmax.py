"""softmax and cross-entropy: hard values, odd arrays, bad input. Values over shapes are in test_twins.py."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from chainrule import kernels

X = np.random.default_rng(0).standard_normal((3, 4)).astype(np.float32)
LABELS = np.array([0, 3, 1])


@pytest.mark.parametrize("axis", [0, 1])
def test_scores_far_apart_or_infinite(axis: int, isa: str) -> None:
    inf = np.inf
    x = np.array([[1e38, 0, -inf], [-1e38, -1e38, -1e38], [-inf, -inf, 5]], np.float32)
    expected = np.array([[1, 0, 0], [1 / 3, 1 / 3, 1 / 3], [0, 0, 1]], np.float32)
    x, expected = (x, expected) if axis else (x.T, expected.T)
    np.testing.assert_allclose(kernels.softmax(x, axis), expected, rtol=1e-6)
    for bad in ([-inf] * 3, [inf, 0, 1], [np.nan, 0, 1]):
        row = np.array([bad], np.float32) if axis else np.array([bad], np.float32).T
        assert np.isnan(kernels.softmax(row, axis)).any()
        assert np.isnan(kernels.log_softmax(row, axis)).any()


def test_a_certain_answer_costs_nothing_and_a_wrong_one_its_score(isa: str) -> None:
    x = np.array([[0, 1000, 0], [1000, 0, 0]], np.float32)
    loss, _, _ = kernels.cross_entropy(x, np.array([1, 2]), reduction="none")
    np.testing.assert_array_equal(loss, [0, 1000])


def test_odd_arrays() -> None:
    expected = kernels.softmax(X)
    for odd in (X.astype(">f4"), np.asfortranarray(X), np.repeat(X, 2, 1)[:, ::2]):
        np.testing.assert_array_equal(kernels.softmax(odd), expected)
    np.testing.assert_array_equal(kernels.softmax(X[::-1]), expected[::-1])
    loss = kernels.cross_entropy(X, LABELS)[0]
    for labels in (LABELS.astype(np.int32), np.repeat(LABELS, 2)[::2], LABELS.astype(">i8")):
        assert kernels.cross_entropy(X, labels)[0] == loss


STATS, TOTAL, ONE = np.zeros((2, 3), np.float32), np.ones((), np.float32), np.ones((), np.float32)
BAD: list[tuple[str, tuple[Any, ...], dict[str, Any], type[Exception], str]] = [
    *((n, ([1.0],), {}, TypeError, "argument 'x' is a list") for n in ("softmax", "log_softmax")),
    *((n, (LABELS,), {}, TypeError, "argument 'x' is a int64") for n in ("softmax", "log_softmax")),
    *((n, (X, 2), {}, ValueError, "argument 'axis' is 2") for n in ("softmax", "log_softmax")),
    *((n, (X, 1.5), {}, TypeError, "argument 'axis' is a float") for n in ("softmax", "log_softmax")),
    *((n, (ONE,), {}, ValueError, "argument 'axis' is -1") for n in ("softmax", "log_softmax")),
    *(
        (n, (X, X[:2]), {}, ValueError, "argument 'y' is a float32 array of shape (2, 4)")
        for n in ("softmax_backward", "log_softmax_backward")
    ),
    ("softmax_backward", (X, X.astype(np.float64)), {}, TypeError, "argument 'y' is a float64"),
    ("cross_entropy", (X, np.array([0, 4, 1])), {}, ValueError, "argument 'target' is holding the label 4"),
    ("cross_entropy", (X, np.array([0, -1, 1])), {}, ValueError, "argument 'target' is holding the label -1"),
    ("cross_entropy", (X, np.array([0, -100, 1])), {"ignore_index": 7}, ValueError, "argument 'target' is holding"),
    ("cross_entropy", (X, LABELS[:2]), {}, ValueError, "argument 'target' is a int64 array of shape (2,)"),
    ("cross_entropy", (X, X[:2]), {}, ValueError, "argument 'target' is a float32 array of shape (2, 4)"),
    ("cross_entropy", (X, X.astype(np.float64)), {}, TypeError, "argument 'target' is a float64"),
    ("cross_entropy", (X, LABELS > 0), {}, TypeError, "argument 'target' is a bool"),
    ("cross_entropy", (X, [0, 1, 2]), {}, TypeError, "argument 'target' is a list"),
    ("cross_entropy", (ONE, LABELS), {}, ValueError, "argument 'x' is a float32 array of shape ()"),
    ("cross_entropy", (X[:, :0], LABELS), {}, ValueError, "argument 'x' is a float32 array of shape (3, 0)"),
    ("cross_entropy", (X, LABELS, X[0, :3]), {}, ValueError, "argument 'weight' is"),
    ("cross_entropy", (X, LABELS, LABELS), {}, TypeError, "argument 'weight' is"),
    ("cross_entropy", (X, LABELS), {"label_smoothing": 1.5}, ValueError, "argument 'label_smoothing' is 1.5"),
    ("cross_entropy", (X, LABELS), {"label_smoothing": np.nan}, ValueError, "argument 'label_smoothing' is"),
    ("cross_entropy", (X, LABELS), {"reduction": "max"}, ValueError, "argument 'reduction' is 'max'"),
    ("cross_entropy", (X, LABELS), {"reduction": 1}, TypeError, "argument 'reduction' is a int"),
    ("cross_entropy_backward", (STATS, X, LABELS, STATS, TOTAL), {}, ValueError, "argument 'dloss' is"),
    ("cross_entropy_backward", (ONE, X, LABELS, STATS[:1], TOTAL), {}, ValueError, "argument 'stats' is"),
    ("cross_entropy_backward", (ONE, X, LABELS, STATS, STATS), {}, ValueError, "argument 'total' is"),
    ("cross_entropy_backward", (ONE, X, LABELS + 4, STATS, TOTAL), {}, ValueError, "argument 'target' is holding"),
]


@pytest.mark.parametrize(("name", "args", "kwargs", "error", "match"), BAD)
def test_bad_input(name: str, args: Any, kwargs: Any, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=f"^{name}: {re.escape(match)}"):
        getattr(kernels, name)(*args, **kwargs)
