"""Twins of the losses."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = [
    "binary_cross_entropy_with_logits",
    "binary_cross_entropy_with_logits_backward",
    "mse_loss",
    "mse_loss_backward",
]

Array = Any  # NumPy arrays; NumPy annotates what its functions return as Any


def _reduce(losses: Array, reduction: str) -> Array:
    if reduction == "none":
        return losses
    total = np.sum(losses)
    with np.errstate(invalid="ignore"):
        return total / np.asarray(losses.size, losses.dtype) if reduction == "mean" else total


def _share(dloss: Array, x: Array, reduction: str) -> Array:
    return dloss / max(1, x.size) if reduction == "mean" else dloss


def mse_loss(x: Array, target: Array, reduction: str = "mean") -> Array:
    return _reduce((x - target) ** 2, reduction)


def mse_loss_backward(dloss: Array, x: Array, target: Array, reduction: str = "mean") -> Array:
    return 2 * (x - target) * _share(dloss, x, reduction)


def binary_cross_entropy_with_logits(
    x: Array,
    target: Array,
    weight: Array | None = None,
    pos_weight: Array | None = None,
    reduction: str = "mean",
) -> Array:
    w = 1 if weight is None else weight
    scale = 1 if pos_weight is None else 1 + (pos_weight - 1) * target
    return _reduce(w * ((1 - target) * x + scale * (np.log1p(np.exp(-np.abs(x))) + np.maximum(-x, 0))), reduction)


def binary_cross_entropy_with_logits_backward(
    dloss: Array,
    x: Array,
    target: Array,
    weight: Array | None = None,
    pos_weight: Array | None = None,
    reduction: str = "mean",
) -> Array:
    w = 1 if weight is None else weight
    p = 1 if pos_weight is None else pos_weight
    sigmoid = np.where(x < 0, np.exp(-np.abs(x)), 1) / (1 + np.exp(-np.abs(x)))
    return w * ((1 + (p - 1) * target) * sigmoid - p * target) * _share(dloss, x, reduction)
