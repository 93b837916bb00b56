"""Element-wise functions and their gradients."""

import numpy as np

from chainrule import _core

__all__ = ["relu", "relu_backward"]

Array = np.ndarray


def relu(x: Array) -> Array:
    """max(x, 0), any shape; NaN stays NaN."""
    return _core.relu(x)


def relu_backward(dy: Array, y: Array) -> Array:
    """Gradient of :func:`relu`: dy where its output y > 0, else 0. dy and y have one shape."""
    return _core.relu_backward(dy, y)
