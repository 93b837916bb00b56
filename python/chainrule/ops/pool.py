"""Pooling. Results have the memory format of the images that they are made of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from chainrule import kernels, ops
from chainrule.autograd import Function
from chainrule.formats import format_of, memory_format
from chainrule.tensor import Tensor, wrap

__all__ = ["adaptive_avg_pool2d", "avg_pool2d", "max_pool2d"]

Size = int | Sequence[int]


def _in(wanted: memory_format, dy: Tensor) -> Tensor:
    """A gradient in the format of x, which dx then has too. After a flatten it comes as contiguous."""
    return dy.to(memory_format=wanted)


class MaxPool2d(Function):
    """Values and indices; ``options`` are kernel_size, stride, padding, dilation, ceil_mode."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, options: tuple[Any, ...]) -> tuple[Tensor, Tensor]:
        values, where = kernels.max_pool2d(x._array, *options)
        assert where is not None
        y, indices = wrap(values), wrap(where)
        ctx.shape, ctx.format = x.shape, format_of(x._array)
        ctx.save_for_backward(indices)
        ctx.mark_non_differentiable(indices)
        ctx.set_materialize_grads(False)  # that of the indices would be zeros
        return y, indices

    @staticmethod
    def backward(ctx: Any, dy: Tensor | None, _: Any) -> Any:
        if dy is None:
            return None, None
        (indices,) = ctx.saved_tensors
        return MaxPool2dGradient.apply(_in(ctx.format, dy), indices, ctx.shape), None


class MaxPool2dGradient(Function):
    @staticmethod
    def forward(ctx: Any, dy: Tensor, indices: Tensor, shape: tuple[int, ...]) -> Tensor:
        ctx.save_for_backward(indices)
        return wrap(kernels.max_pool2d_backward(dy._array, indices._array, tuple(shape)))

    @staticmethod
    def backward(ctx: Any, ddx: Tensor) -> Any:
        (indices,) = ctx.saved_tensors
        return MaxPool2dGather.apply(ddx, indices), None, None


class MaxPool2dGather(Function):
    """x at the indices: the gradient of :class:`MaxPool2dGradient`, whose own gradient is that again."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, indices: Tensor) -> Tensor:
        ctx.shape = x.shape
        ctx.save_for_backward(indices)
        return wrap(kernels.max_pool2d_gather(x._array, indices._array))

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        (indices,) = ctx.saved_tensors
        return MaxPool2dGradient.apply(dy, indices, ctx.shape), None


class AvgPool2d(Function):
    """``options`` are kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, options: tuple[Any, ...]) -> Tensor:
        ctx.shape, ctx.format, ctx.options = x.shape, format_of(x._array), options
        return wrap(kernels.avg_pool2d(x._array, *options))

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        return AvgPool2dGradient.apply(_in(ctx.format, dy), ctx.shape, ctx.options), None


class AvgPool2dGradient(Function):
    @staticmethod
    def forward(ctx: Any, dy: Tensor, shape: tuple[int, ...], options: tuple[Any, ...]) -> Tensor:
        ctx.options = options
        return wrap(kernels.avg_pool2d_backward(dy._array, tuple(shape), *options))

    @staticmethod
    def backward(ctx: Any, ddx: Tensor) -> Any:
        return AvgPool2d.apply(ddx, ctx.options), None, None


class AdaptiveAvgPool2d(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, output_size: Size) -> Tensor:
        ctx.shape, ctx.format = x.shape, format_of(x._array)
        return wrap(kernels.adaptive_avg_pool2d(x._array, output_size))

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        return AdaptiveAvgPool2dGradient.apply(_in(ctx.format, dy), ctx.shape), None


class AdaptiveAvgPool2dGradient(Function):
    @staticmethod
    def forward(ctx: Any, dy: Tensor, shape: tuple[int, ...]) -> Tensor:
        ctx.bins = dy.shape[2:]
        return wrap(kernels.adaptive_avg_pool2d_backward(dy._array, tuple(shape)))

    @staticmethod
    def backward(ctx: Any, ddx: Tensor) -> Any:
        return AdaptiveAvgPool2d.apply(ddx, tuple(ctx.bins)), None


def _batched(input: Tensor) -> Tensor:
    return ops.reshape(input, (1, *input.shape)) if input.ndim == 3 else input


def _like(input: Tensor, y: Tensor) -> Tensor:
    """Without the batch that _batched added."""
    return ops.reshape(y, y.shape[1:]) if input.ndim == 3 else y


def max_pool2d(
    input: Tensor,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The largest element of each window of images (batch, channels, h, w), or of one (channels, h, w).

    ``stride`` is ``kernel_size`` unless given. With ``return_indices`` a pair: values, positions in the plane.
    """
    y, indices = MaxPool2d.apply(_batched(input), (kernel_size, stride, padding, dilation, ceil_mode))
    return (_like(input, y), _like(input, indices)) if return_indices else _like(input, y)


def avg_pool2d(
    input: Tensor,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """The mean of each window of images (batch, channels, h, w), or of one (channels, h, w)."""
    options = (kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)
    return _like(input, AvgPool2d.apply(_batched(input), options))


def adaptive_avg_pool2d(input: Tensor, output_size: int | Sequence[int | None] | None) -> Tensor:
    """Means over a grid of ``output_size`` bins (an int or a pair; None keeps an axis as it is)."""
    sizes = list(output_size) if isinstance(output_size, Sequence) else [output_size, output_size]
    if len(sizes) == 2:
        sizes = [n if size is None else size for size, n in zip(sizes, input.shape[-2:], strict=True)]
    return _like(input, AdaptiveAvgPool2d.apply(_batched(input), tuple(sizes)))
