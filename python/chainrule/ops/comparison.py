"""Comparing whole tensors."""

from __future__ import annotations

import numpy as np

from chainrule.tensor import Tensor, wrap

__all__ = ["allclose", "equal", "isclose"]


def equal(input: Tensor, other: Tensor) -> bool:
    """Whether shapes and all elements agree."""
    return bool(np.array_equal(input._array, other._array))


def isclose(input: Tensor, other: Tensor, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False) -> Tensor:
    """Where ``|input - other| <= atol + rtol |other|``."""
    return wrap(np.asarray(np.isclose(input._array, other._array, rtol, atol, equal_nan)))


def allclose(input: Tensor, other: Tensor, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False) -> bool:
    """Whether ``|input - other| <= atol + rtol |other|`` everywhere."""
    return bool(np.allclose(input._array, other._array, rtol, atol, equal_nan))
