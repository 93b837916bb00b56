"""The array type of a step that is being recorded: NumPy may look at its shape and make views of it, nothing else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from chainrule import _core
from chainrule.recording.state import constant_array, current, refuse

__all__ = ["Recorded"]

# Functions that make views, or look at shapes and dtypes alone.
_VIEWS = {
    np.atleast_1d,
    np.atleast_2d,
    np.broadcast_arrays,
    np.broadcast_to,
    np.can_cast,
    np.expand_dims,
    np.lib.stride_tricks.as_strided,
    np.lib.stride_tricks.sliding_window_view,
    np.may_share_memory,
    np.moveaxis,
    np.ndim,
    np.reshape,  # a copy is refused where it is made
    np.result_type,
    np.rollaxis,
    np.shape,
    np.shares_memory,
    np.size,
    np.squeeze,
    np.swapaxes,
    np.transpose,
}
# Functions whose result follows from the shape alone.
_CONSTANTS = {np.ones_like, np.zeros_like, np.full_like}


def _plain(x: Any) -> Any:
    if isinstance(x, Recorded):
        return x.view(np.ndarray)
    return type(x)(_plain(i) for i in x) if isinstance(x, (tuple, list)) else x


class Recorded(np.ndarray):
    """An array of recorded memory, or a view of memory that a recorded step uses.

    Work that NumPy did on it would be done once and never again by a replay, so it is refused while recording.
    """

    def __array_finalize__(self, obj: Any) -> None:
        if obj is not None and self.flags.owndata:
            refuse("NumPy work on a recorded tensor (a copy, a cast or indexing by arrays)")

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        refuse(f"NumPy work on a recorded tensor (np.{ufunc.__name__})")
        out = kwargs.get("out", ())
        if out:
            kwargs["out"] = tuple(_plain(o) for o in out)
        return getattr(ufunc, method)(*[_plain(i) for i in inputs], **kwargs)

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        if func in _CONSTANTS and current() is not None:
            return constant_array(func(*[_plain(a) for a in args], **{**kwargs, "subok": False}))
        if func not in _VIEWS:
            refuse(f"NumPy work on a recorded tensor (np.{getattr(func, '__name__', func)})")
        return super().__array_function__(func, types, args, kwargs)

    def __getitem__(self, index: Any) -> Any:
        result = super().__getitem__(index)
        if not isinstance(result, np.ndarray):
            refuse("reading a tensor's value")
        return result


def _refusing(name: str, what: str) -> Callable[..., Any]:
    original = getattr(np.ndarray, name)

    def method(self: Recorded, *args: Any, **kwargs: Any) -> Any:
        refuse(what)
        return original(self, *args, **kwargs)

    method.__name__ = name
    return method


_READS = "__bool__ __complex__ __contains__ __float__ __index__ __int__ __reduce__ __reduce_ex__ __deepcopy__ __copy__"
_READS += " item tobytes tofile tolist dump dumps"
_WORK = "__setitem__ argmax argmin argpartition argsort byteswap choose compress cumprod cumsum dot fill nonzero"
_WORK += " partition put repeat resize round searchsorted setfield sort take trace"
for _name in _READS.split():
    if hasattr(np.ndarray, _name):
        setattr(Recorded, _name, _refusing(_name, "reading a tensor's value"))
for _name in _WORK.split():
    if hasattr(np.ndarray, _name):
        setattr(Recorded, _name, _refusing(_name, f"NumPy work on a recorded tensor ({_name})"))

_core.set_recorded_type(Recorded)
