"""Twins of the copies."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["copy", "fill"]

Array = Any  # NumPy arrays; NumPy annotates what its functions return as Any


def copy(x: Array, out: Array | None = None) -> Array:
    if out is None:
        return np.array(x, order="C")
    out[...] = x
    return out


def fill(out: Array, value: Any) -> Array:
    out[...] = value
    return out
