"""Convolutions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from chainrule import kernels, ops
from chainrule.autograd import Context, Function
from chainrule.tensor import Tensor, wrap

__all__ = ["conv2d"]

Size = int | Sequence[int]


class Conv2d(Function):
    """``options`` are stride, padding, dilation, groups, as the kernels take them."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, options: tuple[Any, ...]) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.options = options
        return wrap(kernels.conv2d(x._array, weight._array, None if bias is None else bias._array, *options))

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        x, weight = ctx.saved_tensors
        needs = ctx.needs_input_grad
        dx = Conv2dInputGradient.apply(dy, weight, x.shape, ctx.options) if needs[0] else None
        dw = Conv2dWeightGradient.apply(dy, x, weight.shape, ctx.options) if needs[1] else None
        db = Conv2dBiasGradient.apply(dy) if needs[2] else None
        return dx, dw, db, None


class Conv2dInputGradient(Function):
    """dx, linear in dy and in the weight."""

    @staticmethod
    def forward(ctx: Any, dy: Tensor, weight: Tensor, shape: tuple[int, ...], options: tuple[Any, ...]) -> Tensor:
        ctx.save_for_backward(dy, weight)
        ctx.options = options
        return wrap(kernels.conv2d_backward_input(dy._array, weight._array, tuple(shape), *options))

    @staticmethod
    def backward(ctx: Any, ddx: Tensor) -> Any:
        dy, weight = ctx.saved_tensors
        needs = ctx.needs_input_grad
        gdy = Conv2d.apply(ddx, weight, None, ctx.options) if needs[0] else None
        gw = Conv2dWeightGradient.apply(dy, ddx, weight.shape, ctx.options) if needs[1] else None
        return gdy, gw, None, None


class Conv2dWeightGradient(Function):
    """dW, linear in dy and in x."""

    @staticmethod
    def forward(ctx: Any, dy: Tensor, x: Tensor, shape: tuple[int, ...], options: tuple[Any, ...]) -> Tensor:
        ctx.save_for_backward(dy, x)
        ctx.options = options
        return wrap(kernels.conv2d_backward_weight(dy._array, x._array, tuple(shape), *options))

    @staticmethod
    def backward(ctx: Any, ddw: Tensor) -> Any:
        dy, x = ctx.saved_tensors
        needs = ctx.needs_input_grad
        gdy = Conv2d.apply(x, ddw, None, ctx.options) if needs[0] else None
        gx = Conv2dInputGradient.apply(dy, ddw, x.shape, ctx.options) if needs[1] else None
        return gdy, gx, None, None


class Conv2dBiasGradient(Function):
    @staticmethod
    def forward(ctx: Any, dy: Tensor) -> Tensor:
        ctx.shape = dy.shape
        return wrap(kernels.conv2d_backward_bias(dy._array))

    @staticmethod
    def backward(ctx: Context, ddb: Tensor) -> Any:
        shape: tuple[int, ...] = ctx.shape
        return ops.broadcast_to(ops.reshape(ddb, (1, shape[1], 1, 1)), shape)


def _pair(x: Size) -> tuple[int, int]:
    return (int(x[0]), int(x[-1])) if isinstance(x, Sequence) else (x, x)


def _same(input: Tensor, weight: Tensor, bias: Tensor | None, stride: Size, dilation: Size, groups: int) -> Tensor:
    """As many outputs as inputs. Where the padding is odd its larger half comes last: computed with that half on both
    sides, less the first output."""
    if _pair(stride) != (1, 1):
        raise ValueError(f"conv2d: argument 'padding' is 'same', want stride 1, got {stride}")
    if weight.ndim != 4:
        raise ValueError(f"conv2d: argument 'weight' has shape {weight.shape}, want 4 dimensions")
    d = _pair(dilation)
    total = [d[i] * (weight.shape[i + 2] - 1) for i in (0, 1)]
    y: Tensor = Conv2d.apply(input, weight, bias, (1, tuple((t + 1) // 2 for t in total), dilation, groups))
    for axis in (2, 3):
        if total[axis - 2] % 2:
            y = ops.narrow(y, axis, 1, y.shape[axis] - 1)
    return y


def conv2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Size = 1,
    padding: Size | str = 0,
    dilation: Size = 1,
    groups: int = 1,
) -> Tensor:
    """Slides ``weight`` (cout, cin / groups, kh, kw) over images (batch, cin, h, w), or one image (cin, h, w).

    ``padding`` is a number of zeros on every side, ``"valid"`` (none) or ``"same"`` (as many outputs as inputs). The
    result has the memory format of ``input``.
    """
    if input.ndim == 3:
        y = conv2d(ops.reshape(input, (1, *input.shape)), weight, bias, stride, padding, dilation, groups)
        return ops.reshape(y, y.shape[1:])
    if padding == "same":
        return _same(input, weight, bias, stride, dilation, groups)
    if isinstance(padding, str) and padding != "valid":
        raise ValueError(f"conv2d: argument 'padding' is {padding!r}, want 'same', 'valid', an int or a pair of them")
    options = (stride, 0 if padding == "valid" else padding, dilation, groups)
    return Conv2d.apply(input, weight, bias, options)  # type: ignore[no-any-return]
