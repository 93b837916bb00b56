"""Pooling: rows around the vector's width, every window option, planes above one chunk."""

from __future__ import annotations

from typing import Any

import numpy as np

from chainrule import reference
from tests.kernels.cases import Array, Case, channels_last, integers, normal

# shape, kernel_size, options
MAX: list[tuple[tuple[int, ...], Any, dict[str, Any]]] = [
    *(((2, 3, 4, w), 2, {}) for w in (2, 3, 15, 16, 17, 31, 32, 33, 34, 65)),
    *(((1, 2, 5, w), 3, {"stride": 1, "padding": 1}) for w in (1, 2, 8, 16, 17, 18, 35)),
    *(((1, 2, 9, w), 3, {"stride": 2, "padding": 1}) for w in (1, 16, 31, 32, 33, 34, 67)),
    ((2, 2, 11, 40), (2, 3), {"stride": (3, 3), "padding": (1, 0)}),
    ((2, 1, 20, 70), (3, 2), {"stride": (1, 4), "padding": (0, 1), "ceil_mode": True}),
    ((1, 3, 12, 45), 3, {"stride": 2, "dilation": 2, "padding": 2}),
    ((1, 1, 13, 50), (2, 3), {"stride": (2, 1), "dilation": (3, 5), "ceil_mode": True}),
    ((1, 1, 1, 3), 2, {"padding": 2, "dilation": 3, "stride": 1}),  # windows without elements
    ((2, 2, 9, 38), 2, {"ceil_mode": True}),
    ((1, 2, 9, 38), 2, {"dilation": 2}),
    ((1, 2, 9, 38), 2, {"stride": (1, 2), "dilation": (3, 1), "padding": 1}),
    ((2, 2, 7, 7), 7, {}),
    ((0, 3, 8, 8), 2, {}),
    ((6, 16, 32, 32), 2, {}),  # several chunks
    ((3, 8, 33, 33), 3, {"stride": 2, "padding": 1}),
    # Planes enough to fill lanes:
    ((5, 3, 7, 9), 3, {"stride": 2, "padding": 1}),
    ((7, 2, 5, 11), (2, 3), {"stride": (1, 2), "padding": (1, 1), "dilation": (2, 1), "ceil_mode": True}),
    ((4, 4, 1, 3), 2, {"padding": 2, "dilation": 3, "stride": 1}),  # windows without elements
    ((40, 3, 12, 12), 2, {}),
]
AVG: list[tuple[tuple[int, ...], Any, dict[str, Any]]] = [
    *(((2, 3, 4, w), 2, {}) for w in (2, 3, 16, 17, 31, 32, 33, 34)),
    *(((1, 2, 5, w), 3, {"stride": 1, "padding": 1}) for w in (1, 2, 8, 17, 18, 35)),
    *(((1, 2, 9, w), 3, {"stride": 2, "padding": 1, "count_include_pad": False}) for w in (1, 31, 32, 33, 67)),
    ((2, 2, 6, 6), 3, {"padding": 1, "ceil_mode": True}),
    ((2, 2, 6, 39), 3, {"padding": 1, "ceil_mode": True, "count_include_pad": False}),
    ((1, 2, 11, 50), (2, 3), {"stride": (3, 4), "divisor_override": -7}),
    ((2, 2, 7, 7), 7, {}),
    ((0, 3, 8, 8), 2, {}),
    ((6, 16, 32, 32), 2, {}),
    ((3, 8, 33, 33), 3, {"stride": 2, "padding": 1}),
    # Planes enough to fill lanes:
    ((5, 3, 7, 9), 3, {"stride": 2, "padding": 1}),
    ((7, 2, 5, 8), (2, 3), {"stride": (1, 2), "padding": (1, 1), "ceil_mode": True, "count_include_pad": False}),
    ((4, 4, 6, 7), 3, {"stride": (3, 4), "divisor_override": -7}),
    ((40, 3, 12, 12), 2, {}),
]
# Channels around the vector's width, for images whose channels lie together.
DEEP = [
    *(((2, c, 5, 6), 2, {}) for c in (2, 7, 8, 9, 15, 16, 17, 31, 33, 65, 130)),
    ((1, 20, 9, 8), 3, {"stride": 2, "padding": 1}),
    ((3, 16, 33, 32), 3, {"stride": 2, "padding": 1}),
]
ADAPTIVE = [
    ((2, 3, 8, 8), 1),
    ((2, 3, 7, 33), 1),
    ((1, 2, 5, 7), (3, 4)),
    ((1, 2, 5, 7), (7, 11)),
    ((2, 2, 40, 37), (3, 2)),
    ((1, 2, 12, 35), (4, 1)),
    ((2, 2, 3, 3), (0, 2)),
    ((0, 2, 3, 3), 2),
    ((2, 0, 3, 3), 2),
    ((16, 20, 16, 16), (5, 3)),
    ((2, 70, 7, 9), 1),
    ((3, 16, 7, 9), (2, 4)),
]


