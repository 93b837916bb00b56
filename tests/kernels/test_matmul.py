"""Products and linear layers: what the twins' cases don't reach."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from chainrule import _core, kernels

A, B = np.ones((2, 3), np.float32), np.ones((3, 4), np.float32)
X, W, BIAS = np.ones((5, 3), np.float32), np.ones((4, 3), np.float32), np.ones(4, np.float32)
DY = np.ones((5, 4), np.float32)

BAD_CALLS: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (lambda: kernels.matmul([[1.0]], B), TypeError, "matmul: argument 'a' is a list"),
    (lambda: kernels.matmul(A.astype(int), B), TypeError, "matmul: argument 'a'.*float32 or float64"),
    (lambda: kernels.matmul(A, B.astype(float)), TypeError, "matmul: argument 'b'.*float32"),
    (lambda: kernels.matmul(A, None), TypeError, "matmul: argument 'b' is a NoneType"),
    (lambda: kernels.matmul(A, B.astype(np.float16)), TypeError, "matmul: argument 'b'"),
    (lambda: kernels.matmul(A[0], B), ValueError, "matmul: argument 'a'.*2 dimensions"),
    (lambda: kernels.matmul(A, B[0]), ValueError, "matmul: argument 'b'.*2 dimensions"),
    (lambda: kernels.matmul(np.float32(1), B), TypeError, "matmul: argument 'a'"),
    (lambda: kernels.matmul(np.array(1, np.float32), B), ValueError, "matmul: argument 'a'.*2 dimensions"),
    (lambda: kernels.matmul(A, B.T), ValueError, "matmul: the inner sizes.*3 and 4"),
    (lambda: kernels.matmul(A, B, transpose_a=True), ValueError, "matmul: the inner sizes.*2 and 3"),
    (lambda: kernels.matmul(A, B, transpose_b=True), ValueError, "matmul: the inner sizes.*3 and 4"),
    (
        lambda: kernels.matmul(np.ones((2, 2, 3), np.float32), np.ones((3, 3, 4), np.float32)),
        ValueError,
        r"matmul: the batch shapes \(2,\) of a and \(3,\) of b",
    ),
    (
        lambda: kernels.matmul(np.zeros((2**40, 0), np.float32), np.zeros((0, 2**40), np.float32)),
        ValueError,
        "matmul: the shape.*memory",
    ),
    (lambda: kernels.linear(X.astype(int), W), TypeError, "linear: argument 'x'"),
    (lambda: kernels.linear(np.array(1, np.float32), W), ValueError, "linear: argument 'x'.*1 dimension or more"),
    (lambda: kernels.linear(X, W.astype(float)), TypeError, "linear: argument 'weight'"),
    (lambda: kernels.linear(X, W[0]), ValueError, "linear: argument 'weight'.*2 dimensions"),
    (lambda: kernels.linear(X, W.T), ValueError, r"linear: argument 'weight'.*\(out_features, 3\)"),
    (lambda: kernels.linear(X, W, BIAS[:3]), ValueError, r"linear: argument 'bias'.*shape \(4,\)"),
    (lambda: kernels.linear(X, W, BIAS[:, None]), ValueError, r"linear: argument 'bias'.*shape \(4,\)"),
    (lambda: kernels.linear(X, W, BIAS.astype(float)), TypeError, "linear: argument 'bias'"),
    (lambda: kernels.linear(X, W, BIAS, "swish"), ValueError, "linear: argument 'activation' is 'swish', want one of"),
    (lambda: kernels.linear(X, W, None, residual=DY[0]), ValueError, r"linear: argument 'residual'.*shape \(5, 4\)"),
    (lambda: kernels.linear(X, W, None, residual=DY.astype(float)), TypeError, "linear: argument 'residual'"),
    (lambda: kernels.linear_backward(DY, X, W, into=(W, None)), ValueError, r"argument 'into\[0\]'.*memory that no"),
    (lambda: kernels.linear_backward(DY, X, W, into=(X, None)), ValueError, r"argument 'into\[0\]'.*the shape of"),
    (
        lambda: kernels.linear_backward(DY, X, W, into=(None, DY[0])),
        ValueError,
        r"argument 'into\[1\]'.*memory that no",
    ),
    (lambda: kernels.linear_backward(DY, X, W, into=(W.T.copy().T, None)), ValueError, r"argument 'into\[0\]'"),
    (lambda: kernels.linear_backward(DY, X, W, into=(W.astype(float), None)), TypeError, r"argument 'into\[0\]'"),
    (lambda: kernels.linear_backward(DY, X, W, into=(1, None)), TypeError, r"argument 'into\[0\]'"),  # type: ignore[arg-type]
    (lambda: kernels.linear_backward(DY, X, W, into=None), TypeError, "argument 'into' is None"),  # type: ignore[arg-type]
    (lambda: kernels.linear_backward(DY, X, W, into=(W,)), ValueError, "argument 'into' is"),  # type: ignore[arg-type]
    (lambda: kernels.linear_backward(DY, X, W, needs=[True] * 3), TypeError, "argument 'needs' is"),  # type: ignore[arg-type]
    (lambda: kernels.linear_backward(DY, X, W, 1), TypeError, "argument 'activation' is 1, want a string"),  # type: ignore[arg-type]
    (lambda: kernels.linear_backward(DY.astype(int), X, W), TypeError, "linear_backward: argument 'dy'"),
    (lambda: kernels.linear_backward(DY[:, :3], X, W), ValueError, r"linear_backward: argument 'dy'.*shape \(5, 4\)"),
    (lambda: kernels.linear_backward(DY[:4], X, W), ValueError, r"linear_backward: argument 'dy'.*shape \(5, 4\)"),
    (lambda: kernels.linear_backward(DY, X.astype(float), W), TypeError, "linear_backward: argument 'x'"),
    (lambda: kernels.linear_backward(DY, X, W[:, :2]), ValueError, "linear_backward: argument 'weight'"),
    (lambda: kernels.linear_backward(DY, X, W, "relu"), ValueError, "linear_backward: argument 'saved' is None"),
    (lambda: kernels.linear_backward(DY, X, W, "relu", DY[:4]), ValueError, "linear_backward: argument 'saved'"),
    (
        lambda: kernels.linear_backward(DY, X, W, input_activation="relu"),
        ValueError,
        "linear_backward: argument 'input_saved' is None",
    ),
    (
        lambda: kernels.linear_backward(DY, X, W, input_activation="relu", input_saved=DY),
        ValueError,
        "linear_backward: argument 'input_saved'",
    ),
    (lambda: kernels.linear_backward(DY, X, W, input_activation="elu"), ValueError, "argument 'input_activation'"),
    (lambda: kernels.linear_backward(DY, X, W, "elu", DY), ValueError, "linear_backward: argument 'activation'"),
    (lambda: kernels.linear_backward(DY, X, W, needs=(True,)), ValueError, "argument 'needs' is"),  # type: ignore[arg-type]
]


@pytest.mark.parametrize(("call", "error", "match"), BAD_CALLS, ids=[m for _, _, m in BAD_CALLS])
def test_bad_input_is_refused(call: Callable[[], Any], error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        call()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_nan_and_infinity_spread(dtype: Any, isa: str) -> None:
    """No term is skipped because a factor is zero."""
    for m, n, k in [(1, 1, 1), (3, 5, 4), (30, 70, 20), (20, 40, 600)]:
        a, b = np.zeros((m, k), dtype), np.zeros((k, n), dtype)
        b[k - 1, n - 1] = np.nan
        c = kernels.matmul(a, b)
        assert np.isnan(c[:, n - 1]).all()
        assert (c[:, : n - 1] == 0).all()
        b[k - 1, n - 1] = np.inf
        assert np.isnan(kernels.matmul(a, b)[:, n - 1]).all()
        a[:, k - 1] = -1
        assert (kernels.matmul(a, b)[:, n - 1] == -np.inf).all()
        y = kernels.linear(a, np.ascontiguousarray(b.T), activation="relu")
        assert (y[:, n - 1] == 0).all()


def test_sums_start_at_positive_zero(isa: str) -> None:
    zero = np.array([[-0.0]], np.float32)
    assert not np.signbit(kernels.matmul(zero, np.ones((1, 1), np.float32)))[0, 0]
    assert np.signbit(kernels.linear(zero, np.zeros((1, 1), np.float32), None, "leaky_relu"))[0, 0] == 0


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("k", [7, 300, 5000])
def test_a_rows_bits_do_not_depend_on_its_batch(rng: np.random.Generator, dtype: Any, k: int, isa: str) -> None:
    m, n = 70, 75
    a, b = rng.standard_normal((m, k)).astype(dtype), rng.standard_normal((k, n)).astype(dtype)
    whole = kernels.matmul(a, b)
    for rows in (slice(0, 1), slice(5, 7), slice(13, 30), slice(40, 70)):
        np.testing.assert_array_equal(kernels.matmul(a[rows], b), whole[rows])
    for columns in (slice(0, 1), slice(3, 20), slice(30, 75)):
        np.testing.assert_array_equal(kernels.matmul(a, b[:, columns]), whole[:, columns])
    weight = np.ascontiguousarray(b.T)
    np.testing.assert_array_equal(kernels.linear(a[3:4], weight), whole[3:4])
    np.testing.assert_array_equal(kernels.matmul(b.T, a.T).T, whole)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("k", [3, 16, 21, 259, 700, 4100])
def test_few_rows_or_columns_have_the_bits_of_many(rng: np.random.Generator, dtype: Any, k: int, isa: str) -> None:
    """Squares that are turned in registers lie over each other at the ends of columns and of blocks of K."""
    a, b = rng.standard_normal((90, k)).astype(dtype), rng.standard_normal((k, 90)).astype(dtype)
    whole = kernels.matmul(a, b)
    across, down = np.ascontiguousarray(a.T), np.ascontiguousarray(b.T)
    for few in range(1, 8):
        for many in (5, 16, 19, 37, 90):
            for m, n in ((few, many), (many, few)):
                for x in (a[:m], across[:, :m].T):
                    for y in (b[:, :n], down[:n].T):
                        np.testing.assert_array_equal(kernels.matmul(x, y), whole[:m, :n], strict=True)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("transposed", ["", "a", "b"])
@pytest.mark.parametrize(
    "shape",
    [
        (64, 300, 9001),
        (300, 64, 8200),
        (300, 300, 5000),
        (64, 9000, 70),
        (40, 600, 600),
        (768, 385, 130),
        (1500, 67, 300),
    ],
)
def test_a_part_has_the_bits_of_the_whole(
    rng: np.random.Generator, shape: tuple[int, int, int], transposed: str, dtype: Any, isa: str
) -> None:
    """Of products that share out spans of a long K, that send for what they read next, that keep what they packed."""
    m, n, k = shape
    ta, tb = transposed == "a", transposed == "b"
    a = rng.standard_normal((k, m) if ta else (m, k)).astype(dtype)
    b = rng.standard_normal((n, k) if tb else (k, n)).astype(dtype)
    whole = kernels.matmul(a, b, ta, tb)
    np.testing.assert_allclose(whole, (a.T if ta else a) @ (b.T if tb else b), rtol=1e-4, atol=1e-3)
    rows, columns = slice(m - 21, m), slice(n // 2 - 3, n // 2 + 20)
    some = kernels.matmul(a[:, rows] if ta else a[rows], b[columns] if tb else b[:, columns], ta, tb)
    np.testing.assert_array_equal(some, whole[rows, columns])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("ld", [300, 511, 512, 513, 1024, 1026, 2048, 4095])
def test_bits_do_not_depend_on_how_far_rows_lie_apart(rng: np.random.Generator, ld: int, dtype: Any, isa: str) -> None:
    """Rows, or terms, of A that fall into one set of the L1 are copied; others are read where they lie."""
    m, n, k = 61, 70, 275
    a, b = rng.standard_normal((m, k)).astype(dtype), rng.standard_normal((k, n)).astype(dtype)
    expected = kernels.matmul(a, b)
    rows, columns = np.full((m, ld), np.nan, dtype), np.full((k, ld), np.nan, dtype)
    rows[:, 1 : 1 + k], columns[:, 1 : 1 + m] = a, a.T
    np.testing.assert_array_equal(kernels.matmul(rows[:, 1 : 1 + k], b), expected)
    np.testing.assert_array_equal(kernels.matmul(columns[:, 1 : 1 + m], b, True), expected)


def reference_order(a: np.ndarray, b: np.ndarray, fma: Callable[[float, float, float], float]) -> float:
    """The specified order of a sum (docs/numerics.md), term by term."""
    spans = []
    for span in range(0, len(a), 4096):
        blocks = []
        for block in range(span, min(len(a), span + 4096), 256):
            total = np.float32(0)
            for k in range(block, min(len(a), span + 4096, block + 256)):
                total = fma(a[k], b[k], total)
            blocks.append(total)
        for block_sum in blocks[1:]:
            blocks[0] = np.float32(blocks[0] + block_sum)
        spans.append(blocks[0])
    for span_sum in spans[1:]:
        spans[0] = np.float32(spans[0] + span_sum)
    return spans[0]


def fma32(x: float, y: float, z: float) -> Any:
    """Rounded once: the product is exact in extended precision, and so, but for rare double rounding, is the sum."""
    return np.float32(np.longdouble(x) * np.longdouble(y) + np.longdouble(z))


@pytest.mark.parametrize("k", [1, 256, 257, 700, 4096, 4097, 9001])
@pytest.mark.skipif(np.finfo(np.longdouble).nmant < 63, reason="needs extended precision to emulate fma")
def test_the_order_of_a_sum_is_the_documented_one(rng: np.random.Generator, k: int) -> None:
    a, b = rng.standard_normal((2, k)).astype(np.float32)
    expected = reference_order(a, b, fma32)
    before = _core.isa_in_use()
    try:
        for isa in [i for i in _core.isa_available() if i != "generic"]:
            _core.set_isa(isa)
            assert kernels.matmul(a[None], b[:, None])[0, 0] == expected
            assert kernels.linear(a, b[None])[0] == expected
            rows = np.repeat(a[None], 40, 0)
            for columns in (1, 3, 20):  # one; few; a tile's
                other = np.repeat(b[:, None], columns, 1)
                for made in (kernels.matmul(rows, other), kernels.linear(rows, other.T.copy())):
                    assert (made == expected).all()
            dw = kernels.linear_backward(a[:, None], b[:, None], np.ones((1, 1), np.float32))[1]
            assert dw is not None
            assert dw[0, 0] == expected
    finally:
        _core.set_isa(before)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("n", "k"), [(1, 1), (13, 40), (21, 1), (33, 300), (300, 70)])
@pytest.mark.parametrize("m", [1, 4, 5, 255, 257, 5000, 2 * 4096 + 3])
def test_the_bias_gradient_is_a_product_with_ones(
    rng: np.random.Generator, m: int, n: int, k: int, dtype: Any, isa: str
) -> None:
    """By itself, and on the way of the weight's, which has no pass of its own over dy."""
    dy, x, w, to = (rng.standard_normal(s).astype(dtype) for s in ((m, n), (m, k), (n, k), n))
    expected = kernels.matmul(np.ones((1, m), dtype), dy)[0]
    for with_weight in (False, True):
        needs = (False, with_weight, True)
        np.testing.assert_array_equal(kernels.linear_backward(dy, x, w, needs=needs)[2], expected)
        total = to.copy()
        kernels.linear_backward(dy, x, w, needs=needs, into=(None, total))
        np.testing.assert_array_equal(total, to + expected)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_views_give_the_bits_of_their_copies(rng: np.random.Generator, dtype: Any) -> None:
    base = rng.standard_normal((2, 3, 40, 50)).astype(dtype)
    right = np.ascontiguousarray(rng.standard_normal((50, 40)).astype(dtype))
    swapped = base.astype(base.dtype.newbyteorder())
    misaligned = np.frombuffer(b"\0" + base.tobytes(), np.uint8)[1:].view(dtype).reshape(base.shape)
    frozen = base.copy()
    frozen.flags.writeable = False
    views = [
        base,
        base[:, ::2],
        base[::-1],
        base[..., ::-1],
        base.transpose(1, 0, 2, 3),
        base[:, :, 3:9],
        base[:, :1].swapaxes(-1, -2).copy().swapaxes(-1, -2),
        np.broadcast_to(base[:1, :1], base.shape),
        swapped,
        misaligned,
        frozen,
    ]
    for view in views:
        np.testing.assert_array_equal(
            kernels.matmul(view, right), kernels.matmul(np.array(view, dtype, order="C"), right)
        )
        np.testing.assert_array_equal(
            kernels.linear(view, right.T), kernels.linear(np.array(view, dtype, order="C"), right.T.copy())
        )


