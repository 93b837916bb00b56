"""Twins of the matrix products and linear layers."""

import math
from collections.abc import Callable

import numpy as np

__all__ = ["linear", "linear_backward", "matmul"]

Array = np.ndarray


# f(z), and dz from dy and what the forward pass saves.
ACTIVATIONS: dict[str, tuple[Callable[[Array], Array], Callable[[Array, Array], Array]]] = {
    "none": (lambda z: z, lambda dy, _: dy),
    "relu": (lambda z: np.where(z < 0, 0, z), lambda dy, y: np.where(y > 0, dy, 0)),
    "leaky_relu": (lambda z: np.where(z > 0, z, 0.01 * z), lambda dy, y: np.where(y > 0, dy, 0.01 * dy)),
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
    dz = ACTIVATIONS[activation][1](dy, dy if saved is None else saved)
    rows = as_matrix(dz)
    dx = np.matmul(dz, weight) if needs[0] else None
    dw = rows.T @ as_matrix(x) if needs[1] else None
    return dx, dw, rows.sum(0) if needs[2] else None


def matmul(a: Array, b: Array, transpose_a: bool = False, transpose_b: bool = False) -> Array:
    a = a.swapaxes(-1, -2) if transpose_a else a
    b = b.swapaxes(-1, -2) if transpose_b else b
    return np.matmul(a, b)
