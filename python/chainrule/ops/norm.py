"""Layer and batch normalisation. The gradients come from fused kernels; where they are differentiated again, from
operations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from chainrule import kernels, ops
from chainrule.autograd import Context, Function
from chainrule.autograd.grad_mode import is_grad_enabled
from chainrule.ops.elementwise import raw
from chainrule.tensor import Tensor, wrap

__all__ = ["batch_norm", "layer_norm"]

Axes = tuple[int, ...]


def _wrapped(grads: tuple[Any, Any, Any]) -> tuple[Any, Any, Any]:
    dx, dweight, dbias = (None if g is None else wrap(g) for g in grads)
    return dx, dweight, dbias


def _gradients(
    dy: Tensor, x: Tensor, weight: Tensor | None, axes: tuple[int, ...], others: tuple[int, ...], eps: float
) -> Any:
    """dx, dweight and dbias of a normalisation over ``axes``, by operations; weight broadcasts with x."""
    d = x - ops.mean(x, axes, True)
    rstd = (ops.mean(d * d, axes, True) + eps) ** -0.5
    h = d * rstd
    g = dy if weight is None else dy * weight
    dx = rstd * (g - ops.mean(g, axes, True) - h * ops.mean(g * h, axes, True))
    return dx, ops.sum(dy * h, others), ops.sum(dy, others)


class LayerNorm(Function):
    @staticmethod
    def forward(ctx: Context, x: Tensor, weight: Tensor | None, bias: Tensor | None, axes: int, eps: float) -> Tensor:
        y, mean, rstd = kernels.layer_norm(x._array, raw(weight), raw(bias), eps, axes)
        ctx.axes, ctx.eps, ctx.statistics = axes, eps, (mean, rstd)
        ctx.save_for_backward(x, weight)
        return wrap(y)

    @staticmethod
    def backward(ctx: Context, dy: Tensor) -> Any:
        x, weight = ctx.saved_tensors
        a, b, c = ctx.needs_input_grad[:3]
        needs = a, b, c
        if is_grad_enabled():
            first = x._array.ndim - ctx.axes
            inner, outer = tuple(range(first, x._array.ndim)), tuple(range(first))
            dx, dweight, dbias = _gradients(dy, x, weight, inner, outer, ctx.eps) if outer else _single(ctx, dy)
            grads = tuple(g if need else None for g, need in zip((dx, dweight, dbias), needs, strict=True))
        else:
            mean, rstd = ctx.statistics
            grads = _wrapped(kernels.layer_norm_backward(dy._array, x._array, mean, rstd, raw(weight), ctx.axes, needs))
        return (*grads, None, None)


def _single(ctx: Context, dy: Tensor) -> Any:
    """As :func:`_gradients` where nothing is left to sum dweight over."""
    x, weight = ctx.saved_tensors
    wide = ops.unsqueeze(dy, 0), ops.unsqueeze(x, 0), weight
    dx, dweight, dbias = _gradients(*wide, tuple(range(1, x._array.ndim + 1)), (0,), ctx.eps)
    return ops.squeeze(dx, 0), dweight, dbias


def layer_norm(
    input: Tensor,
    normalized_shape: int | Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """Normalises over the last dimensions, those of ``normalized_shape``; then scales and shifts."""
    shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
    if not shape:
        raise RuntimeError(
            "Expected normalized_shape to be at least 1-dimensional, i.e., containing at least one element"
        )
    if tuple(input.shape[-len(shape) :]) != shape:
        raise RuntimeError(
            f"Given normalized_shape={list(shape)}, expected input with shape [*, {', '.join(map(str, shape))}], "
            f"but got input of size{list(input.shape)}"
        )
    return LayerNorm.apply(input, weight, bias, len(shape), eps)  # type: ignore[no-any-return]


class BatchNorm(Function):
    @staticmethod
    def forward(
        ctx: Context,
        x: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        running_mean: Any,
        running_var: Any,
        training: bool,
        momentum: float,
        eps: float,
    ) -> Tensor:
        y, mean, rstd = kernels.batch_norm(
            x._array, raw(weight), raw(bias), running_mean, running_var, training, momentum, eps
        )
        ctx.training, ctx.eps, ctx.statistics = training, eps, (mean, rstd)
        ctx.save_for_backward(x, weight)
        return wrap(y)

    @staticmethod
    def backward(ctx: Context, dy: Tensor) -> Any:
        x, weight = ctx.saved_tensors
        a, b, c = ctx.needs_input_grad[:3]
        needs = a, b, c
        if is_grad_enabled():
            others = tuple(a for a in range(x._array.ndim) if a != 1)
            wide = [-1 if a == 1 else 1 for a in range(x._array.ndim)]
            w = None if weight is None else ops.reshape(weight, wide)
            if ctx.training:
                dx, dweight, dbias = _gradients(dy, x, w, others, others, ctx.eps)
            else:
                mu, r = (wrap(s.reshape(wide)) for s in ctx.statistics)
                dx = dy * r if w is None else dy * r * w
                dweight, dbias = ops.sum(dy * ((x - mu) * r), others), ops.sum(dy, others)
            grads = tuple(g if need else None for g, need in zip((dx, dweight, dbias), needs, strict=True))
        else:
            mean, rstd = ctx.statistics
            grads = _wrapped(
                kernels.batch_norm_backward(dy._array, x._array, mean, rstd, raw(weight), ctx.training, needs)
            )
        return (*grads, None, None, None, None, None)


def batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Normalises each channel (dimension 1): in training by the batch's own mean and variance, towards which the
    running ones then move by ``momentum``; else by the running ones, or by the batch's where there are none. Images
    keep their memory format."""
    own = training or running_mean is None
    means, variances = raw(running_mean), raw(running_var)
    if own and not training:
        means = variances = None
    if not own and means is not None:
        # A later step of training must not reach this one.
        means, variances = kernels.copy(means), kernels.copy(variances)
    y: Tensor = BatchNorm.apply(input, weight, bias, means, variances, own, momentum, eps)
    if training:
        for r in (running_mean, running_var):
            if r is not None:
                r._bump()
    return y
