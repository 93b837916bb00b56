from __future__ import annotations

from typing import Any

import numpy as np

from tests.kernels.cases import Array, Case


def lookup(rows: int, width: int, shape: tuple[int, ...], dtype_of_index: Any = np.int64) -> Any:
    return lambda rng, dtype: (
        rng.standard_normal((rows, width)).astype(dtype),
        rng.integers(0, rows, shape).astype(dtype_of_index),
    )


def gradient(rows: int, width: int, shape: tuple[int, ...], exact: bool = False) -> Any:
    def make(rng: np.random.Generator, dtype: np.dtype) -> tuple[Any, ...]:
        dy = rng.integers(-4, 5, (*shape, width)) if exact else rng.standard_normal((*shape, width))
        return dy.astype(dtype), rng.integers(0, rows, shape), rows

    return make


def magnitudes(dy: Array, index: Array, rows: int, padding_idx: int | None = None) -> Array:
    total = np.zeros((rows, dy.shape[-1]))
    np.add.at(total, index, np.abs(dy))
    return total


SIZES: list[tuple[int, int, tuple[int, ...]]] = [
    (1, 1, (1,)),
    (10, 7, (33,)),
    (50, 16, (4, 9)),
    (7, 17, ()),
    (1000, 64, (300,)),
    (3, 5, (2000,)),
    (5, 4, (0,)),
    (5, 0, (3,)),
]
CASES = [
    *(Case("embedding", f"{r}x{w}-{'x'.join(map(str, s))}", lookup(r, w, s), ulps=0) for r, w, s in SIZES),
    Case("embedding", "int32", lookup(20, 9, (3, 5), np.int32), ulps=0),
    *(
        Case(
            "embedding_backward",
            f"{r}x{w}-{'x'.join(map(str, s))}-{padding}",
            gradient(r, w, s),
            {"padding_idx": padding},
            4,
            magnitudes,
            gradient(r, w, s, exact=True),
        )
        for r, w, s in SIZES
        for padding in (None, 0, -1)
    ),
]
