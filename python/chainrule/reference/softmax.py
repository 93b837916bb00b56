"""Twins of softmax and cross-entropy."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = [
    "cross_entropy",
    "cross_entropy_backward",
    "log_softmax",
    "log_softmax_backward",
    "softmax",
    "softmax_backward",
]

Array = Any  # NumPy arrays; NumPy annotates what its functions return as Any


def softmax(x: Array, axis: int = -1) -> Array:
    if x.size == 0:
        return x.copy()
    e = np.exp(x - np.max(x, axis, keepdims=True))
    return e / np.sum(e, axis, keepdims=True)


def softmax_backward(dy: Array, y: Array, axis: int = -1) -> Array:
    return y * (dy - np.sum(dy * y, axis, keepdims=True))


def log_softmax(x: Array, axis: int = -1) -> Array:
    if x.size == 0:
        return x.copy()
    d = x - np.max(x, axis, keepdims=True)
    return d - np.log(np.sum(np.exp(d), axis, keepdims=True))


def log_softmax_backward(dy: Array, y: Array, axis: int = -1) -> Array:
    return dy - np.exp(y) * np.sum(dy, axis, keepdims=True)


def _terms(x: Array, target: Array, weight: Array | None, ignore_index: int, smoothing: float) -> tuple[Array, Array]:
    """q, of x's shape, with loss = sum of -q log_softmax(x) over classes; and each position's weight in the mean."""
    axis = 0 if x.ndim == 1 else 1
    n = x.shape[axis]
    w = (np.ones(n, x.dtype) if weight is None else weight).reshape([n if a == axis else 1 for a in range(x.ndim)])
    if target.dtype.kind == "f":
        return w * (target * (1 - smoothing) + smoothing / n), np.ones(np.sum(x, axis).shape, x.dtype)
    counts = target != ignore_index
    hot = np.expand_dims(np.where(counts, target, 0), axis) == np.arange(n).reshape(w.shape)
    q = w * (hot * (1 - smoothing) + smoothing / n) * np.expand_dims(counts, axis)
    return q.astype(x.dtype), np.sum(w * hot, axis) * counts


def cross_entropy(
    x: Array,
    target: Array,
    weight: Array | None = None,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
    reduction: str = "mean",
) -> tuple[Array, Array, Array]:
    axis = 0 if x.ndim == 1 else 1
    q, counts = _terms(x, target, weight, ignore_index, label_smoothing)
    losses = np.sum(-q * log_softmax(x, axis), axis)
    largest = np.max(x, axis)
    stats = np.stack([largest, np.log(np.sum(np.exp(x - np.expand_dims(largest, axis)), axis))])
    total = np.sum(counts) if reduction == "mean" else np.ones((), x.dtype)
    with np.errstate(invalid="ignore", divide="ignore"):
        return losses if reduction == "none" else np.sum(losses) / total, stats, total


def cross_entropy_backward(
    dloss: Array,
    x: Array,
    target: Array,
    stats: Array,
    total: Array,
    weight: Array | None = None,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
    reduction: str = "mean",
) -> Array:
    axis = 0 if x.ndim == 1 else 1
    q, _ = _terms(x, target, weight, ignore_index, label_smoothing)
    largest, logarithm = np.expand_dims(stats, axis + 1)
    p = np.exp(x - largest - logarithm)
    g = dloss / total if reduction == "mean" else dloss
    return np.expand_dims(g, axis if reduction == "none" else ()) * (p * np.sum(q, axis, keepdims=True) - q)
