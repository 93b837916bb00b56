"""Losses between predictions and targets, and their gradients.

``reduction`` is "none" (a loss per element), "mean" or "sum" (0-d). All arrays of a call have one dtype, float32 or
float64. TypeError for another one, ValueError for shapes that differ and for another reduction.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from chainrule import _core

__all__ = [
    "binary_cross_entropy_with_logits",
    "binary_cross_entropy_with_logits_backward",
    "mse_loss",
    "mse_loss_backward",
]

Array = np.ndarray[Any, Any]


def mse_loss(x: Array, target: Array, reduction: str = "mean") -> Array:
    """(x - target)², x and target of one shape."""
    return _core.mse_loss(x, target, reduction)


def mse_loss_backward(dloss: Array, x: Array, target: Array, reduction: str = "mean") -> Array:
    """Gradient of :func:`mse_loss` with respect to x: 2 (x - target) dloss, by n for the mean."""
    return _core.mse_loss_backward(dloss, x, target, reduction)


def binary_cross_entropy_with_logits(
    x: Array,
    target: Array,
    weight: Array | None = None,
    pos_weight: Array | None = None,
    reduction: str = "mean",
) -> Array:
    """weight ((1 - t) x + l (log1p(exp(-|x|)) + max(-x, 0))), l = 1 + (pos_weight - 1) t; all of one shape."""
    return _core.binary_cross_entropy_with_logits(x, target, weight, pos_weight, reduction)


def binary_cross_entropy_with_logits_backward(
    dloss: Array,
    x: Array,
    target: Array,
    weight: Array | None = None,
    pos_weight: Array | None = None,
    reduction: str = "mean",
) -> Array:
    """Gradient of :func:`binary_cross_entropy_with_logits` with respect to x: weight (l sigmoid(x) - pos_weight t)."""
    return _core.binary_cross_entropy_with_logits_backward(dloss, x, target, weight, pos_weight, reduction)
