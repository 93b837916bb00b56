"""Softmax along an axis, and the cross-entropy that is fused with it.

Arrays of scores are float32 or float64, and all floating arrays of a call have one dtype. TypeError for another one,
ValueError for an axis or a shape that doesn't fit.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from chainrule import _core

__all__ = [
    "cross_entropy",
    "cross_entropy_backward",
    "log_softmax",
    "log_softmax_backward",
    "softmax",
    "softmax_backward",
]

Array = np.ndarray[Any, Any]


def softmax(x: Array, axis: int = -1) -> Array:
    """exp(x - max x) / sum exp(x - max x) along the axis; NaN where all are -inf."""
    return _core.softmax(x, axis)


def softmax_backward(dy: Array, y: Array, axis: int = -1) -> Array:
    """y (dy - sum dy y) from the output y of :func:`softmax`."""
    return _core.softmax_backward(dy, y, axis)


def log_softmax(x: Array, axis: int = -1) -> Array:
    """(x - max x) - log sum exp(x - max x) along the axis."""
    return _core.log_softmax(x, axis)


def log_softmax_backward(dy: Array, y: Array, axis: int = -1) -> Array:
    """dy - exp(y) sum dy from the output y of :func:`log_softmax`."""
    return _core.log_softmax_backward(dy, y, axis)


def cross_entropy(
    x: Array,
    target: Array,
    weight: Array | None = None,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
    reduction: str = "mean",
) -> tuple[Array, Array, Array]:
    """The loss of class scores x (batch, classes, ...) or (classes,), as torch.nn.functional.cross_entropy.

    ``target`` holds class labels (int64 or int32, x's shape without the classes) or class probabilities (x's shape and
    dtype); ``weight`` has one number per class. Returns the loss; ``stats``, the maximum and the logarithm of the sum
    of exponentials at each position; and ``total``, what the mean divides by: the latter two for the backward. The mean
    over nothing but ignored labels is NaN. ValueError for a label that is neither a class nor ``ignore_index``.
    """
    return _core.cross_entropy(x, target, weight, ignore_index, label_smoothing, reduction)


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
    """Gradient of :func:`cross_entropy` with respect to x."""
    return _core.cross_entropy_backward(
        dloss, x, target, stats, total, weight, ignore_index, label_smoothing, reduction
    )
