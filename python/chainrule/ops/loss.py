"""Losses. The gradients come from fused kernels; where they are differentiated again, from operations."""

from __future__ import annotations

from typing import Any

import numpy as np

from chainrule import kernels, ops
from chainrule.autograd import Context, Function
from chainrule.autograd.grad_mode import is_grad_enabled
from chainrule.broadcasting import broadcasts_to, common_shape
from chainrule.ops.selection import int64
from chainrule.recording.state import numpy_path
from chainrule.tensor import Tensor, wrap

__all__ = [
    "binary_cross_entropy_with_logits",
    "cross_entropy",
    "l1_loss",
    "mse_loss",
    "nll_loss",
    "smooth_l1_loss",
]

Array = Any


def _check_reduction(reduction: str) -> None:
    if reduction not in ("none", "mean", "sum"):
        raise ValueError(f"{reduction} is not a valid value for reduction")


def _reduced(losses: Tensor, reduction: str) -> Tensor:
    _check_reduction(reduction)
    return losses if reduction == "none" else ops.mean(losses) if reduction == "mean" else ops.sum(losses)


def _pair(op: str, x: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    if x._array.shape == target._array.shape:
        return x, target
    shape = common_shape(op, x._array.shape, target._array.shape)
    return ops.broadcast_to(x, shape), ops.broadcast_to(target, shape)


class CrossEntropy(Function):
    @staticmethod
    def forward(
        ctx: Context, x: Tensor, target: Array, weight: Array, ignore: int, smoothing: float, reduction: str
    ) -> Tensor:
        loss, stats, total = kernels.cross_entropy(x._array, target, weight, ignore, smoothing, reduction)
        ctx.call = target, weight, ignore, smoothing, reduction
        ctx.statistics = stats, total
        ctx.save_for_backward(x)
        return wrap(loss)

    @staticmethod
    def backward(ctx: Context, dloss: Tensor) -> Any:
        (x,) = ctx.saved_tensors
        target, *call = ctx.call
        stats, total = ctx.statistics
        if not is_grad_enabled():
            dx = wrap(kernels.cross_entropy_backward(dloss._array, x._array, target, stats, total, *call))
        else:
            axis = 0 if x._array.ndim == 1 else 1
            q = wrap(_class_weights(x._array, axis, target, *call[:3]))
            g = ops.unsqueeze(dloss, axis) if call[3] == "none" else dloss / wrap(total)
            dx = g * (ops.softmax(x, axis) * ops.sum(q, axis, True) - q)
        return dx, None, None, None, None, None


def _class_weights(x: Array, axis: int, target: Array, weight: Array, ignore: int, smoothing: float) -> Array:
    """What multiplies each class's negative log-probability."""
    numpy_path("the second derivative of cross_entropy")
    n = x.shape[axis]
    w = np.ones(n, x.dtype) if weight is None else weight
    w = w.reshape([n if a == axis else 1 for a in range(x.ndim)])
    if target.dtype.kind == "f":
        return (w * (target * (1 - smoothing) + smoothing / n)).astype(x.dtype)
    counts = target != ignore
    hot = np.expand_dims(np.where(counts, target, 0), axis) == np.arange(n).reshape(w.shape)
    return (w * (hot * (1 - smoothing) + smoothing / n) * np.expand_dims(counts, axis)).astype(x.dtype)


def cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """The loss of class scores against class labels, or against class probabilities (a floating target)."""
    w, labels = None if weight is None else weight._array, target._array
    if target.requires_grad and is_grad_enabled():  # the probabilities are learned: by operations
        return _soft_cross_entropy(input, target, weight, reduction, label_smoothing)
    return CrossEntropy.apply(  # type: ignore[no-any-return]
        input, labels, w, ignore_index, label_smoothing, reduction
    )


def _soft_cross_entropy(x: Tensor, target: Tensor, weight: Tensor | None, reduction: str, smoothing: float) -> Tensor:
    axis = 0 if x._array.ndim == 1 else 1
    n = x._array.shape[axis]
    q = target * (1 - smoothing) + smoothing / n
    if weight is not None:
        q = q * ops.reshape(weight, [n if a == axis else 1 for a in range(x._array.ndim)])
    losses = -ops.sum(q * ops.log_softmax(x, axis), axis)
    return _reduced(losses, reduction)


def nll_loss(
    input: Tensor, target: Tensor, weight: Tensor | None = None, ignore_index: int = -100, reduction: str = "mean"
) -> Tensor:
    """Minus the log-probabilities ``input`` of the labelled classes."""
    x, labels = input._array, target._array
    axis = 0 if x.ndim == 1 else 1
    _check_reduction(reduction)
    if labels.shape != x.shape[:axis] + x.shape[axis + 1 :]:
        raise ValueError(f"nll_loss: the target of shape {labels.shape} doesn't fit the input of shape {x.shape}")
    counts = ops.ne(target, ignore_index)
    safe = ops.where(counts, target, 0)
    try:
        safe = wrap(kernels.index_places(int64(safe._array), x.shape[axis], None, False))
    except ValueError:
        raise IndexError(f"nll_loss: a label is out of range for {x.shape[axis]} classes") from None
    w = ops.cast(counts, x.dtype)
    if weight is not None:
        w = w * ops.reshape(ops.index_select(weight.detach(), 0, ops.reshape(safe, (-1,))), labels.shape)
    picked = ops.squeeze(ops.gather(input, axis, ops.unsqueeze(safe, axis)), axis)
    losses = -ops.where(counts, picked, 0.0) * w
    if reduction != "mean":
        return _reduced(losses, reduction)
    return ops.sum(losses) / ops.sum(w)


class MSELoss(Function):
    @staticmethod
    def forward(ctx: Context, x: Tensor, target: Tensor, reduction: str) -> Tensor:
        ctx.reduction = reduction
        ctx.save_for_backward(x, target)
        return wrap(kernels.mse_loss(x._array, target._array, reduction))

    @staticmethod
    def backward(ctx: Context, dloss: Tensor) -> Any:
        x, target = ctx.saved_tensors
        if is_grad_enabled():
            dx = (x - target) * (dloss * (2 / max(1, x._array.size) if ctx.reduction == "mean" else 2))
        else:
            dx = wrap(kernels.mse_loss_backward(dloss._array, x._array, target._array, ctx.reduction))
        return dx, -dx if ctx.needs_input_grad[1] else None, None


def mse_loss(input: Tensor, target: Tensor, reduction: str = "mean") -> Tensor:
    """The squared difference, averaged, summed or by element."""
    return MSELoss.apply(*_pair("mse_loss", input, target), reduction)  # type: ignore[no-any-return]


def l1_loss(input: Tensor, target: Tensor, reduction: str = "mean") -> Tensor:
    """The absolute difference, averaged, summed or by element."""
    return _reduced(ops.abs(input - target), reduction)


def smooth_l1_loss(input: Tensor, target: Tensor, reduction: str = "mean", beta: float = 1.0) -> Tensor:
    """Half the squared difference over ``beta`` where it is below ``beta``, else the absolute one less half of it."""
    if beta < 0:
        raise RuntimeError("smooth_l1_loss does not support negative values for beta.")
    if beta == 0:
        return l1_loss(input, target, reduction)
    d = ops.abs(input - target)
    return _reduced(ops.where(d < beta, d * d * (0.5 / beta), d - 0.5 * beta), reduction)


class BCEWithLogits(Function):
    @staticmethod
    def forward(ctx: Context, x: Tensor, target: Tensor, weight: Array, pos_weight: Array, reduction: str) -> Tensor:
        ctx.call = weight, pos_weight, reduction
        ctx.save_for_backward(x, target)
        return wrap(kernels.binary_cross_entropy_with_logits(x._array, target._array, weight, pos_weight, reduction))

    @staticmethod
    def backward(ctx: Context, dloss: Tensor) -> Any:
        x, target = ctx.saved_tensors
        weight, pos_weight, reduction = ctx.call
        if not (is_grad_enabled() or ctx.needs_input_grad[1]):
            kernel = kernels.binary_cross_entropy_with_logits_backward
            return wrap(kernel(dloss._array, x._array, target._array, *ctx.call)), None, None, None, None
        g = dloss / max(1, x._array.size) if reduction == "mean" else dloss
        if weight is not None:
            g = g * wrap(weight)
        p = wrap(kernels.full((), 1, x._array.dtype) if pos_weight is None else pos_weight)
        dx = g * ((1 + (p - 1) * target) * ops.sigmoid(x) - p * target)
        dtarget = g * ((p - 1) * ops.softplus(-x) - x) if ctx.needs_input_grad[1] else None
        return dx, dtarget, None, None, None


def binary_cross_entropy_with_logits(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    pos_weight: Tensor | None = None,
    reduction: str = "mean",
) -> Tensor:
    """The loss of the logits of independent yes/no questions; ``pos_weight`` weighs the yes."""
    if input._array.shape != target._array.shape:
        raise ValueError(f"Target size ({tuple(target.shape)}) must be the same as input size ({tuple(input.shape)})")
    wide = []
    for name, w in (("weight", weight), ("pos_weight", pos_weight)):
        if w is not None and not broadcasts_to(w._array.shape, input._array.shape):
            raise ValueError(
                f"binary_cross_entropy_with_logits: argument {name!r} has shape {w.shape}, want one that broadcasts to "
                f"that of input, {input.shape}"
            )
        wide.append(None if w is None else np.broadcast_to(w._array, input._array.shape))
    return BCEWithLogits.apply(input, target, *wide, reduction)  # type: ignore[no-any-return]
