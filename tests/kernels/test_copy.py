"""Copies and fills of views of every kind, into views of every kind; what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from chainrule import kernels

Array = np.ndarray[Any, Any]
KINDS = [np.float32, np.float64, np.int64, np.int16, np.uint8, np.bool_]


def some_view(rng: np.random.Generator, dtype: Any, longest: int) -> Array:
    """A permuted, sliced, reversed, sometimes broadcast view."""
    ndim = int(rng.integers(0, 5))
    x = rng.integers(0, 200, rng.integers(0 if rng.random() < 0.05 else 1, longest + 1, ndim)).astype(dtype)
    x = x.transpose(rng.permutation(ndim))
    x = x[(*(slice(None, None, int(rng.choice([1, 1, 1, -1, 2, -2]))) for _ in range(ndim)), ...)]
    if rng.random() < 0.2:
        x = np.moveaxis(np.broadcast_to(x, (3, *x.shape)), 0, int(rng.integers(0, ndim + 1)))
    return x


def place_for(rng: np.random.Generator, x: Array) -> tuple[Array, Any]:
    """Zeros with a part of x's shape, permuted in memory and sliced: the whole, and how to take the part."""
    axes = rng.permutation(x.ndim)
    whole = np.zeros([2 * x.shape[a] + 1 for a in axes], x.dtype)
    part = (*(slice(1, 1 + 2 * n, 2) if rng.random() < 0.5 else slice(0, n) for n in x.shape), ...)
    order = np.argsort(axes)
    return whole, lambda array: array.transpose(order)[part]


@pytest.mark.parametrize("dtype", KINDS)
@pytest.mark.parametrize("longest", [3, 20, 70])
def test_any_view_into_any_view(dtype: Any, longest: int, isa: str, threads: int, rng: np.random.Generator) -> None:
    for _ in range(25):
        x = some_view(rng, dtype, longest)
        y = kernels.copy(x)
        assert y.flags.c_contiguous
        assert y.dtype == x.dtype
        np.testing.assert_array_equal(y, x)
        whole, part = place_for(rng, x)
        expected = whole.copy()
        part(expected)[...] = x
        kernels.copy(x, part(whole))
        np.testing.assert_array_equal(whole, expected)
        part(expected)[...] = 1
        kernels.fill(part(whole), 1)
        np.testing.assert_array_equal(whole, expected)


def test_a_large_transpose_in_several_chunks(isa: str, threads: int, rng: np.random.Generator) -> None:
    x = rng.standard_normal((3, 515, 1030)).astype(np.float32)
    np.testing.assert_array_equal(kernels.copy(x.transpose(2, 0, 1)), x.transpose(2, 0, 1))
    np.testing.assert_array_equal(kernels.copy(x[:, ::-1].transpose(0, 2, 1)), x[:, ::-1].transpose(0, 2, 1))


def test_nothing_beyond_a_part_is_written(isa: str, rng: np.random.Generator) -> None:
    for rows, columns in [(3, 3), (17, 15), (16, 33), (65, 5)]:
        whole = np.full((columns + 2, rows + 2), -1, np.float32)
        kernels.copy(rng.standard_normal((rows, columns)).astype(np.float32).T, whole[1:-1, 1:-1])
        whole[1:-1, 1:-1] = -1
        assert (whole == -1).all()


@pytest.mark.parametrize("dtype", KINDS)
def test_memory_that_is_odd(dtype: Any, threads: int) -> None:
    item = np.dtype(dtype).itemsize
    raw = np.arange(24 * item + 1, dtype=np.uint8)
    misaligned = raw[1:].view(dtype).reshape(4, 6) if item > 1 else raw[1:].view(np.uint8).reshape(4, 6)
    np.testing.assert_array_equal(kernels.copy(misaligned.T), misaligned.T)
    record = np.zeros((5, 7), [("a", "u1"), ("b", dtype)])
    kernels.copy(np.ones((5, 7), dtype), record["b"])
    assert (record["b"] == 1).all()
    assert (record["a"] == 0).all()
    swapped = np.arange(6).astype(np.dtype(dtype).newbyteorder())
    assert kernels.copy(swapped).dtype.isnative
    np.testing.assert_array_equal(kernels.copy(swapped), swapped)


