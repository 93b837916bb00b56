"""Rows of a table by index, and the sum of gradients back into it."""

from __future__ import annotations

from typing import Any

import numpy as np

from chainrule import _core

__all__ = ["embedding", "embedding_backward"]

Array = np.ndarray[Any, Any]


def embedding(weight: Array, index: Array) -> Array:
    """weight[index]: weight (rows, width), index int64 or int32 of any shape. ValueError for an index out of range."""
    return _core.embedding(weight, index)


def embedding_backward(dy: Array, index: Array, rows: int, padding_idx: int | None = None) -> Array:
    """Gradient of :func:`embedding` with respect to weight (rows, width): dy's rows added up by their index, in
    ascending order; row ``padding_idx`` stays zero."""
    return _core.embedding_backward(dy, index, rows, padding_idx)
