from __future__ import annotations

from typing import Any

import numpy as np

from tests.kernels.cases import Array, Case, normal

SHAPES: list[tuple[tuple[int, ...], int]] = [
    *(((3, n), -1) for n in (1, 7, 8, 15, 16, 17, 33, 100, 1000)),
    ((2, 4100), 1),
    ((300, 10), -1),
    ((9, 5), 0),
    ((20, 33), 0),
    ((4, 6, 50), 1),
    ((3, 130, 16), -2),
    ((40,), 0),
    ((0, 4), 1),
    ((4, 0), 1),
    ((2, 0, 3), 2),
]


def spread(*shapes: tuple[int, ...]) -> Any:
    """Scores up to some 20 apart."""
    return lambda rng, dtype: tuple((5 * rng.standard_normal(s)).astype(dtype) for s in shapes)


def softmax_condition(x: Array, axis: int = -1) -> Array:
    """x - max is rounded: exp passes that on in proportion to its magnitude."""
    if x.size == 0:
        return x
    d = x - np.max(x, axis, keepdims=True)
    e = np.exp(d)
    return e / np.sum(e, axis, keepdims=True) * (2 + np.abs(d))


def log_softmax_condition(x: Array, axis: int = -1) -> Array:
    if x.size == 0:
        return x
    d = x - np.max(x, axis, keepdims=True)
    return 1 + np.abs(d) + np.log(np.sum(np.exp(d), axis, keepdims=True))


def softmax_backward_condition(dy: Array, y: Array, axis: int = -1) -> Array:
    return np.abs(y) * (np.abs(dy) + np.sum(np.abs(dy * y), axis, keepdims=True))


def log_softmax_backward_condition(dy: Array, y: Array, axis: int = -1) -> Array:
    return np.abs(dy) + np.exp(y) * np.sum(np.abs(dy), axis, keepdims=True)


CASES = [
    case
    for shape, axis in SHAPES
    for id in [f"{'x'.join(map(str, shape))}-{axis}"]
    for case in (
        Case("softmax", id, spread(shape), {"axis": axis}, 4, softmax_condition),
        Case("log_softmax", id, spread(shape), {"axis": axis}, 4, log_softmax_condition, extended=True),
        Case("softmax_backward", id, normal(shape, shape), {"axis": axis}, 4, softmax_backward_condition),
        Case("log_softmax_backward", id, normal(shape, shape), {"axis": axis}, 4, log_softmax_backward_condition),
    )
]