def test_overlapping_memory_is_read_before_it_is_written(threads: int) -> None:
    for source, place in [(slice(0, -1), slice(1, None)), (slice(1, None), slice(0, -1)), (slice(None, None, -1),) * 2]:
        x = np.arange(20000.0, dtype=np.float32)
        expected = x.copy()
        expected[place] = x[source].copy()
        kernels.copy(x[source], x[place])
        np.testing.assert_array_equal(x, expected)


def test_a_source_broadcasts_to_its_place() -> None:
    y = np.zeros((3, 4), np.float32)
    kernels.copy(np.arange(4, dtype=np.float32), y)
    np.testing.assert_array_equal(y, [[0, 1, 2, 3]] * 3)
    kernels.copy(np.float32([[1], [2], [3]]), y)
    np.testing.assert_array_equal(y, [[1] * 4, [2] * 4, [3] * 4])


def test_new_arrays_are_aligned() -> None:
    for shape, dtype in [((3,), np.float32), ((0, 2), np.bool_), ((), np.int64), ((1000, 7), np.float64)]:
        for array in (kernels.empty(shape, dtype), kernels.full(shape, 1, dtype)):
            assert array.shape == shape
            assert array.dtype == dtype
            assert array.ctypes.data % 64 == 0
    assert (kernels.full((3, 4), -0.5) == -0.5).all()


def read_only(x: Array) -> Array:
    x.flags.writeable = False
    return x


ONES = np.ones((2, 3), np.float32)
BAD: list[tuple[str, Any, type[Exception], str]] = [
    ("a list", lambda: kernels.copy([1.0]), TypeError, "^copy: argument 'x' is a list"),
    ("objects", lambda: kernels.copy(ONES.astype(object)), TypeError, "^copy: argument 'x'"),
    ("long double", lambda: kernels.copy(ONES.astype(np.longdouble)), TypeError, "^copy: argument 'x'"),
    ("another dtype", lambda: kernels.copy(ONES, np.ones((2, 3))), TypeError, "^copy: argument 'x' .*float64"),
    ("too long", lambda: kernels.copy(ONES, np.ones((2, 2), np.float32)), ValueError, "^copy: argument 'x' .*broad"),
    ("too deep", lambda: kernels.copy(ONES, np.ones(3, np.float32)), ValueError, "^copy: argument 'x' .*broadcasts"),
    ("out a list", lambda: kernels.copy(ONES, [1.0]), TypeError, "^copy: argument 'out'"),
    ("read-only", lambda: kernels.copy(ONES, read_only(ONES.copy())), ValueError, "^copy: argument 'out' .*writeable"),
    (
        "shared memory",
        lambda: kernels.copy(ONES, np.lib.stride_tricks.as_strided(ONES.copy(), (2, 3), (0, 4))),
        ValueError,
        "^copy: argument 'out' .*share",
    ),
    ("byte order", lambda: kernels.copy(ONES, np.ones((2, 3), ">f4")), ValueError, "^copy: argument 'out' .*order"),
    ("fill read-only", lambda: kernels.fill(read_only(ONES.copy()), 1), ValueError, "^fill: argument 'out'"),
    ("fill with a list", lambda: kernels.fill(ONES.copy(), [1]), TypeError, "^fill: argument 'value'"),
    ("fill with text", lambda: kernels.fill(ONES.copy(), "1"), TypeError, "^fill: argument 'value'"),
    ("a negative size", lambda: kernels.empty((-1,)), ValueError, "^empty: .*negative"),
    ("too large", lambda: kernels.empty((1 << 40, 1 << 40)), ValueError, "^empty: .*memory can hold"),
]


@pytest.mark.parametrize(("call", "error", "match"), [b[1:] for b in BAD], ids=[b[0] for b in BAD])
def test_bad_input(call: Any, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        call()
    assert (ONES == 1).all()
