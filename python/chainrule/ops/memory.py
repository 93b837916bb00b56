"""What operations do with memory: views where NumPy would copy, values written into views."""

from __future__ import annotations

from typing import Any

import numpy as np

from chainrule import kernels

__all__: list[str] = []

Array = np.ndarray[Any, Any]

_RESHAPE_REFUSES = np.lib.NumpyVersion(np.__version__) >= "2.1.0"


def reshaped_view(array: Array, shape: tuple[int, ...]) -> Array | None:
    """The array under another shape of as many elements; None where that takes a copy."""
    if array.flags.c_contiguous:
        return array.reshape(shape)
    try:
        if _RESHAPE_REFUSES:
            return np.reshape(array, shape, copy=False)
        view = array.view()
        view.shape = shape
    except (AttributeError, ValueError):
        return None
    return view


def write(place: Array, values: Array) -> None:
    """``values``, broadcast and cast, into a view; its leading sizes of 1 may be too many."""
    if values.dtype != place.dtype:
        values = values.astype(place.dtype)
    if values.ndim > place.ndim:
        values = values.reshape(values.shape[values.ndim - place.ndim :])
    kernels.copy(values, place)


def zeros(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    return kernels.full(shape, 0, dtype)
