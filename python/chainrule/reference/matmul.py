"""Twins of the matrix products and linear layers."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

__all__ = ["linear", "linear_backward", "matmul"]

Array = np.ndarray[Any, Any]


erf = np.vectorize(math.erf, otypes=[float])


def sigmoid(z: Array) -> Array:
    return 1 / (1 + np.exp(-z))


def normal_cdf(z: Array) -> Array:
    result: Array = (0.5 * (1 + erf(z / math.sqrt(2)))).astype(z.dtype)
    return result


def normal_density(z: Array) -> Array:
    return np.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)


def gelu_gate(z: Array) -> Array:
    """gelu_tanh's (1 + tanh(u)) / 2 = sigmoid(2 u)."""
    return sigmoid(2 * math.sqrt(2 / math.pi) * (z + 0.044715 * z**3))


def gelu_tanh_slope(z: Array) -> Array:
    s = gelu_gate(z)
    result: Array = s + z * s * (1 - s) * 2 * math.sqrt(2 / math.pi) * (1 + 3 * 0.044715 * z * z)
    return result


# f(z), and f' from what the forward pass saves: y for those that are written in y, else z.
ACTIVATIONS: dict[str, tuple[Callable[[Array], Array], Callable[[Array], Array]]] = {
    "none": (lambda z: z, lambda z: np.ones_like(z)),
    "relu": (lambda z: np.where(z < 0, 0, z), lambda y: np.where(y > 0, 1, 0)),
    "leaky_relu": (lambda z: np.where(z > 0, z, 0.01 * z), lambda y: np.where(y > 0, 1, 0.01)),
    "gelu": (lambda z: z * normal_cdf(z), lambda z: normal_cdf(z) + z * normal_density(z)),
    "gelu_tanh": (lambda z: z * gelu_gate(z), gelu_tanh_slope),
    "silu": (lambda z: z * sigmoid(z), lambda z: sigmoid(z) * (1 + z * (1 - sigmoid(z)))),
    "sigmoid": (sigmoid, lambda y: y * (1 - y)),
    "tanh": (np.tanh, lambda y: 1 - y * y),
}


def as_matrix(x: Array) -> Array:
    return x.reshape(math.prod(x.shape[:-1]), x.shape[-1])


def linear(
    x: Array,
    weight: Array,
    bias: Array | None = None,
    activation: str = "none",
    return_preactivation: bool = False,
) -> Array | tuple[Array, Array]:
    z = np.matmul(x, weight.T)
    if bias is not None:
        z = z + bias
    y = ACTIVATIONS[activation][0](z)
    return (y, z) if return_preactivation else y


def linear_backward(
    dy: Array,
    x: Array,
    weight: Array,
    activation: str = "none",
    saved: Array | None = None,
    needs: tuple[bool, bool, bool] = (True, True, True),
) -> tuple[Array | None, Array | None, Array | None]:
    dz = dy if saved is None else dy * ACTIVATIONS[activation][1](saved)
    rows = as_matrix(dz)
    dx = np.matmul(dz, weight) if needs[0] else None
    dw = rows.T @ as_matrix(x) if needs[1] else None
    return dx, dw, rows.sum(0) if needs[2] else None


def matmul(a: Array, b: Array, transpose_a: bool = False, transpose_b: bool = False) -> Array:
    a = a.swapaxes(-1, -2) if transpose_a else a
    b = b.swapaxes(-1, -2) if transpose_b else b
    result: Array = np.matmul(a, b)
    return result
