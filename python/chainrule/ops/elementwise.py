"""Element-wise operations."""

from __future__ import annotations

from typing import Any

from chainrule import kernels
from chainrule.autograd import Context, Function
from chainrule.tensor import Tensor, wrap

__all__ = ["relu"]


class ReLU(Function):
    @staticmethod
    def forward(ctx: Context, x: Tensor) -> Tensor:
        y = wrap(kernels.relu(x._array))
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx: Context, dy: Tensor) -> Any:
        (y,) = ctx.saved_tensors
        return ReLUGradient.apply(dy, y)


class ReLUGradient(Function):
    """dy where y > 0; its own gradient with respect to dy has the same mask, and is zero with respect to y."""

    @staticmethod
    def forward(ctx: Context, dy: Tensor, y: Tensor) -> Tensor:
        ctx.save_for_backward(y)
        return wrap(kernels.relu_backward(dy._array, y._array))

    @staticmethod
    def backward(ctx: Context, ddx: Tensor) -> Any:
        (y,) = ctx.saved_tensors
        return ReLUGradient.apply(ddx, y), None


def relu(x: Tensor) -> Tensor:
    """max(x, 0)."""
    return ReLU.apply(x)  # type: ignore[no-any-return]
