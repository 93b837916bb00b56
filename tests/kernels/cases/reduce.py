"""Forms (shape, axes) around the vector, the row chunk (4096), the column chunk (128 rows) and the panel (1024)."""

from __future__ import annotations

import builtins
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tests.kernels.cases import LENGTHS, Array, Case, integers, normal

FORMS: list[tuple[tuple[int, ...], Any]] = [
    *(((n,), None) for n in LENGTHS if n),
    ((), None),
    ((3, 5), ()),
    ((5, 17), 1),
    ((1000, 10), -1),
    ((3, 8195), 1),
    ((2, 8192), 1),
    ((16, 16), 0),
    ((127, 33), 0),
    ((128, 15), 0),
    ((129, 1), 0),
    ((129, 17), 0),
    ((1000, 3), 0),
    ((700, 1030), 0),
    ((9, 2050), 0),
    ((4, 300, 7), 1),
    ((3, 5, 40), (0, 1)),
]
APART: list[tuple[tuple[int, ...], Any]] = [
    ((6, 4, 35), (0, 2)),
    ((3, 2, 5, 4, 6), [0, -1, 2]),
    ((130, 3, 4100), (2, 0)),
    ((1, 7, 1, 9), (0, 3)),
]
EMPTY: list[tuple[tuple[int, ...], Any]] = [((0,), None), ((3, 0), 1), ((0, 3), 1), ((0, 4), 0), ((2, 0, 3), (0, 1))]


def magnitudes(x: Array, axis: Any = None, keepdims: bool = False) -> Array:
    return np.sum(np.abs(x), tuple(axis) if isinstance(axis, Sequence) else axis, keepdims=keepdims)


def mean_magnitudes(x: Array, axis: Any = None, keepdims: bool = False) -> Array:
    total = magnitudes(x, axis, keepdims)
    return total * total.size / builtins.max(1, x.size)


def var_mean_condition(
    x: Array, axis: Any = None, correction: float = 1, keepdims: bool = False
) -> tuple[Array, Array]:
    """A deviation d from the mean carries an error of eps (|mean| + |d|), so its square 2 |d| of that."""
    axes = tuple(axis) if isinstance(axis, Sequence) else axis
    mean = np.mean(x, axes, keepdims=True)
    d = np.abs(x - mean)
    terms = d * d + 2 * d * (np.abs(mean) + d)
    divisor = builtins.max(0, x.size // mean.size - correction)
    return np.sum(terms, axes, keepdims=keepdims) / divisor, mean_magnitudes(x, axis, keepdims)


def id_of(shape: tuple[int, ...], axis: Any) -> str:
    return f"{'x'.join(map(str, shape)) or '0d'}-{axis}"


def case(name: str, shape: tuple[int, ...], axis: Any, scale: Callable[..., Any] | None, **kwargs: Any) -> Case:
    exact = integers(shape) if name in ("sum", "amax", "amin", "max", "min", "argmax", "argmin") else None
    suffix = "".join(f"-{k}={v}" for k, v in kwargs.items())
    return Case(name, id_of(shape, axis) + suffix, normal(shape), {"axis": axis, **kwargs}, 4, scale, exact)


ONE_AXIS = [(s, a) for s, a in FORMS if a is None or isinstance(a, int)]
CASES = [
    *(case("sum", s, a, magnitudes) for s, a in FORMS + APART + EMPTY),
    *(case("mean", s, a, mean_magnitudes) for s, a in FORMS + APART + EMPTY),
    *(case(name, s, a, None) for s, a in FORMS + APART for name in ("amax", "amin")),
    *(case(name, s, a, None) for s, a in ONE_AXIS for name in ("max", "min", "argmax", "argmin")),
    *(case("var_mean", s, a, var_mean_condition, correction=c) for s, a in FORMS + APART for c in (0, 1)),
    *(
        case(name, (4, 3, 5), a, scale, keepdims=True)
        for name, scale in (("sum", magnitudes), ("mean", mean_magnitudes), ("amax", None), ("amin", None))
        for a in (None, 1, (0, 2))
    ),
    *(case(name, (4, 3, 5), a, None, keepdims=True) for name in ("max", "argmin") for a in (None, 1)),
    case("var_mean", (4, 3, 5), (0, 2), var_mean_condition, keepdims=True),
]
