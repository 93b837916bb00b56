"""Twins of the matrix products and linear layers."""

import numpy as np

__all__ = ["matmul"]

Array = np.ndarray


def matmul(a: Array, b: Array, transpose_a: bool = False, transpose_b: bool = False) -> Array:
    a = a.swapaxes(-1, -2) if transpose_a else a
    b = b.swapaxes(-1, -2) if transpose_b else b
    return np.matmul(a, b)
