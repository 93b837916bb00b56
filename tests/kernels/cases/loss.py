from __future__ import annotations

from typing import Any

import numpy as np

from chainrule.reference.loss import _reduce, _share
from tests.kernels.cases import LENGTHS, Array, Case


def pair(shape: tuple[int, ...], reduction: str | None, weighted: bool = False, labels: bool = False) -> Any:
    """x and target (and weight, pos_weight), after dloss where the reduction of a backward is given."""

    def make(rng: np.random.Generator, dtype: np.dtype) -> tuple[Array, ...]:
        dloss = (rng.standard_normal(shape if reduction == "none" else ()),) if reduction else ()
        target = rng.random(shape) if labels else rng.standard_normal(shape)
        weights = (rng.random(shape), 3 * rng.random(shape)) if weighted else ()
        return tuple(np.asarray(a, dtype) for a in (*dloss, 4 * rng.standard_normal(shape), target, *weights))

    return make


def bce_condition(x: Array, t: Array, w: Any = 1, p: Any = 1, reduction: str = "mean") -> Array:
    softplus = np.log1p(np.exp(-np.abs(x))) + np.maximum(-x, 0)
    return _reduce(w * (np.abs((1 - t) * x) + (1 + np.abs(p - 1) * t) * softplus), reduction)


def bce_backward_condition(dloss: Array, x: Array, t: Array, w: Any = 1, p: Any = 1, reduction: str = "mean") -> Array:
    return w * ((1 + np.abs(p - 1) * t) / (1 + np.exp(-x)) + p * t) * np.abs(_share(dloss, x, reduction))


CASES = [
    case
    for shape in [*((n,) for n in LENGTHS), (3, 5), ()]
    for reduction in ("none", "mean", "sum")
    for id in [f"{'x'.join(map(str, shape)) or '0d'}-{reduction}"]
    for kwargs in [{"reduction": reduction}]
    for case in (
        Case("mse_loss", id, pair(shape, None), kwargs),
        Case("mse_loss_backward", id, pair(shape, reduction), kwargs),
        *(
            bce
            for weighted in (False, True)
            for name in ["binary_cross_entropy_with_logits"]
            for full in [id + ("-weighted" if weighted else "")]
            for bce in (
                Case(name, full, pair(shape, None, weighted, True), kwargs, 4, bce_condition),
                Case(
                    name + "_backward",
                    full,
                    pair(shape, reduction, weighted, True),
                    kwargs,
                    4,
                    bce_backward_condition,
                ),
            )
        ),
    )
]
