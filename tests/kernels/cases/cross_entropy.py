from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from chainrule import reference
from chainrule.reference.softmax import _terms
from tests.kernels.cases import Array, Case


def arguments(
    shape: tuple[int, ...], kind: str, backward: str | None = None, weighted: bool = False
) -> Callable[..., Any]:
    """x, target, and for the backward (of a reduction) dloss and what forward saved; some labels are -100."""
    axis = 0 if len(shape) == 1 else 1
    positions = shape[:axis] + shape[axis + 1 :]

    def make(rng: np.random.Generator, dtype: np.dtype) -> tuple[Any, ...]:
        x = (3 * rng.standard_normal(shape)).astype(dtype)
        target: Array = rng.integers(0, shape[axis], positions)
        if kind == "probabilities":
            target = reference.softmax(rng.standard_normal(shape), axis).astype(dtype)
        elif positions:
            target[rng.random(positions) < 0.2] = -100
        weight = (rng.random(shape[axis]) + 0.5).astype(dtype) if weighted else None
        if backward is None:
            return x, target, weight
        _, stats, total = reference.cross_entropy(x.astype(np.float64), target, weight, reduction=backward)
        dloss = rng.standard_normal(positions if backward == "none" else ())
        return (
            np.asarray(dloss, dtype),
            x,
            target,
            stats.astype(dtype),
            np.asarray(total, dtype),
            weight,
        )

    return make


def condition(
    x: Array,
    target: Array,
    weight: Any = None,
    ignore_index: int = -100,
    label_smoothing: float = 0,
    reduction: str = "mean",
) -> Any:
    axis = 0 if x.ndim == 1 else 1
    q, counts = _terms(x, target, weight, ignore_index, label_smoothing)
    losses = np.sum(q * (1 + np.abs(reference.log_softmax(x, axis))), axis)
    total = np.sum(counts) if reduction == "mean" else np.ones(())
    loss = losses if reduction == "none" else np.sum(losses) / total
    return loss, 1 + np.abs(reference.cross_entropy(x, target)[1]), total


def backward_condition(
    dloss: Array,
    x: Array,
    target: Array,
    stats: Array,
    total: Array,
    weight: Any = None,
    ignore_index: int = -100,
    label_smoothing: float = 0,
    reduction: str = "mean",
) -> Array:
    axis = 0 if x.ndim == 1 else 1
    q, _ = _terms(x, target, weight, ignore_index, label_smoothing)
    d = np.abs(x - np.max(x, axis, keepdims=True)) + 2
    g = np.abs(dloss / total if reduction == "mean" else dloss)
    g = np.expand_dims(g, axis if reduction == "none" else ())
    return g * (reference.softmax(x, axis) * np.sum(q, axis, keepdims=True) * d + q)


SHAPES: list[tuple[int, ...]] = [(10,), (7, 1), (33, 10), (5, 17), (600, 16), (2, 5000), (3, 5, 7), (2, 9, 4, 20)]
CASES = [
    case
    for shape in SHAPES
    for kind in ("labels", "probabilities")
    for reduction in ("none", "mean", "sum")
    for weighted, smoothing in ((False, 0.0), (True, 0.1))
    for id in [f"{'x'.join(map(str, shape))}-{kind}-{reduction}-{'weighted' if weighted else 'plain'}"]
    for kwargs in [{"reduction": reduction, "label_smoothing": smoothing}]
    for case in (
        Case("cross_entropy", id, arguments(shape, kind, None, weighted), kwargs, 4, condition),
        Case("cross_entropy_backward", id, arguments(shape, kind, reduction, weighted), kwargs, 4, backward_condition),
    )
]
