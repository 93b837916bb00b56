"""Twins of the element-wise kernels."""

import numpy as np

__all__ = ["relu", "relu_backward"]

Array = np.ndarray


def relu(x: Array) -> Array:
    return np.where(x < 0, np.zeros((), x.dtype), x)


def relu_backward(dy: Array, y: Array) -> Array:
    return np.where(y > 0, dy, np.zeros((), dy.dtype))
