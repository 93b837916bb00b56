"""Embedding: odd indices and bad input. Values over shapes are in test_twins.py."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from chainrule import kernels

W = np.random.default_rng(0).standard_normal((5, 3)).astype(np.float32)
INDEX = np.array([[0, 4], [2, 2]])
DY = np.ones((2, 2, 3), np.float32)


def test_odd_indices() -> None:
    expected = W[INDEX]
    for odd in (INDEX.astype(np.int32), INDEX.astype(">i8"), np.asfortranarray(INDEX), np.repeat(INDEX, 2, 1)[:, ::2]):
        np.testing.assert_array_equal(kernels.embedding(W, odd), expected)
    np.testing.assert_array_equal(kernels.embedding(W.astype(">f4"), INDEX[::-1]), expected[::-1])


def test_gradients_of_one_row_are_added_in_order(isa: str, threads: int) -> None:
    """(2^24 + 1) + 1 is 2^24 in float32, 1 + 1 + 2^24 is 2^24 + 2."""
    big = np.float32(2**24)
    for order in ([big, 1, 1], [1, 1, big]):
        dy = np.array(order, np.float32)[:, np.newaxis]
        got = kernels.embedding_backward(dy, np.zeros(3, np.int64), 40)
        assert got[0, 0] == (dy[0, 0] + dy[1, 0]) + dy[2, 0]
        assert not got[1:].any()


BAD: list[tuple[str, tuple[Any, ...], type[Exception], str]] = [
    ("embedding", (W, INDEX + 1), ValueError, "argument 'index' is holding 5, want rows of a table of 5"),
    ("embedding", (W, INDEX - 1), ValueError, "argument 'index' is holding -1"),
    ("embedding", (W[:0], INDEX), ValueError, "argument 'index' is holding 0"),
    ("embedding", (W, INDEX.astype(np.float32)), TypeError, "argument 'index' is a float32"),
    ("embedding", (W, INDEX.astype(np.uint8)), TypeError, "argument 'index' is a uint8"),
    ("embedding", (W, 3), TypeError, "argument 'index' is a int"),
    ("embedding", (W[0], INDEX), ValueError, "argument 'weight' is a float32 array of shape (3,)"),
    ("embedding", (W.astype(int), INDEX), TypeError, "argument 'weight' is"),
    ("embedding_backward", (DY, INDEX + 1, 5), ValueError, "argument 'index' is holding 5"),
    ("embedding_backward", (DY[0], INDEX, 5), ValueError, "argument 'dy' is"),
    ("embedding_backward", (DY, INDEX, -1), ValueError, "argument 'rows' is -1"),
    ("embedding_backward", (DY, INDEX, 5, 5), ValueError, "argument 'padding_idx' is 5"),
    ("embedding_backward", (DY, INDEX, 5, -6), ValueError, "argument 'padding_idx' is -6"),
    ("embedding_backward", (DY, INDEX, 5, 1.0), TypeError, "argument 'padding_idx' is a float"),
    ("embedding_backward", (DY[..., :1], INDEX, 2**62), ValueError, "the shape (4611686018427387904, 1) has more"),
]


@pytest.mark.parametrize(("name", "args", "error", "match"), BAD)
def test_bad_input(name: str, args: tuple[Any, ...], error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=f"^{name}: {re.escape(match)}"):
        getattr(kernels, name)(*args)
