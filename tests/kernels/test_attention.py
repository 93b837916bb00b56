"""Attention: hard scores, odd arrays, memory, bad input. Values over shapes are in test_twins.py."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from chainrule import empty_cache, kernels, memory_stats, reference

Array = np.ndarray
RNG = np.random.default_rng(0)
Q, K, V = (RNG.standard_normal((2, 3, n, 4)).astype(np.float32) for n in (5, 6, 6))
OUT, LSE = kernels.attention(Q, K, V)


def test_scores_far_apart(isa: str) -> None:
    """A running maximum that grows from tile to tile, and falls."""
    keys = np.linspace(-80, 80, 200, dtype=np.float32).reshape(1, 1, 200, 1)
    values = np.arange(200, dtype=np.float32).reshape(1, 1, 200, 1)
    for sign, last in ((1, 199), (-1, 0)):
        query = np.full((1, 1, 1, 1), sign * 1e4, np.float32)
        out, lse = kernels.attention(query, keys, values, scale=1.0)
        np.testing.assert_array_equal(out, [[[[last]]]])
        np.testing.assert_allclose(lse, [[[8e5]]], rtol=1e-6)


def test_a_causal_query_never_reads_a_later_key(isa: str, threads: int) -> None:
    """Not even where a later row of the same block does: what it holds can't matter, unless it is infinite or NaN."""
    q, k, v = (RNG.standard_normal((1, 2, 150, 7)).astype(np.float32) for _ in range(3))
    before = kernels.attention(q, k, v, True)
    k2, v2 = k.copy(), v.copy()
    k2[:, :, 100:] *= 5
    v2[:, :, 100:] = 1e30
    after = kernels.attention(q, k2, v2, True)
    for a, b in zip(before, after, strict=True):
        np.testing.assert_array_equal(a[:, :, :100], b[:, :, :100])
        assert (a[:, :, 100:] != b[:, :, 100:]).all()


def test_nan_and_infinity_spread(isa: str) -> None:
    for bad in (np.nan, np.inf):
        query = Q.copy()
        query[0, 0, 1] = bad
        out, lse = kernels.attention(query, K, V)
        assert np.isnan(out[0, 0, 1]).all()
        assert np.isnan(lse[0, 0, 1])
        np.testing.assert_array_equal(np.isnan(lse).sum(), 1)
        value = V.copy()
        value[1, 2, 3] = bad
        assert not np.isfinite(kernels.attention(Q, K, value)[0][1, 2]).any()


def test_without_keys() -> None:
    out, lse = kernels.attention(Q, K[:, :, :0], V[:, :, :0])
    np.testing.assert_array_equal(out, np.zeros((2, 3, 5, 4)))
    np.testing.assert_array_equal(lse, np.full((2, 3, 5), -np.inf))
    dq, dk, dv = kernels.attention_backward(out, Q, K[:, :, :0], V[:, :, :0], out, lse)
    np.testing.assert_array_equal(dq, np.zeros_like(Q))
    assert dk.shape == dv.shape == (2, 3, 0, 4)


def test_odd_arrays_give_the_bits_of_their_copies() -> None:
    grads = kernels.attention_backward(OUT, Q, K, V, OUT, LSE)
    unaligned = np.frombuffer(b"\0" + Q.tobytes(), np.uint8)[1:].view(np.float32).reshape(Q.shape)
    odd: list[tuple[Array, Array, Array]] = [
        (Q.astype(">f4"), K, V.astype(">f4")),
        (np.asfortranarray(Q), np.asfortranarray(K), np.asfortranarray(V)),
        (np.repeat(Q, 2, 3)[..., ::2], np.repeat(K, 2, 2)[:, :, ::2], np.repeat(V, 2, 1)[:, ::2]),
        (Q[:, :, ::-1].copy()[:, :, ::-1], K[::-1].copy()[::-1], V[..., ::-1].copy()[..., ::-1]),
        (unaligned, K, V),
    ]
    for q, k, v in odd:
        out, lse = kernels.attention(q, k, v)
        np.testing.assert_array_equal(out, OUT)
        np.testing.assert_array_equal(lse, LSE)
        for g, e in zip(kernels.attention_backward(OUT, q, k, v, OUT, LSE), grads, strict=True):
            np.testing.assert_array_equal(g, e)
    repeated = np.broadcast_to(K[:, :1], K.shape), np.broadcast_to(V[:1], V.shape)
    for a, b in zip(kernels.attention(Q, *repeated), kernels.attention(Q, *map(np.copy, repeated)), strict=True):
        np.testing.assert_array_equal(a, b)