# On both sides of 128 KB of dy, up to which each thread computes dy f'(z) for itself.
@pytest.mark.parametrize("rows", [1, 180, 182, 700])
@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_gradients_behind_an_activation_are_those_of_its_gradient(
    rng: np.random.Generator, rows: int, activation: str, isa: str, threads: int
) -> None:
    saved, dy, x, w = (
        rng.standard_normal(s).astype(np.float32) for s in [(rows, 181), (rows, 181), (rows, 70), (181, 70)]
    )
    slope = getattr(kernels, f"{activation}_backward")(dy, saved)
    got = kernels.linear_backward(dy, x, w, activation, saved)
    for g, expected in zip(got, kernels.linear_backward(slope, x, w), strict=True):
        np.testing.assert_array_equal(g, expected)


def test_asking_for_fewer_gradients_gives_the_same_bits(rng: np.random.Generator) -> None:
    dy, x, w = (rng.standard_normal(s).astype(np.float32) for s in [(300, 40), (300, 50), (40, 50)])
    every = kernels.linear_backward(dy, x, w, "tanh", np.tanh(dy))
    for i in range(3):
        needs = (i == 0, i == 1, i == 2)
        some = kernels.linear_backward(dy, x, w, "tanh", np.tanh(dy), needs)
        assert [g is not None for g in some] == list(needs)
        np.testing.assert_array_equal(some[i], every[i])
    assert kernels.linear_backward(dy, x, w, needs=(False, False, False)) == (None, None, None)


