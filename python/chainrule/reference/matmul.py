"""Twins of the matrix products and linear layers."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from chainrule.reference import elementwise

__all__ = ["linear", "linear_backward", "matmul"]

Array = np.ndarray[Any, Any]


# f(z), and dz from dy and what the forward pass saves: y for those that are written in y, else z.
ACTIVATIONS: dict[str, tuple[Callable[[Array], Array], Callable[[Array, Array], Array]]] = {
    "none": (lambda z: z, lambda dy, y: dy),
    **{
        name: (getattr(elementwise, name), getattr(elementwise, f"{name}_backward"))
        for name in ("relu", "leaky_relu", "gelu", "gelu_tanh", "silu", "sigmoid", "tanh")
    },
}


def as_matrix(x: Array) -> Array:
    return x.reshape(math.prod(x.shape[:-1]), x.shape[-1])


def linear(
    x: Array,
    weight: Array,
    bias: Array | None = None,
    activation: str = "none",
    return_preactivation: bool = False,
    residual: Array | None = None,
) -> Array | tuple[Array, Array]:
    z = np.matmul(x, weight.T)
    if bias is not None:
        z = z + bias
    if residual is not None:
        z = z + residual
    y = ACTIVATIONS[activation][0](z)
    return (y, z) if return_preactivation else y


def linear_backward(
    dy: Array,
    x: Array,
    weight: Array,
    activation: str = "none",
    saved: Array | None = None,
    needs: tuple[bool, bool, bool] = (True, True, True),
    into: tuple[Array | None, Array | None] = (None, None),
    input_activation: str = "none",
    input_saved: Array | None = None,
) -> tuple[Array | None, Array | None, Array | None]:
    dz = dy if saved is None else ACTIVATIONS[activation][1](dy, saved)
    rows = as_matrix(dz)
    dx = np.matmul(dz, weight) if needs[0] else None
    if dx is not None and input_saved is not None:
        dx = ACTIVATIONS[input_activation][1](dx, input_saved)
    dw = rows.T @ as_matrix(x) if needs[1] else None
    db = rows.sum(0) if needs[2] else None
    dw, db = (g if to is None or g is None else np.add(to, g, out=to) for to, g in zip(into, (dw, db), strict=True))
    return dx, dw, db


def matmul(a: Array, b: Array, transpose_a: bool = False, transpose_b: bool = False) -> Array:
    a = a.swapaxes(-1, -2) if transpose_a else a
    b = b.swapaxes(-1, -2) if transpose_b else b
    result: Array = np.matmul(a, b)
    return result
