"""Activations, as in PyTorch. Each gradient is a fused kernel that can itself be differentiated."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from chainrule import kernels, ops
from chainrule.autograd import Context, Function
from chainrule.ops.elementwise import add, div, mul, sub
from chainrule.ops.memory import FLOATS
from chainrule.ops.unary import Unary, exp, expm1, floating, log1p, neg
from chainrule.recording.state import numpy_path
from chainrule.tensor import Tensor, wrap

__all__ = [
    "elu",
    "gelu",
    "hardtanh",
    "leaky_relu",
    "relu",
    "relu6",
    "sigmoid",
    "silu",
    "softplus",
    "tanh",
]

Array = np.ndarray[Any, Any]


class Gradient(Function):
    """dx = dy f'(saved) by a kernel. Its own gradients: f' again for dy, dy f''(saved) for what was saved."""

    kernel: Callable[[Array, Array], Array]
    second: Callable[[Tensor], Tensor] | None = None  # f'' in terms of what is saved; None where it is zero

    @staticmethod
    def forward(ctx: Any, dy: Tensor, saved: Tensor) -> Tensor:
        ctx.save_for_backward(dy, saved)
        return wrap(ctx._function.kernel(dy._array, saved._array))

    @staticmethod
    def backward(ctx: Any, ddx: Tensor) -> Any:
        dy, saved = ctx.saved_tensors
        again = ctx._function.apply(ddx, saved) if ctx.needs_input_grad[0] else None
        second = ctx._function.second
        if second is None or not ctx.needs_input_grad[1]:
            return again, None
        return again, mul(mul(ddx, dy), second(saved))


def logistic_slope(s: Tensor) -> Tensor:
    return mul(s, sub(1.0, s))


class ReLUGradient(Gradient):
    kernel = staticmethod(kernels.relu_backward)


class ReLU(Unary):
    kernel = staticmethod(kernels.relu)
    gradient = staticmethod(ReLUGradient.apply)
    saves_output = True


class SigmoidGradient(Gradient):
    kernel = staticmethod(kernels.sigmoid_backward)
    second = staticmethod(lambda y: sub(1.0, mul(y, 2)))


class Sigmoid(Unary):
    kernel = staticmethod(kernels.sigmoid)
    gradient = staticmethod(SigmoidGradient.apply)
    saves_output = True


class TanhGradient(Gradient):
    kernel = staticmethod(kernels.tanh_backward)
    second = staticmethod(lambda y: mul(y, -2))


class Tanh(Unary):
    kernel = staticmethod(kernels.tanh)
    gradient = staticmethod(TanhGradient.apply)
    saves_output = True


def silu_second(x: Tensor) -> Tensor:
    """s' (2 + x (1 - 2 s)), s = sigmoid(x)."""
    s = sigmoid(x)
    return mul(logistic_slope(s), add(mul(x, sub(1.0, mul(s, 2))), 2))


class SiLUGradient(Gradient):
    kernel = staticmethod(kernels.silu_backward)
    second = staticmethod(silu_second)


class SiLU(Unary):
    kernel = staticmethod(kernels.silu)
    gradient = staticmethod(SiLUGradient.apply)


def gelu_second(x: Tensor) -> Tensor:
    """phi(x) (2 - x^2)."""
    square = mul(x, x)
    return mul(mul(exp(mul(square, -0.5)), 1 / math.sqrt(2 * math.pi)), sub(2.0, square))


class GELUGradient(Gradient):
    kernel = staticmethod(kernels.gelu_backward)
    second = staticmethod(gelu_second)


class GELU(Unary):
    kernel = staticmethod(kernels.gelu)
    gradient = staticmethod(GELUGradient.apply)


def gelu_tanh_second(x: Tensor) -> Tensor:
    """With v = 2 u and s = sigmoid(v): 2 s' v' + x (s'' v'^2 + s' v'')."""
    scale, cubic = 2 * math.sqrt(2 / math.pi), 0.044715
    square = mul(x, x)
    s = sigmoid(mul(mul(x, scale), add(mul(square, cubic), 1)))
    slope = logistic_slope(s)
    v1, v2 = mul(add(mul(square, 3 * cubic), 1), scale), mul(x, 6 * cubic * scale)
    bend = mul(slope, sub(1.0, mul(s, 2)))
    return add(mul(mul(slope, v1), 2), mul(x, add(mul(bend, mul(v1, v1)), mul(slope, v2))))


class GELUTanhGradient(Gradient):
    kernel = staticmethod(kernels.gelu_tanh_backward)
    second = staticmethod(gelu_tanh_second)


class GELUTanh(Unary):
    kernel = staticmethod(kernels.gelu_tanh)
    gradient = staticmethod(GELUTanhGradient.apply)