def test_results_lie_as_the_inputs_do() -> None:
    q = RNG.standard_normal((2, 9, 3, 4)).astype(np.float32).swapaxes(1, 2)
    out, lse = kernels.attention(q, q, q)
    assert out.swapaxes(1, 2).flags.c_contiguous
    assert all(g.swapaxes(1, 2).flags.c_contiguous for g in kernels.attention_backward(out, q, q, q, out, lse))
    assert OUT.flags.c_contiguous


def test_no_matrix_of_scores_is_made() -> None:
    n = 4096
    q = np.ones((1, 1, n, 8), np.float32)
    empty_cache()
    start = memory_stats()["reserved_bytes"]
    out, lse = kernels.attention(q, q, q)
    kernels.attention_backward(out, q, q, q, out, lse)
    assert memory_stats()["reserved_bytes"] - start < n * n * 4 / 8


def test_gradients_are_the_finite_differences() -> None:
    q, k, v, seed = (RNG.standard_normal(s) for s in ((1, 2, 5, 3), (1, 2, 4, 3), (1, 2, 4, 2), (1, 2, 5, 2)))
    for is_causal in (False, True):
        out, lse = reference.attention(q, k, v, is_causal)
        grads = reference.attention_backward(seed, q, k, v, out, lse, is_causal)
        for x, g in zip((q, k, v), grads, strict=True):
            for i in np.ndindex(x.shape):
                kept, step = x[i], 1e-6
                x[i] = kept + step
                up = np.sum(reference.attention(q, k, v, is_causal)[0] * seed)
                x[i] = kept - step
                down = np.sum(reference.attention(q, k, v, is_causal)[0] * seed)
                x[i] = kept
                np.testing.assert_allclose(g[i], (up - down) / (2 * step), atol=1e-8)


BAD: list[tuple[str, tuple[Any, ...], type[Exception], str]] = [
    ("attention", ([1.0], K, V), TypeError, "argument 'query' is a list"),
    ("attention", (Q, K.astype(np.float64), V), TypeError, "argument 'key' is a float64"),
    ("attention", (Q, K, V.astype(np.int32)), TypeError, "argument 'value' is a int32"),
    (
        "attention",
        (Q[0], K, V),
        ValueError,
        "argument 'query' is a float32 array of shape (3, 5, 4), want 4 dimensions",
    ),
    ("attention", (Q[:1], K, V), ValueError, "argument 'key' is a float32 array of shape (2, 3, 6, 4)"),
    ("attention", (Q, K[..., :3], V), ValueError, "argument 'key' is a float32 array of shape (2, 3, 6, 3)"),
    ("attention", (Q, K, V[:, :, :5]), ValueError, "argument 'value' is a float32 array of shape (2, 3, 5, 4)"),
    ("attention", (Q[..., :0], K[..., :0], V), ValueError, "argument 'query' is a float32 array of shape (2, 3, 5, 0)"),
    ("attention", (Q, K, V[..., :0]), ValueError, "argument 'value' is a float32 array of shape (2, 3, 6, 0)"),
    ("attention_backward", (Q, Q, K, V, OUT, LSE[0]), ValueError, "argument 'lse' is"),
    ("attention_backward", (Q, Q, K, V, OUT[:, :2], LSE), ValueError, "argument 'out' is"),
    ("attention_backward", (Q[..., :2], Q, K, V, OUT, LSE), ValueError, "argument 'dout' is"),
    ("attention_backward", (Q, Q, K, V, OUT.astype(float), LSE), TypeError, "argument 'out' is a float64"),
]


@pytest.mark.parametrize(("name", "args", "error", "match"), BAD)
def test_bad_input(name: str, args: Any, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=f"^{name}: {re.escape(match)}"):
        getattr(kernels, name)(*args)
