"""Embedding: rows of a table."""

from __future__ import annotations

from typing import Any

import numpy as np

from chainrule import kernels
from chainrule.autograd import Context, Function
from chainrule.tensor import Tensor, wrap

__all__ = ["embedding"]


class Embedding(Function):
    @staticmethod
    def forward(ctx: Context, weight: Tensor, index: Any, padding_idx: int | None) -> Tensor:
        ctx.index, ctx.rows, ctx.padding_idx = index, weight._array.shape[0], padding_idx
        return wrap(kernels.embedding(weight._array, index))

    @staticmethod
    def backward(ctx: Context, dy: Tensor) -> Any:
        return EmbeddingGradient.apply(dy, ctx.index, ctx.rows, ctx.padding_idx), None, None


class EmbeddingGradient(Function):
    @staticmethod
    def forward(ctx: Context, dy: Tensor, index: Any, rows: int, padding_idx: int | None) -> Tensor:
        ctx.index, ctx.padding_idx = index, padding_idx
        return wrap(kernels.embedding_backward(dy._array, index, rows, padding_idx))

    @staticmethod
    def backward(ctx: Context, ddweight: Tensor) -> Any:
        ddy = Embedding.apply(ddweight, ctx.index, ctx.padding_idx)
        if ctx.padding_idx is not None:
            kept = (ctx.index != ctx.padding_idx)[..., np.newaxis]
            ddy = ddy * wrap(kept.astype(ddweight._array.dtype))
        return ddy, None, None, None


def embedding(input: Tensor, weight: Tensor, padding_idx: int | None = None) -> Tensor:
    """The rows ``input`` of ``weight``; row ``padding_idx`` gets no gradient."""
    rows = weight._array.shape[0] if weight._array.ndim else 0
    if padding_idx is not None:
        if not -rows <= padding_idx < rows:
            raise ValueError(f"embedding: padding_idx {padding_idx} must be within num_embeddings, here {rows}")
        padding_idx %= rows
    return Embedding.apply(weight, kernels.copy(input._array), padding_idx)  # type: ignore[no-any-return]
