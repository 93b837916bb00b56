from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from chainrule import reference
from tests.kernels.cases import Array, Case

# (batch, heads, queries, keys, depth, width), around the vector (16, 8), the group and the tile of keys (32, 64) and
# the block of a product (256). One head is split over blocks, many are not.
SHAPES = [
    (1, 1, 1, 1, 1, 1),
    (2, 3, 5, 7, 3, 2),
    (1, 2, 16, 31, 8, 8),
    (1, 1, 33, 32, 15, 17),
    (2, 1, 63, 65, 16, 33),
    (1, 2, 64, 64, 32, 32),
    (1, 1, 65, 63, 40, 16),
    (1, 3, 130, 129, 9, 31),
    (3, 2, 97, 200, 5, 64),
    (1, 1, 200, 97, 64, 4),
    (1, 1, 10, 9, 300, 270),
    (4, 8, 20, 20, 16, 16),
    (0, 2, 3, 3, 4, 4),
    (2, 2, 0, 3, 4, 4),
    (2, 2, 3, 0, 4, 4),
]


def heads(shape: tuple[int, ...]) -> Callable[[np.random.Generator, np.dtype], tuple[Any, ...]]:
    b, h, queries, keys, depth, width = shape
    sizes = (b, h, queries, depth), (b, h, keys, depth), (b, h, keys, width)
    return lambda rng, dtype: tuple(rng.standard_normal(s).astype(dtype) for s in sizes)


def transposed(shape: tuple[int, ...]) -> Callable[[np.random.Generator, np.dtype], tuple[Any, ...]]:
    """Views of one array (batch, rows, heads, 3 depth), as models make them; their results lie so too."""
    b, h, rows, _, depth, _ = shape

    def make(rng: np.random.Generator, dtype: np.dtype) -> tuple[Any, ...]:
        x = rng.standard_normal((b, rows, 3 * h, depth)).astype(dtype)
        return tuple(part.swapaxes(1, 2) for part in np.split(x, 3, 2))

    return make


def with_results(make: Callable[..., Any], is_causal: bool) -> Callable[..., tuple[Any, ...]]:
    """The arguments of the backward pass."""

    def args(rng: np.random.Generator, dtype: np.dtype) -> tuple[Any, ...]:
        q, k, v = make(rng, dtype)
        out, lse = reference.attention(*(x.astype(np.float64) for x in (q, k, v)), is_causal)
        return rng.standard_normal(out.shape).astype(dtype), q, k, v, out.astype(dtype), lse.astype(dtype)

    return args


def spread(query: Array, key: Array, scale: float | None) -> Array:
    """What rounding a score, in units of eps, does to its exponential."""
    s = query.shape[-1] ** -0.5 if scale is None else abs(scale)
    return 2 + s * (np.abs(query) @ np.abs(key).swapaxes(-1, -2))


def probabilities(query: Array, key: Array, is_causal: bool, scale: float | None) -> Array:
    """exp(x - lse), found as the result for values that are a unit matrix."""
    unit = np.broadcast_to(np.eye(key.shape[2], dtype=key.dtype), (*key.shape[:3], key.shape[2]))
    return reference.attention(query, key, unit, is_causal, scale)[0]


def condition(q: Array, k: Array, v: Array, is_causal: bool = False, scale: float | None = None) -> Any:
    p, by = probabilities(q, k, is_causal, scale), spread(q, k, scale)
    weighted = p * by
    total = np.sum(weighted, -1, keepdims=True)
    lse = reference.attention(q, k, v, is_causal, scale)[1]
    return weighted @ np.abs(v) + total * (p @ np.abs(v)), total[..., 0] + np.abs(np.where(np.isfinite(lse), lse, 0))


def backward_condition(
    dout: Array,
    q: Array,
    k: Array,
    v: Array,
    out: Array,
    lse: Array,
    is_causal: bool = False,
    scale: float | None = None,
) -> Any:
    s = q.shape[-1] ** -0.5 if scale is None else abs(scale)
    p = probabilities(q, k, is_causal, scale)
    by = spread(q, k, scale) + np.abs(np.where(np.isfinite(lse), lse, 0))[..., None]
    dp = np.abs(dout) @ np.abs(v).swapaxes(-1, -2) + np.sum(np.abs(dout * out), -1, keepdims=True)
    dx = s * p * by * dp
    return dx @ np.abs(k), dx.swapaxes(-1, -2) @ np.abs(q), (p * by).swapaxes(-1, -2) @ np.abs(dout)


def both(id: str, make: Callable[..., Any], is_causal: bool, scale: float | None = None) -> list[Case]:
    kwargs = {"is_causal": is_causal, "scale": scale}
    return [
        Case("attention", id, make, kwargs, 2, condition),
        Case("attention_backward", id, with_results(make, is_causal), kwargs, 2, backward_condition),
    ]


CASES = [
    case
    for shape in SHAPES
    for is_causal in (False, True)
    for case in both(f"{'x'.join(map(str, shape))}{'-causal' if is_causal else ''}", heads(shape), is_causal)
]
CASES += both("transposed", transposed((2, 3, 70, 70, 20, 20)), True)
CASES += [c for c in both("scaled", heads((1, 2, 40, 50, 8, 8)), False, -0.3) if c.name == "attention"]
