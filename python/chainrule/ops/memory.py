"""What operations do with memory, beneath the tape: views where NumPy would copy, casts, values written into views."""

from __future__ import annotations

from typing import Any

import numpy as np

from chainrule import kernels
from chainrule.recording.state import numpy_path

__all__: list[str] = []

Array = np.ndarray[Any, Any]

FLOATS = (np.dtype(np.float32), np.dtype(np.float64))
MOVABLE = (*FLOATS, *(np.dtype(name) for name in ("i4", "i8", "u1", "?")))  # what kernels compare, cast and index

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


def cast_array(array: Array, dtype: np.dtype[Any]) -> Array:
    """A copy in another dtype; the same array if it has it."""
    if array.dtype == dtype:
        return array
    if array.dtype in MOVABLE and dtype in MOVABLE:
        return kernels.cast(array, dtype)
    numpy_path(f"a cast of {array.dtype} to {dtype}")
    return array.astype(dtype)


def write(place: Array, values: Array) -> None:
    """``values``, broadcast and cast, into a view; its leading sizes of 1 may be too many."""
    if values.ndim > place.ndim:
        values = values.reshape(values.shape[values.ndim - place.ndim :])
    kernels.copy(cast_array(values, place.dtype), place)


def broadcast_copy(values: Array, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """``values``, broadcast and cast; a copy where anything has to change."""
    if values.shape == shape and values.dtype == dtype:
        return values
    wide = kernels.empty(shape, dtype)
    write(wide, values)
    return wide


def zeros(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    return kernels.full(shape, 0, dtype)


def choose(condition: Array, x: Any, y: Any) -> Array:
    """x where the condition holds, else y: arrays of one dtype, or numbers beside an array."""
    dtype = x.dtype if isinstance(x, np.ndarray) else y.dtype
    if dtype in FLOATS:
        return kernels.where(condition, x, y)
    bits = {4: FLOATS[0], 8: FLOATS[1]}.get(dtype.itemsize)
    if bits is None or not (isinstance(x, np.ndarray) and isinstance(y, np.ndarray)):
        numpy_path(f"where of {dtype}")
        return np.asarray(np.where(condition, x, y))
    return kernels.where(condition, x.view(bits), y.view(bits)).view(dtype)  # the bits, whatever they mean
