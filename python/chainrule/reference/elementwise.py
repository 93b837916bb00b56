"""Twins of the element-wise kernels."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from chainrule.kernels.elementwise import __all__ as __all__

Array = Any  # NumPy arrays; NumPy annotates what its functions return as Any

GELU_SCALE = math.sqrt(2 / math.pi)
GELU_CUBIC = 0.044715


def add(a: Any, b: Any) -> Array:
    return np.add(a, b)


def sub(a: Any, b: Any) -> Array:
    return np.subtract(a, b)


def mul(a: Any, b: Any) -> Array:
    return np.multiply(a, b)


def div(a: Any, b: Any) -> Array:
    return np.divide(a, b)


def pow(a: Any, b: Any) -> Array:
    return np.power(a, b)


def maximum(a: Any, b: Any) -> Array:
    return np.maximum(a, b)


def minimum(a: Any, b: Any) -> Array:
    return np.minimum(a, b)


def where(condition: Array, a: Any, b: Any) -> Array:
    return np.where(condition, a, b)


def abs(x: Array) -> Array:
    return np.abs(x)


def clamp(x: Array, low: float, high: float) -> Array:
    return np.minimum(np.maximum(x, x.dtype.type(low)), x.dtype.type(high))


def clamp_backward(dy: Array, x: Array, low: float, high: float) -> Array:
    return np.where((x >= low) & (x <= high), dy, np.zeros((), dy.dtype))


def erf(x: Array) -> Array:
    return np.vectorize(math.erf, otypes=[np.float64])(x).astype(x.dtype)


def erfc(x: Array) -> Array:
    return np.vectorize(math.erfc, otypes=[np.float64])(x).astype(x.dtype)


def exp(x: Array) -> Array:
    return np.exp(x)


def expm1(x: Array) -> Array:
    return np.expm1(x)


def log(x: Array) -> Array:
    return np.log(x)


def log1p(x: Array) -> Array:
    return np.log1p(x)


def neg(x: Array) -> Array:
    return np.negative(x)


def reciprocal(x: Array) -> Array:
    return np.divide(x.dtype.type(1), x)


def rsqrt(x: Array) -> Array:
    return np.divide(x.dtype.type(1), np.sqrt(x))


def sqrt(x: Array) -> Array:
    return np.sqrt(x)


def square(x: Array) -> Array:
    return np.multiply(x, x)


def relu(x: Array) -> Array:
    return np.where(x < 0, np.zeros((), x.dtype), x)


def relu_backward(dy: Array, y: Array) -> Array:
    return np.where(y > 0, dy, np.zeros((), dy.dtype))


def leaky_relu(x: Array, slope: float = 0.01) -> Array:
    return np.where(x > 0, x, x * x.dtype.type(slope))


def leaky_relu_backward(dy: Array, x: Array, slope: float = 0.01) -> Array:
    return np.where(x > 0, dy, dy * dy.dtype.type(slope))


def normal_cdf(x: Array) -> Array:
    """erfc(-x / sqrt(2)) / 2, corrected for the rounding of the argument, which the tail would magnify."""
    argument = -np.asarray(x, np.float64) / math.sqrt(2)
    with np.errstate(invalid="ignore"):
        lost = (-x.astype(np.longdouble) / np.sqrt(np.longdouble(2)) - argument).astype(np.float64)
    slope = -2 / math.sqrt(math.pi) * np.exp(-(np.clip(argument, -40, 40) ** 2))
    erfc = np.vectorize(math.erfc, otypes=[np.float64])(argument)
    return (0.5 * (erfc + slope * np.where(np.isfinite(x), lost, 0))).astype(x.dtype)


def gelu(x: Array) -> Array:
    return x * normal_cdf(x)


def gelu_backward(dy: Array, x: Array) -> Array:
    bounded = np.clip(x, -100, 100)  # x phi(x) is 0 out there, not inf * 0
    density = np.exp(-0.5 * bounded * bounded) * x.dtype.type(1 / math.sqrt(2 * math.pi))
    return dy * (normal_cdf(x) + bounded * density)


def gelu_tanh(x: Array) -> Array:
    u = x * (1 + GELU_CUBIC * x * x) * x.dtype.type(GELU_SCALE)
    return x * sigmoid(2 * u)


def gelu_tanh_backward(dy: Array, x: Array) -> Array:
    bounded = np.clip(x, -100, 100)
    u = GELU_SCALE * bounded * (1 + GELU_CUBIC * bounded * bounded)
    s = sigmoid(2 * u)
    return dy * (s + bounded * s * (1 - s) * 2 * GELU_SCALE * (1 + 3 * GELU_CUBIC * bounded * bounded))


def silu(x: Array) -> Array:
    return x * sigmoid(x)


def silu_backward(dy: Array, x: Array) -> Array:
    s = sigmoid(x)
    return dy * s * (1 + np.clip(x, -100, 100) * (1 - s))


def sigmoid(x: Array) -> Array:
    e = np.exp(-np.abs(x))
    return np.where(x < 0, e, np.ones((), x.dtype)) / (1 + e)


def sigmoid_backward(dy: Array, y: Array) -> Array:
    return dy * (y * (1 - y))


def tanh(x: Array) -> Array:
    return np.tanh(x)


def tanh_backward(dy: Array, y: Array) -> Array:
    return dy * (1 - y * y)


def ceil(x: Array) -> Array:
    return np.ceil(x)


def cos(x: Array) -> Array:
    return np.cos(x)


def floor(x: Array) -> Array:
    return np.floor(x)


def round(x: Array) -> Array:
    return np.rint(x)


def sign(x: Array) -> Array:
    return np.where(np.isnan(x), 0, np.sign(x)).astype(x.dtype)


def sin(x: Array) -> Array:
    return np.sin(x)


def trunc(x: Array) -> Array:
    return np.trunc(x)