def text(shape: tuple[int, ...], kernel: Any, options: dict[str, Any]) -> str:
    parts = ["x".join(map(str, shape)), f"k{kernel}", *(f"{k}{v}" for k, v in options.items())]
    return "-".join(parts).replace(" ", "")


def pooled(name: str, shape: tuple[int, ...], kernel: Any, options: dict[str, Any]) -> tuple[int, ...]:
    y = getattr(reference, name)(np.zeros(shape), kernel, **options)
    return y[0].shape if isinstance(y, tuple) else y.shape


def special(shape: tuple[int, ...]) -> Any:
    """Few distinct values, NaN and infinities: ties and NaN at every place of a window."""
    values = np.array([0, 1, 2, 3, np.nan, np.inf, -np.inf])
    return lambda rng, dtype: (rng.choice(values, shape, p=[0.2, 0.2, 0.2, 0.2, 0.05, 0.05, 0.1]).astype(dtype),)


def max_backward(shape: tuple[int, ...], kernel: Any, options: dict[str, Any]) -> Any:
    def args(rng: np.random.Generator, dtype: np.dtype) -> tuple[Any, ...]:
        _, indices = reference.max_pool2d(rng.standard_normal(shape), kernel, **options)
        return rng.integers(-4, 5, indices.shape).astype(dtype), indices, shape

    return args


def max_gather(shape: tuple[int, ...], kernel: Any, options: dict[str, Any]) -> Any:
    def args(rng: np.random.Generator, dtype: np.dtype) -> tuple[Any, ...]:
        x = rng.standard_normal(shape).astype(dtype)
        return x, reference.max_pool2d(rng.standard_normal(shape), kernel, **options)[1]

    return args


def with_shape(make: Any, *rest: Any) -> Any:
    return lambda rng, dtype: (*make(rng, dtype), *rest)


def magnitude(name: str) -> Any:
    """The twin on magnitudes: every gradient's sum of the magnitudes of its terms."""

    def scale(array: Array, *args: Any, **kwargs: Any) -> Any:
        if "divisor_override" in kwargs:
            kwargs = {**kwargs, "divisor_override": abs(kwargs["divisor_override"])}
        return [getattr(reference, name)(np.abs(array), *args, **kwargs)]

    return scale


CASES = []
for s, k, o in MAX + DEEP:
    CASES += [
        Case("max_pool2d", text(s, k, o), lambda rng, dtype, s=s, k=k: (*normal(s)(rng, dtype), k), o),
        Case("max_pool2d", "special-" + text(s, k, o), with_shape(special(s), k), o),
        Case("max_pool2d_backward", text(s, k, o), max_backward(s, k, o), integers=max_backward(s, k, o), ulps=0),
        Case("max_pool2d_gather", text(s, k, o), max_gather(s, k, o), ulps=0),
    ]
CASES.append(
    Case("max_pool2d", "values-only", with_shape(normal((2, 3, 9, 41)), 3), {"stride": 2, "return_indices": False})
)
for s, k, o in AVG + DEEP:
    dy = pooled("avg_pool2d", s, k, o)
    CASES += [
        Case("avg_pool2d", text(s, k, o), with_shape(normal(s), k), o, ulps=16, scale=magnitude("avg_pool2d")),
        Case(
            "avg_pool2d_backward",
            text(s, k, o),
            with_shape(normal(dy), s, k),
            o,
            ulps=8,
            scale=magnitude("avg_pool2d_backward"),
        ),
    ]
CASES += [  # a divisor that is a power of two is exact
    Case(
        "avg_pool2d",
        "exact",
        with_shape(normal((2, 3, 9, 35)), 3),
        {"stride": 2, "divisor_override": 8},
        ulps=16,
        scale=magnitude("avg_pool2d"),
        integers=with_shape(integers((2, 3, 9, 35)), 3),
    ),
    Case(
        "avg_pool2d_backward",
        "exact",
        with_shape(normal((2, 3, 4, 17)), (2, 3, 9, 35), 3),
        {"stride": 2, "divisor_override": 8},
        ulps=8,
        scale=magnitude("avg_pool2d_backward"),
        integers=with_shape(integers((2, 3, 4, 17)), (2, 3, 9, 35), 3),
    ),
]
for s, bins in ADAPTIVE:
    name = text(s, bins, {})
    dy = reference.adaptive_avg_pool2d(np.zeros(s), bins).shape
    CASES += [
        Case("adaptive_avg_pool2d", name, with_shape(normal(s), bins), ulps=16, scale=magnitude("adaptive_avg_pool2d")),
        Case(
            "adaptive_avg_pool2d_backward",
            name,
            with_shape(normal(dy), s),
            ulps=8,
            scale=magnitude("adaptive_avg_pool2d_backward"),
        ),
    ]
CASES += [channels_last(case) for case in CASES]
