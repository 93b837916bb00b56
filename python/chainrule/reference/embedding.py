"""Twins of embedding."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["embedding", "embedding_backward"]

Array = Any  # NumPy arrays; NumPy annotates what its functions return as Any


def embedding(weight: Array, index: Array) -> Array:
    return weight[index]


def embedding_backward(dy: Array, index: Array, rows: int, padding_idx: int | None = None) -> Array:
    dweight = np.zeros((rows, dy.shape[-1]), dy.dtype)
    np.add.at(dweight, index, dy)
    if padding_idx is not None:
        dweight[padding_idx] = 0
    return dweight
