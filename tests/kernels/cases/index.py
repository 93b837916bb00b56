from __future__ import annotations

from typing import Any

import numpy as np

from tests.kernels.cases import Array, Case

Shape = tuple[int, ...]
# x's shape, the axis, how many entries are named: more and fewer than there are, few and many columns, several chunks.
PLACES: list[tuple[Shape, int, int]] = [
    ((5,), 0, 9),
    ((1,), 0, 1),
    ((7, 3), 0, 20),
    ((7, 33), 1, 5),
    ((4, 6, 17), 1, 9),
    ((3, 5, 4), -1, 3),
    ((40, 300), 0, 100),
    ((2, 1000), 1, 3000),
    ((6, 4), 0, 0),
    ((300, 70), 1, 64),
]


def name_of(shape: Shape, axis: int, count: int) -> str:
    return f"{'x'.join(map(str, shape))}-{axis}-{count}"


def with_count(shape: Shape, axis: int, count: int) -> Shape:
    axis %= len(shape)
    return (*shape[:axis], count, *shape[axis + 1 :])


def values(rng: np.random.Generator, shape: Shape, dtype: Any, exact: bool) -> Array:
    return (rng.integers(-4, 5, shape) if exact else rng.standard_normal(shape)).astype(dtype)


def reading(shape: Shape, axis: int, count: int, whole: bool) -> Any:
    """(x, index, axis); index has x's dimensions where ``whole``, else one."""
    places = with_count(shape, axis, count) if whole else (count,)
    return lambda rng, dtype: (values(rng, shape, dtype, False), rng.integers(0, shape[axis], places), axis)


def writing(shape: Shape, axis: int, count: int, whole: bool, exact: bool = False) -> Any:
    """(y, index, source, axis)."""
    filled = with_count(shape, axis, count)
    return lambda rng, dtype: (
        values(rng, shape, dtype, exact),
        rng.integers(0, shape[axis], filled if whole else (count,)),
        values(rng, filled, dtype, exact),
        axis,
    )


def added(y: Array, index: Array, source: Array, axis: int) -> Array:
    """The magnitudes of what is added up."""
    from chainrule import reference

    add = reference.index_add if index.ndim == 1 and y.ndim > 1 else reference.scatter_add
    return add(np.abs(y), index, np.abs(source), axis)


SCANS: list[tuple[Shape, int]] = [
    ((1,), 0),
    ((100,), 0),
    ((7, 33), 0),
    ((7, 33), 1),
    ((3, 50, 70), 1),
    ((0, 3), 0),
    ((300, 40), 0),
    ((2, 5000), 1),
]
TRIANGLES: list[tuple[Shape, int]] = [
    (shape, d) for shape in [(1, 1), (5, 5), (3, 8), (9, 4), (2, 3, 33, 17), (0, 3)] for d in (0, 1, -2, 100, -100)
]
CASES = [
    *(Case("index_select", name_of(*p), reading(*p, False), ulps=0) for p in PLACES),
    *(Case("gather", name_of(*p), reading(*p, True), ulps=0) for p in PLACES),
    *(Case("index_copy", name_of(*p), writing(*p, False), ulps=0) for p in PLACES),
    *(Case("scatter", name_of(*p), writing(*p, True), ulps=0) for p in PLACES),
    *(Case("index_add", name_of(*p), writing(*p, False), {}, 6, added, writing(*p, False, True)) for p in PLACES),
    *(Case("scatter_add", name_of(*p), writing(*p, True), {}, 6, added, writing(*p, True, True)) for p in PLACES),
    Case("index_select", "int32", lambda rng, dtype: (values(rng, (9, 2), dtype, False), np.int32([8, 0, 3])), ulps=0),
    *(
        Case(name, kind, lambda rng, dtype, kind=kind: (values(rng, (9, 3), kind, True), np.array([[8, 0, 3]]), 0))
        for name in ("gather",)
        for kind in ("i8", "u1", "?")
    ),
    Case("index_places", "one", lambda rng, dtype: (rng.integers(-9, 9, (3, 17)), 9)),
    Case("index_places", "two", lambda rng, dtype: (rng.integers(-9, 9, 17), 9, rng.integers(0, 5, (3, 1)))),
    Case("index_places", "many", lambda rng, dtype: (rng.integers(-9, 9, 20000), 9, rng.integers(0, 5, 20000))),
    *(
        Case(
            "cumsum",
            f"{'x'.join(map(str, s))}-{axis}",
            lambda rng, dtype, s=s, axis=axis: (values(rng, s, dtype, False), axis),
            {},
            2 + s[axis] / 2,
            lambda x, axis: np.cumsum(np.abs(x), axis),
            lambda rng, dtype, s=s, axis=axis: (values(rng, s, dtype, True), axis),
        )
        for s, axis in SCANS
    ),
    *(
        Case(
            name,
            f"{'x'.join(map(str, s))}-{d}",
            lambda rng, dtype, s=s, d=d: (values(rng, s, dtype, False), d),
            ulps=0,
        )
        for name in ("tril", "triu")
        for s, d in TRIANGLES
    ),
]
