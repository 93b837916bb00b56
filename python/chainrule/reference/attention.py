"""Twins of attention."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

__all__ = ["attention", "attention_backward"]

Array = Any  # NumPy arrays; NumPy annotates what its functions return as Any


def _scores(query: Array, key: Array, is_causal: bool, scale: float | None) -> Array:
    x = query @ key.swapaxes(-1, -2) * (1 / math.sqrt(query.shape[-1]) if scale is None else scale)
    return np.where(np.tri(*x.shape[-2:]) > 0, x, -np.inf) if is_causal else x


def attention(
    query: Array, key: Array, value: Array, is_causal: bool = False, scale: float | None = None
) -> tuple[Array, Array]:
    x = _scores(query, key, is_causal, scale)
    if x.shape[-1] == 0:
        return x @ value, np.full(x.shape[:-1], -np.inf, x.dtype)
    largest = np.max(x, -1, keepdims=True)
    e = np.exp(x - largest)
    total = np.sum(e, -1, keepdims=True)
    return e @ value / total, (largest + np.log(total))[..., 0]


def attention_backward(
    dout: Array,
    query: Array,
    key: Array,
    value: Array,
    out: Array,
    lse: Array,
    is_causal: bool = False,
    scale: float | None = None,
) -> tuple[Array, Array, Array]:
    p = np.exp(_scores(query, key, is_causal, scale) - lse[..., None])
    dx = p * (dout @ value.swapaxes(-1, -2) - np.sum(dout * out, -1, keepdims=True))
    dx = dx * (1 / math.sqrt(query.shape[-1]) if scale is None else scale)
    return dx @ key, dx.swapaxes(-1, -2) @ query, p.swapaxes(-1, -2) @ dout
