"""Indices that are bad, memory that is shared, shapes that don't fit; casts and comparisons beyond their cases."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from chainrule import kernels

X = np.arange(12, dtype=np.float32).reshape(3, 4)
ROWS = np.array([2, 0])
WHOLE = np.array([[0, 1, 2, 0]])

READS: dict[str, Callable[[Any], Any]] = {
    "index_select": lambda index: kernels.index_select(X, index, 0),
    "gather": lambda index: kernels.gather(X, np.broadcast_to(index, (1, 4)) if np.ndim(index) < 2 else index, 0),
}
WRITES: dict[str, Callable[..., Any]] = {
    "index_copy": lambda y, index: kernels.index_copy(y, index, X[: len(index)], 0),
    "index_add": lambda y, index: kernels.index_add(y, index, X[: len(index)], 0),
    "scatter": lambda y, index: kernels.scatter(y, np.tile(index, (1, 4))[:1, :4], X[:1], 0),
    "scatter_add": lambda y, index: kernels.scatter_add(y, np.tile(index, (1, 4))[:1, :4], X[:1], 0),
}


@pytest.mark.parametrize("bad", [-1, 3, 2**40, -(2**63)])
def test_a_place_out_of_range_is_refused_and_nothing_written(bad: int) -> None:
    index = np.array([0, bad])
    for name, read in READS.items():
        with pytest.raises(ValueError, match=f"^{name}: argument 'index' is holding {bad}, want places in"):
            read(index[1:])
    for name, write in WRITES.items():
        y = X.copy()
        with pytest.raises(ValueError, match=f"^{name}: argument 'index' is holding {bad}, want places in"):
            write(y, index)
        np.testing.assert_array_equal(y, X)
    with pytest.raises(ValueError, match=r"^index_places: argument 'index' is holding"):
        kernels.index_places(np.array([bad]), 3 if bad > 0 else 0)


@pytest.mark.parametrize("bad", [-1, 7, 2**62, 2**63 - 1, -(2**62), -(2**63)])
def test_one_bad_place_among_many_is_found(bad: int, isa: str, threads: int) -> None:
    """Wherever it is: many places are checked by several threads, in blocks."""
    rng = np.random.default_rng(0)
    index = rng.integers(0, 7, (700, 100))
    x = rng.standard_normal((700, 7)).astype(np.float32)
    np.testing.assert_array_equal(kernels.gather(x, index, 1), np.take_along_axis(x, index, 1))
    for place in (0, 255, 256, 32767, 32768, 65536, index.size - 1):
        one = index.copy()
        one.flat[place] = bad
        y = x.copy()
        for call in (
            lambda one=one: kernels.gather(x, one, 1),
            lambda one=one, y=y: kernels.scatter_add(y, one, np.ones(one.shape, np.float32), 1),
        ):
            with pytest.raises(ValueError, match=rf"argument 'index' is holding {bad}, want places in \[0, 7\)"):
                call()
        np.testing.assert_array_equal(y, x)


@pytest.mark.parametrize("bad", [-101, 11, 2**63 - 1, -(2**63)])
def test_a_label_to_be_ignored_is_no_bad_one(bad: int, isa: str) -> None:
    x = np.random.default_rng(0).standard_normal((600, 11)).astype(np.float32)
    labels = np.arange(600) % 11
    labels[::7] = -100
    few = kernels.cross_entropy(x, labels, ignore_index=-100)[0]
    kept = labels >= 0
    np.testing.assert_allclose(few, kernels.cross_entropy(x[kept], labels[kept])[0], rtol=1e-5)
    labels[599] = bad
    with pytest.raises(ValueError, match=f"holding the label {bad}"):
        kernels.cross_entropy(x, labels, ignore_index=-100)


@pytest.mark.parametrize("name", WRITES)
def test_what_can_not_be_written_is_refused(name: str) -> None:
    read_only = X.copy()
    read_only.flags.writeable = False
    for y in (read_only, np.asfortranarray(X), np.zeros((3, 8), np.float32)[:, ::2], X.astype(">f4")):
        before = y.copy()
        with pytest.raises(ValueError, match=f"^{name}: argument 'y'"):
            WRITES[name](y, ROWS)
        np.testing.assert_array_equal(y, before)


def test_a_source_that_is_part_of_the_target_is_read_first(threads: int) -> None:
    y = np.arange(40000, dtype=np.float32).reshape(200, 200)
    order = np.random.default_rng(0).permutation(200)
    expected = np.empty_like(y)
    expected[order] = y
    kernels.index_copy(y, order, y, 0)
    np.testing.assert_array_equal(y, expected)


def test_duplicates(threads: int, isa: str) -> None:
    index = np.tile([3, 1, 3], 700)
    source = np.arange(2100 * 5, dtype=np.float64).reshape(2100, 5)
    y = kernels.index_copy(np.zeros((4, 5)), index, source, 0)
    np.testing.assert_array_equal(y[3], source[-1])
    np.testing.assert_array_equal(y[1], source[-2])
    total = kernels.index_add(np.zeros((4, 5)), index, source, 0)
    np.testing.assert_array_equal(total[1], source[1::3].sum(0))


def test_places_of_two_axes() -> None:
    x = np.arange(60).reshape(4, 5, 3)
    first, second = np.array([[0], [-1]]), np.array([4, -5, 2])
    places = kernels.index_places(second, 5, kernels.index_places(first, 4))
    np.testing.assert_array_equal(x.reshape(20, 3)[places], x[first, second])


@pytest.mark.parametrize("name", ["eq", "ne", "lt", "le", "gt", "ge", "logical_and", "logical_or", "logical_xor"])
def test_bad_comparisons(name: str) -> None:
    compare = getattr(kernels, name)
    for bad in (2.5, 300, -1, np.inf):
        with pytest.raises(ValueError, match=f"^{name}: argument 'b' is .* holds"):
            compare(np.zeros(3, np.uint8), bad)
    with pytest.raises(TypeError, match=f"^{name}: argument 'b'"):
        compare(X, X.astype(np.float64))
    with pytest.raises(TypeError, match=f"^{name}: argument 'a'"):
        compare(X.astype(np.float16), X.astype(np.float16))
    with pytest.raises(TypeError, match=f"^{name}: argument 'a' is a int"):
        compare(1, 2)
    with pytest.raises(ValueError, match=f"^{name}: the shapes .* don't broadcast"):
        compare(X, X[:, :3])
    assert compare(X, 2).dtype == np.bool_
    assert compare(2, X).shape == X.shape


def test_views_are_compared_and_cast_where_they_lie(rng: np.random.Generator, threads: int) -> None:
    x = rng.integers(0, 3, (300, 70))
    for view in (x.T, x[::-1, ::2], np.broadcast_to(x[:1], x.shape)):
        np.testing.assert_array_equal(kernels.eq(view, 1), view == 1)
        np.testing.assert_array_equal(kernels.cast(view, np.float32), view.astype(np.float32))
        flags = view.astype(bool)
        np.testing.assert_array_equal(kernels.logical_and(flags, flags[:1]), flags & flags[:1])


def test_a_cast_to_floats(threads: int, isa: str) -> None:
    x = np.array([2**24 + 1, 2**53 + 1, -(2**63), 0, 7] * 20)
    for to in (np.float32, np.float64):
        np.testing.assert_array_equal(kernels.cast(x, to), x.astype(to))
    doubles = np.array([1e300, 1e-300, 0.1, np.nan, -np.inf] * 20)
    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(kernels.cast(doubles, np.float32), doubles.astype(np.float32))
    with pytest.raises(TypeError, match=r"^cast: argument 'dtype'"):
        kernels.cast(x, np.float16)


def test_triangles_of_far_diagonals_and_small_items() -> None:
    for dtype in (np.bool_, np.int16, np.int64):
        x = np.ones((2, 3, 4), dtype)
        for d in (-(2**63), -2, 0, 3, 2**63 - 1):
            k = max(-9, min(9, d))
            np.testing.assert_array_equal(kernels.tril(x, d), np.tril(x, k))
            np.testing.assert_array_equal(kernels.triu(x, d), np.triu(x, k))
    with pytest.raises(ValueError, match=r"^tril: argument 'x'"):
        kernels.tril(np.ones(3))


def test_a_replay_checks_its_indices() -> None:
    """A recorded step whose index input is out of range raises, as the eager step does."""
    import chainrule as cr

    @cr.compile
    def picked(x: cr.Tensor, index: cr.Tensor) -> cr.Tensor:
        return x[index].sum() + x.gather(0, index[:, None]).sum()

    x = cr.arange(6, dtype=cr.float32).reshape(3, 2)
    for good in ([0, 2], [2, 1], [1, 1]):
        index = cr.tensor(good)
        assert picked(x, index).item() == x[index].sum().item() + 2 * sum(good)
    for bad in ([0, 3], [-4, 0]):
        with pytest.raises((ValueError, IndexError), match="index"):
            picked(x, cr.tensor(bad))
    assert picked(x, cr.tensor([0, 0])).item() == 2
