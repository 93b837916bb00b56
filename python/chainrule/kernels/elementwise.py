"""Element-wise functions and their gradients.

Functions of two arrays broadcast as NumPy's do, and read any view where it lies; one of the two may be a Python number,
which takes the other's dtype. Functions of one array take any shape. Dense arrays are walked as they lie, and results
have the order of the first array (gradients: of what was saved), as in NumPy with ``order="K"``. Arrays are float32 or
float64; TypeError for another dtype and for operands of two dtypes, ValueError for shapes that don't fit. Worst errors
in units of the last place, and the formulas: csrc/kernels/vmath.h, csrc/kernels/activation.h.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from chainrule import _core

__all__ = [
    "abs",
    "add",
    "ceil",
    "clamp",
    "clamp_backward",
    "cos",
    "div",
    "erf",
    "erfc",
    "exp",
    "expm1",
    "floor",
    "gelu",
    "gelu_backward",
    "gelu_tanh",
    "gelu_tanh_backward",
    "leaky_relu",
    "leaky_relu_backward",
    "log",
    "log1p",
    "maximum",
    "minimum",
    "mul",
    "neg",
    "pow",
    "reciprocal",
    "relu",
    "relu_backward",
    "round",
    "rsqrt",
    "sigmoid",
    "sigmoid_backward",
    "sign",
    "silu",
    "silu_backward",
    "sin",
    "sqrt",
    "square",
    "sub",
    "tanh",
    "tanh_backward",
    "trunc",
    "where",
]

Array = np.ndarray[Any, Any]
Operand = Any  # an array, or a number where the other is an array


def add(a: Operand, b: Operand) -> Array:
    """a + b."""
    return _core.add(a, b)


def sub(a: Operand, b: Operand) -> Array:
    """a - b."""
    return _core.sub(a, b)


def mul(a: Operand, b: Operand) -> Array:
    """a * b."""
    return _core.mul(a, b)


def div(a: Operand, b: Operand) -> Array:
    """a / b, correctly rounded."""
    return _core.div(a, b)


def pow(a: Operand, b: Operand) -> Array:
    """a ** b with C's special values: 1 for a^0 and 1^b, NaN for a negative a with a b that is not whole."""
    return _core.pow(a, b)


def maximum(a: Operand, b: Operand) -> Array:
    """The larger of a and b; NaN where either is NaN."""
    return _core.maximum(a, b)


def minimum(a: Operand, b: Operand) -> Array:
    """The smaller of a and b; NaN where either is NaN."""
    return _core.minimum(a, b)


def where(condition: Array, a: Operand, b: Operand) -> Array:
    """a where the bool array ``condition`` is true, else b; all three broadcast."""
    return _core.where(condition, a, b)


def abs(x: Array) -> Array:
    """The magnitude of x."""
    return _core.abs(x)


def clamp(x: Array, low: float, high: float) -> Array:
    """min(max(x, low), high); NaN stays NaN; high where low > high. Infinite bounds do nothing."""
    return _core.clamp(x, low, high)


def clamp_backward(dy: Array, x: Array, low: float, high: float) -> Array:
    """Gradient of :func:`clamp`: dy where low <= x <= high, else 0. dy and x have one shape."""
    return _core.clamp_backward(dy, x, low, high)


def erf(x: Array) -> Array:
    """The error function."""
    return _core.erf(x)


def erfc(x: Array) -> Array:
    """1 - erf(x), accurate where that is small."""
    return _core.erfc(x)


def exp(x: Array) -> Array:
    """e ** x."""
    return _core.exp(x)


def expm1(x: Array) -> Array:
    """e ** x - 1, accurate near 0."""
    return _core.expm1(x)


def log(x: Array) -> Array:
    """Natural logarithm: -inf at 0, NaN below."""
    return _core.log(x)


def log1p(x: Array) -> Array:
    """log(1 + x), accurate near 0."""
    return _core.log1p(x)


def neg(x: Array) -> Array:
    """-x."""
    return _core.neg(x)


def reciprocal(x: Array) -> Array:
    """1 / x."""
    return _core.reciprocal(x)


def rsqrt(x: Array) -> Array:
    """1 / sqrt(x), of two correctly rounded steps."""
    return _core.rsqrt(x)


def sqrt(x: Array) -> Array:
    """The square root, correctly rounded; NaN below 0."""
    return _core.sqrt(x)


def square(x: Array) -> Array:
    """x * x."""
    return _core.square(x)


def relu(x: Array) -> Array:
    """max(x, 0); NaN stays NaN."""
    return _core.relu(x)


def relu_backward(dy: Array, y: Array) -> Array:
    """Gradient of :func:`relu`: dy where its output y > 0, else 0. dy and y have one shape."""
    return _core.relu_backward(dy, y)


def leaky_relu(x: Array, slope: float = 0.01) -> Array:
    """x where x > 0, else slope * x."""
    return _core.leaky_relu(x, slope)


def leaky_relu_backward(dy: Array, x: Array, slope: float = 0.01) -> Array:
    """Gradient of :func:`leaky_relu`: dy where x > 0, else slope * dy. Where slope >= 0 its output does for x."""
    return _core.leaky_relu_backward(dy, x, slope)


def gelu(x: Array) -> Array:
    """x Phi(x), with Phi the normal distribution function; accurate in the negative tail too."""
    return _core.gelu(x)


def gelu_backward(dy: Array, x: Array) -> Array:
    """Gradient of :func:`gelu`: dy (Phi(x) + x phi(x)), with phi the normal density."""
    return _core.gelu_backward(dy, x)


def gelu_tanh(x: Array) -> Array:
    """x (1 + tanh(u)) / 2, u = sqrt(2 / pi) (x + 0.044715 x^3)."""
    return _core.gelu_tanh(x)


def gelu_tanh_backward(dy: Array, x: Array) -> Array:
    """Gradient of :func:`gelu_tanh`."""
    return _core.gelu_tanh_backward(dy, x)


def silu(x: Array) -> Array:
    """x sigmoid(x)."""
    return _core.silu(x)


def silu_backward(dy: Array, x: Array) -> Array:
    """Gradient of :func:`silu`: dy s (1 + x (1 - s)), s = sigmoid(x)."""
    return _core.silu_backward(dy, x)


def sigmoid(x: Array) -> Array:
    """1 / (1 + e^-x)."""
    return _core.sigmoid(x)


def sigmoid_backward(dy: Array, y: Array) -> Array:
    """Gradient of :func:`sigmoid` from its output: dy y (1 - y)."""
    return _core.sigmoid_backward(dy, y)


def tanh(x: Array) -> Array:
    """The hyperbolic tangent."""
    return _core.tanh(x)


def tanh_backward(dy: Array, y: Array) -> Array:
    """Gradient of :func:`tanh` from its output: dy (1 - y^2)."""
    return _core.tanh_backward(dy, y)


def ceil(x: Array) -> Array:
    """The smallest whole number that isn't below x."""
    return _core.ceil(x)


def cos(x: Array) -> Array:
    """The cosine, of an x of any size; NaN for infinity."""
    return _core.cos(x)


def floor(x: Array) -> Array:
    """The largest whole number that isn't above x."""
    return _core.floor(x)


def round(x: Array) -> Array:
    """The nearest whole number, halves to even."""
    return _core.round(x)


def sign(x: Array) -> Array:
    """-1, 0 or 1; 0 for NaN."""
    return _core.sign(x)


def sin(x: Array) -> Array:
    """The sine, of an x of any size; NaN for infinity."""
    return _core.sin(x)


def trunc(x: Array) -> Array:
    """The whole number next to x towards zero."""
    return _core.trunc(x)
