"""Scaled dot-product attention, without a queries x keys matrix in memory.

Arrays are (batch, heads, rows, columns); views whose last dimension is contiguous, such as transposed
(batch, rows, heads, columns), are read where they lie, and results lie in memory as the inputs of their shape do.
The order of every sum is fixed by the shapes alone: docs/numerics.md. Tiles with running maxima: Milakov and Gimelshein
2018 (https://arxiv.org/abs/1805.02867), Dao et al. 2022 (https://arxiv.org/abs/2205.14135).

Both raise TypeError for dtypes that aren't all float32 or all float64 and ValueError for shapes that don't fit.
"""

from __future__ import annotations

import numpy as np

from chainrule import _core

__all__ = ["attention", "attention_backward"]

Array = np.ndarray


def attention(
    query: Array, key: Array, value: Array, is_causal: bool = False, scale: float | None = None
) -> tuple[Array, Array]:
    """out = softmax(scale query key^T) value, and the logarithm of the sum of exponentials of each row of scores.

    query is (batch, heads, queries, depth), key (batch, heads, keys, depth), value (batch, heads, keys, width); out is
    (batch, heads, queries, width) and lse (batch, heads, queries). With ``is_causal`` query i sees keys 0 to i.
    ``scale`` is 1 / sqrt(depth) unless given. Without keys, out is 0 and lse -inf.
    """
    return _core.attention(query, key, value, is_causal, scale)


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
    """Gradients (dquery, dkey, dvalue) of :func:`attention`, from what it returned.

    With p = exp(scale query key^T - lse) and dx = p (dout value^T - sum dout out): dquery = scale dx key,
    dkey = scale dx^T query, dvalue = p^T dout. p is computed again.
    """
    return _core.attention_backward(dout, query, key, value, out, lse, is_causal, scale)