class LeakyReLU(Function):
    @staticmethod
    def forward(ctx: Context, x: Tensor, slope: float) -> Tensor:
        ctx.save_for_backward(x)
        ctx.slope = slope
        return wrap(kernels.leaky_relu(x._array, slope))

    @staticmethod
    def backward(ctx: Context, dy: Tensor) -> Any:
        (x,) = ctx.saved_tensors
        return LeakyReLUGradient.apply(dy, x.detach(), ctx.slope), None


class LeakyReLUGradient(Function):
    """Linear in dy, flat in x."""

    @staticmethod
    def forward(ctx: Context, dy: Tensor, x: Tensor, slope: float) -> Tensor:
        ctx.save_for_backward(x)
        ctx.slope = slope
        return wrap(kernels.leaky_relu_backward(dy._array, x._array, slope))

    @staticmethod
    def backward(ctx: Context, ddx: Tensor) -> Any:
        (x,) = ctx.saved_tensors
        return LeakyReLUGradient.apply(ddx, x, ctx.slope), None, None


def relu(input: Tensor) -> Tensor:
    """max(input, 0)."""
    if input._array.dtype not in FLOATS:
        if input._array.dtype.kind == "b":
            raise RuntimeError("Boolean inputs not supported for relu")
        numpy_path(f"relu of {input.dtype}")
        return wrap(np.asarray(np.maximum(input._array, 0)))
    return ReLU.apply(input)  # type: ignore[no-any-return]


def leaky_relu(input: Tensor, negative_slope: float = 0.01) -> Tensor:
    """input where that is positive, else negative_slope * input."""
    return LeakyReLU.apply(_float("leaky_relu", input), float(negative_slope))  # type: ignore[no-any-return]


def sigmoid(input: Tensor) -> Tensor:
    """1 / (1 + e^-input)."""
    return Sigmoid.apply(floating("sigmoid", input))  # type: ignore[no-any-return]


def tanh(input: Tensor) -> Tensor:
    """The hyperbolic tangent."""
    return Tanh.apply(floating("tanh", input))  # type: ignore[no-any-return]


def silu(input: Tensor) -> Tensor:
    """input * sigmoid(input)."""
    return SiLU.apply(_float("silu", input))  # type: ignore[no-any-return]


def gelu(input: Tensor, approximate: str = "none") -> Tensor:
    """input * Phi(input), or its approximation by a tanh."""
    if approximate not in ("none", "tanh"):
        raise RuntimeError(f"gelu: argument 'approximate' is {approximate!r}, want 'none' or 'tanh'")
    x = _float("gelu", input)
    return (GELU if approximate == "none" else GELUTanh).apply(x)  # type: ignore[no-any-return]


def _float(op: str, x: Any) -> Tensor:
    if not isinstance(x, Tensor):
        raise TypeError(f"{op}: argument 'input' is a {type(x).__name__}, want a Tensor")
    if x._array.dtype not in FLOATS:
        raise RuntimeError(f"{op}: argument 'input' has dtype {x._array.dtype}, want float32 or float64")
    return x


def hardtanh(input: Tensor, min_val: float = -1.0, max_val: float = 1.0) -> Tensor:
    """input held between the bounds; its gradient is 0 at the bounds too."""
    held = ops.clamp(input.detach(), min_val, max_val)
    return ops.where(ops.eq(held, min_val) | ops.eq(held, max_val), held, input)  # type: ignore[no-any-return]


def relu6(input: Tensor) -> Tensor:
    """input held between 0 and 6."""
    return hardtanh(input, 0, 6)


def elu(input: Tensor, alpha: float = 1.0) -> Tensor:
    """input where that is positive, else alpha (e^input - 1)."""
    x = _float("elu", input)
    positive = ops.gt(x, 0)
    # The branch not taken sees 0: an overflow there would turn its zero gradient into NaN.
    return ops.where(positive, x, mul(expm1(ops.where(positive, 0.0, x)), alpha))  # type: ignore[no-any-return]


def softplus(input: Tensor, beta: float = 1.0, threshold: float = 20.0) -> Tensor:
    """log(1 + e^(beta input)) / beta, and input itself where beta input > threshold."""
    x = _float("softplus", input)
    scaled = mul(x, beta)
    linear = ops.gt(scaled, threshold)
    z = ops.where(linear, 0.0, scaled)
    # max(z, 0) + log1p(e^-|z|), by cases, so that nothing overflows.
    positive = ops.gt(z, 0)
    down = ops.where(positive, neg(z), z)
    soft = add(ops.where(positive, z, 0.0), log1p(exp(down)))
    return ops.where(linear, x, div(soft, beta))  # type: ignore[no-any-return]
