"""Random arrays and dropout, from the counter-based generator Philox 4x32-10.

Element i of an array depends on (seed, offset, i) alone: the same numbers for any number of threads and on every
machine. Give every array its own offset; :class:`chainrule.random.Generator` counts them.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from chainrule import _core

__all__ = ["bernoulli", "dropout", "dropout_backward", "normal", "uniform"]

Array = np.ndarray


def uniform(
    shape: Sequence[int], seed: int, offset: int, low: float = 0, high: float = 1, dtype: Any = np.float32
) -> Array:
    """Uniform in [low, high): 24 random bits an element for float32, 52 for float64."""
    return _core.uniform(tuple(shape), seed, offset, low, high, np.dtype(dtype))


def normal(
    shape: Sequence[int], seed: int, offset: int, mean: float = 0, std: float = 1, dtype: Any = np.float32
) -> Array:
    """Normal with this mean and standard deviation, by the transform of Box and Muller, 1958.

    Values lie within 5.8 (float32) or 8.5 (float64) standard deviations.
    """
    return _core.normal(tuple(shape), seed, offset, mean, std, np.dtype(dtype))


def bernoulli(shape: Sequence[int], p: float, seed: int, offset: int, dtype: Any = np.float32) -> Array:
    """1 with probability p (a multiple of 2^-24, rounded up), else 0."""
    return _core.bernoulli(tuple(shape), p, seed, offset, np.dtype(dtype))


def dropout(x: Array, p: float, seed: int, offset: int) -> tuple[Array, Array]:
    """(y, mask), both of x's shape: mask is False with probability p; y = x / (1 - p) where mask, else 0.

    Both lie as x does, and the numbers follow each other in memory. The mask is the same for float32 and float64. p = 1
    gives zeros. Srivastava et al., 2014.
    """
    return _core.dropout(x, p, seed, offset)


def dropout_backward(dy: Array, mask: Array, p: float) -> Array:
    """Gradient of :func:`dropout`: dy / (1 - p) where its mask, else 0. dy and mask (bool) have one shape."""
    return _core.dropout_backward(dy, mask, p)