def test_many_batch_dimensions() -> None:
    shape = (2, 1) * 9  # more than the kernel's space has, but sizes of one vanish
    a = np.arange(2**9 * 6, dtype=np.float32).reshape(*shape, 2, 3)
    np.testing.assert_array_equal(kernels.matmul(a, np.ones((3, 2), np.float32)), a @ np.ones((3, 2), np.float32))


def test_inputs_are_left_alone(rng: np.random.Generator) -> None:
    a, b = rng.standard_normal((30, 40)).astype(np.float32), rng.standard_normal((40, 50)).astype(np.float32)
    before = a.copy(), b.copy()
    kernels.matmul(a, b)
    np.testing.assert_array_equal(a, before[0])
    np.testing.assert_array_equal(b, before[1])


@pytest.mark.parametrize("rows", [1, 4, 256])
def test_gradients_that_are_added_have_the_bits_of_an_addition(rows: int) -> None:
    """A weight gradient of one block of rows; beyond, what is there is the first term of the blocks' sum."""
    rng = np.random.default_rng(0)
    dy, x, w, dw, db = (
        rng.standard_normal(s).astype(np.float32) for s in ((rows, 33), (rows, 40), (33, 40), (33, 40), 33)
    )
    _, gw, gb = kernels.linear_backward(dy, x, w)
    expected = kernels.add(dw, gw), kernels.add(db, gb)
    _, *got = kernels.linear_backward(dy, x, w, into=(dw, db))
    assert got[0] is dw
    assert got[1] is db
    for a, b in zip(got, expected, strict=True):
        np.testing.assert_array_equal(a, b)
