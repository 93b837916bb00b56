"""Scaled dot-product attention: fused where there is neither a mask nor dropout, else composed of operations."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from chainrule import kernels, ops
from chainrule.autograd import Context, Function
from chainrule.autograd.engine import grad_where
from chainrule.autograd.grad_mode import state
from chainrule.broadcasting import common_shape
from chainrule.tensor import Tensor, constant, wrap

__all__ = ["scaled_dot_product_attention"]


class Attention(Function):
    """softmax(scale query key^T) value of (batch, heads, rows, columns) tensors."""

    @staticmethod
    def forward(ctx: Context, query: Tensor, key: Tensor, value: Tensor, is_causal: bool, scale: float) -> Tensor:
        out, lse = kernels.attention(query._array, key._array, value._array, is_causal, scale)
        y = wrap(out)
        ctx.is_causal, ctx.scale = is_causal, scale
        ctx.save_for_backward(query, key, value, y, wrap(lse))
        return y

    @staticmethod
    def backward(ctx: Context, dout: Tensor) -> Any:
        query, key, value, out, lse = ctx.saved_tensors
        if not state.enabled:
            inputs = query._array, key._array, value._array
            saved = out._array, lse._array, ctx.is_causal, ctx.scale
            return (*map(wrap, kernels.attention_backward(dout._array, *inputs, *saved)), None, None)
        # A graph of the gradient is wanted: differentiate the parts, which are differentiable again.
        y = _composed(query, key, value, None, 0.0, ctx.is_causal, ctx.scale)
        return (*grad_where(ctx.needs_input_grad[:3], y, (query, key, value), dout), None, None)


def _composed(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, dropout_p: float, is_causal: bool, scale: float
) -> Tensor:
    scores = ops.matmul(query, ops.transpose(key, -2, -1)) * scale
    if is_causal:
        mask = constant(np.tri(query.shape[-2], key.shape[-2], dtype=bool))
    if mask is not None:
        if mask._array.dtype.kind == "b":
            scores = ops.masked_fill(scores, ops.logical_not(mask), -math.inf)
        else:
            scores = scores + mask
    if mask is None or is_causal or key.shape[-2] == 0:
        p = ops.softmax(scores, -1)
    else:  # a query that sees no key gets 0, and so do its gradients
        blind = ops.amax(scores.detach(), -1, keepdim=True) == -math.inf
        p = ops.masked_fill(ops.softmax(ops.masked_fill(scores, blind, 0.0), -1), blind, 0.0)
    return ops.matmul(ops.dropout(p, dropout_p) if dropout_p else p, value)


def _check(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, is_causal: bool) -> None:
    op = "scaled_dot_product_attention"
    for name, x in (("query", query), ("key", key), ("value", value)):
        if x.ndim < 2:
            raise ValueError(f"{op}: argument '{name}' has shape {x.shape}, want 2 dimensions or more")
        if x.dtype != query.dtype or x._array.dtype.kind != "f":
            raise TypeError(f"{op}: argument '{name}' is {x.dtype}, want one floating dtype for query, key and value")
    if key.shape[-1] != query.shape[-1]:
        raise ValueError(f"{op}: argument 'key' has shape {key.shape}, want rows of {query.shape[-1]} as query's")
    if value.shape[-2] != key.shape[-2]:
        raise ValueError(f"{op}: argument 'value' has shape {value.shape}, want {key.shape[-2]} rows as key has")
    if mask is None:
        return
    if is_causal:
        raise ValueError(f"{op}: argument 'attn_mask' is given, want None when is_causal is True")
    if mask._array.dtype.kind != "b" and mask.dtype != query.dtype:
        raise TypeError(f"{op}: argument 'attn_mask' is {mask.dtype}, want bool or {query.dtype}")


def _heads(x: Tensor, batch: tuple[int, ...]) -> Tensor:
    """x as (batch, heads, rows, columns), its leading dimensions broadcast."""
    if x.shape[:-2] != batch:
        x = ops.broadcast_to(x, (*batch, *x.shape[-2:]))
    if len(batch) == 2:
        return x
    return ops.reshape(x, (math.prod(batch[:-1]), batch[-1] if batch else 1, *x.shape[-2:]))


def scaled_dot_product_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """softmax(scale query key^T + mask) value over the last two dimensions; leading ones broadcast.

    A boolean mask is True where a key takes part; a floating one is added. With ``is_causal`` query i sees keys 0 to i.
    """
    _check(query, key, value, attn_mask, is_causal)
    if not 0 <= dropout_p <= 1:
        raise ValueError(
            f"scaled_dot_product_attention: argument 'dropout_p' is {dropout_p}, want a probability in [0, 1]"
        )
    if enable_gqa:
        key = ops.repeat_interleave(key, query.shape[-3] // key.shape[-3], -3)
        value = ops.repeat_interleave(value, query.shape[-3] // value.shape[-3], -3)
    if scale is None:
        scale = 1 / math.sqrt(query.shape[-1]) if query.shape[-1] else math.inf
    if attn_mask is not None or dropout_p or not query.shape[-1] or not value.shape[-1]:
        return _composed(query, key, value, attn_mask, dropout_p, is_causal, scale)
    batch = common_shape("scaled_dot_product_attention", query.shape[:-2], key.shape[:-2], value.shape[:-2])
    y = Attention.apply(_heads(query, batch), _heads(key, batch), _heads(value, batch), is_causal, scale)
    if len(batch) != 2:
        y = ops.reshape(y, (*batch, *y.shape[-2:]))
    return y  # type: ignore[no-any-return]
