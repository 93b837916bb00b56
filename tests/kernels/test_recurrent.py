"""The recurrences: extreme gates, odd arrays, rows by themselves, bad input. Values over shapes: test_twins.py."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from chainrule import kernels, reference

RNG = np.random.default_rng(0)
X, W, H0, C0 = (RNG.standard_normal(s).astype(np.float32) for s in ((3, 2, 20), (20, 5), (2, 5), (2, 5)))
OUT, CELLS, GATES = kernels.lstm(X, W, H0, C0)
INDEX = np.array([[1, 0], [0, 0], [1, 1]])


def test_closed_and_open_gates(isa: str) -> None:
    """f open, i closed: the cell is carried unchanged; all closed: everything is 0."""
    x = np.zeros((4, 2, 4, 5), np.float32)
    x[:, :, 0] = -1000
    x[:, :, 1] = 1000
    x[:, :, 3] = 1000
    none = np.zeros_like(W)
    out, cells, gates = kernels.lstm(x.reshape(4, 2, 20), none, H0, C0)
    for t in range(4):
        np.testing.assert_array_equal(cells[t], C0)
        np.testing.assert_array_equal(out[t], out[0])
    dx, dh0, dc0 = kernels.lstm_backward(None, gates, cells, C0, none, dcn=np.ones_like(C0))
    np.testing.assert_array_equal(dc0, np.ones_like(C0))
    np.testing.assert_array_equal(dh0, np.zeros_like(H0))
    np.testing.assert_array_equal(dx, np.zeros_like(dx))
    out, cells, _ = kernels.lstm(np.full_like(X, -np.inf), W, H0, C0)
    np.testing.assert_array_equal(out, np.zeros_like(out))
    np.testing.assert_array_equal(cells, np.zeros_like(cells))


def test_nan_stays_in_its_row(isa: str) -> None:
    x = X.copy()
    x[1, 0, 3] = np.nan
    clean, clean_cells, _ = kernels.lstm(X, W, H0, C0)
    out, cells, _ = kernels.lstm(x, W, H0, C0)
    np.testing.assert_array_equal(out[:, 1], clean[:, 1])
    np.testing.assert_array_equal(cells[0], clean_cells[0])
    assert np.isnan(out[2, 0]).all()


def test_a_row_has_the_same_bits_in_any_batch(isa: str, threads: int) -> None:
    shapes = (4, 70, 4 * 24), (4 * 24, 24), (70, 24), (70, 24), (4, 70, 24)
    x, w, h0, c0, dout = (RNG.standard_normal(s).astype(np.float32) for s in shapes)
    out, cells, gates = kernels.lstm(x, w, h0, c0)
    grads = kernels.lstm_backward(dout, gates, cells, c0, w)
    rows = slice(13, 16)
    some = kernels.lstm(x[:, rows], w, h0[rows], c0[rows])
    for a, b in zip(some, (out, cells, gates), strict=True):
        np.testing.assert_array_equal(a, b[:, rows])
    dx, dh0, dc0 = kernels.lstm_backward(dout[:, rows], gates[:, rows], cells[:, rows], c0[rows], w)
    for a, b in zip((dx, dh0, dc0), (grads[0][:, rows], grads[1][rows], grads[2][rows]), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_step_is_the_recurrence_of_length_one() -> None:
    h, c = H0, C0
    for t in range(3):
        (h,), (c,), _ = kernels.lstm(X[t : t + 1], W, h, c)
        np.testing.assert_array_equal(h, OUT[t])
        np.testing.assert_array_equal(c, CELLS[t])


def test_odd_arrays_give_the_bits_of_their_copies() -> None:
    for odd in (X.astype(">f4"), np.asfortranarray(X), np.repeat(X, 2, 1)[:, ::2]):
        np.testing.assert_array_equal(kernels.lstm(odd, np.asfortranarray(W), H0, C0)[0], OUT)
    np.testing.assert_array_equal(kernels.lstm(X[::-1], W, H0, C0, True)[0], OUT[::-1])


@pytest.mark.parametrize("index", [INDEX, INDEX.astype(np.int32), np.asfortranarray(INDEX), INDEX[::-1]])
@pytest.mark.parametrize("reverse", [False, True])
def test_rows_of_a_table_are_looked_up(index: Any, reverse: bool, isa: str) -> None:
    found = kernels.lstm(X[0], W, H0, C0, reverse, index)
    for a, b in zip(found, kernels.lstm(X[0][index], W, H0, C0, reverse), strict=True):
        np.testing.assert_array_equal(a, b)


def test_gradients_are_the_finite_differences() -> None:
    x, w, h0, c0 = (a.astype(np.float64) for a in (X, W, H0, C0))
    for reverse in (False, True):
        out, cells, gates = reference.lstm(x, w, h0, c0, reverse)
        seed, dhn, dcn = (RNG.standard_normal(a.shape) for a in (out, h0, c0))
        dx, dh0, dc0 = reference.lstm_backward(seed, gates, cells, c0, w, dhn, dcn, reverse)
        last = 0 if reverse else -1

        def value(reverse: bool = reverse, seed: Any = seed, dhn: Any = dhn, dcn: Any = dcn, last: int = last) -> float:
            out, cells, _ = reference.lstm(x, w, h0, c0, reverse)
            return float((out * seed).sum() + (out[last] * dhn).sum() + (cells[last] * dcn).sum())

        for a, g in ((x, dx), (h0, dh0), (c0, dc0)):
            for i in np.ndindex(a.shape):
                kept, step = a[i], 1e-6
                a[i] = kept + step
                up = value()
                a[i] = kept - step
                down = value()
                a[i] = kept
                np.testing.assert_allclose(g[i], (up - down) / (2 * step), atol=1e-8)


BAD: list[tuple[str, tuple[Any, ...], type[Exception], str]] = [
    ("lstm", ([1.0], W, H0, C0), TypeError, "argument 'x' is a list"),
    ("lstm", (X, W.astype(np.float64), H0, C0), TypeError, "argument 'weight_hh' is a float64"),
    ("lstm", (X[0], W, H0, C0), ValueError, "argument 'x' is a float32 array of shape (2, 20), want 3 dimensions"),
    ("lstm", (X[..., :19], W, H0, C0), ValueError, "argument 'x' is a float32 array of shape (3, 2, 19)"),
    ("lstm", (X, W[:19], H0, C0), ValueError, "argument 'weight_hh' is a float32 array of shape (19, 5)"),
    ("lstm", (X[..., :0], W[:0, :0], H0, C0), ValueError, "argument 'weight_hh' is a float32 array of shape (0, 0)"),
    (
        "lstm",
        (X, W, H0, C0, False, INDEX),
        ValueError,
        "argument 'x' is a float32 array of shape (3, 2, 20), want 2 dim",
    ),
    (
        "lstm",
        (X[0], W, H0, C0, False, INDEX * 2),
        ValueError,
        "argument 'index' is holding 2, want rows of a table of 2",
    ),
    ("lstm", (X[0], W, H0, C0, False, INDEX - 1), ValueError, "argument 'index' is holding -1"),
    ("lstm", (X[0], W, H0, C0, False, INDEX[0]), ValueError, "argument 'index' is a int64 array of shape (2,)"),
    ("lstm", (X[0], W, H0, C0, False, INDEX * 1.0), TypeError, "argument 'index' is a float64 array"),
    ("lstm", (X[0, :, 1:], W, H0, C0, False, INDEX), ValueError, "argument 'x' is a float32 array of shape (2, 19)"),
    ("lstm", (X, W, H0[:1], C0), ValueError, "argument 'h0' is a float32 array of shape (1, 5)"),
    ("lstm", (X, W, H0, C0[:, :4]), ValueError, "argument 'c0' is a float32 array of shape (2, 4)"),
    (
        "lstm_backward",
        (OUT[:2], GATES, CELLS, C0, W),
        ValueError,
        "argument 'dout' is a float32 array of shape (2, 2, 5)",
    ),
    ("lstm_backward", (OUT, GATES[..., :16], CELLS, C0, W), ValueError, "argument 'gates' is"),
    ("lstm_backward", (OUT, GATES, CELLS[:, :1], C0, W), ValueError, "argument 'cells' is"),
    ("lstm_backward", (OUT, GATES, CELLS, C0[:1], W), ValueError, "argument 'c0' is"),
    ("lstm_backward", (OUT, GATES, CELLS, C0, W, C0[:1]), ValueError, "argument 'dhn' is"),
    ("lstm_backward", (OUT, GATES, CELLS, C0, W, None, C0.astype(float)), TypeError, "argument 'dcn' is a float64"),
]


@pytest.mark.parametrize(("name", "args", "error", "match"), BAD)
def test_bad_input(name: str, args: Any, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=f"^{name}: {re.escape(match)}"):
        getattr(kernels, name)(*args)
