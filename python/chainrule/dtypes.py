"""dtypes (NumPy's), the default one, and the only device."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = [
    "as_dtype",
    "bool",
    "check_device",
    "device",
    "double",
    "dtype",
    "finfo",
    "float",
    "float16",
    "float32",
    "float64",
    "get_default_dtype",
    "half",
    "iinfo",
    "int",
    "int8",
    "int16",
    "int32",
    "int64",
    "long",
    "set_default_dtype",
    "short",
    "uint8",
]

DType = np.dtype[Any]
dtype = np.dtype

float32: DType = np.dtype(np.float32)
float64: DType = np.dtype(np.float64)
float16: DType = np.dtype(np.float16)
int8: DType = np.dtype(np.int8)
int16: DType = np.dtype(np.int16)
int32: DType = np.dtype(np.int32)
int64: DType = np.dtype(np.int64)
uint8: DType = np.dtype(np.uint8)
bool: DType = np.dtype(np.bool_)
float: DType = float32
double: DType = float64
half: DType = float16
short: DType = int16
int: DType = int32
long: DType = int64

finfo = np.finfo
iinfo = np.iinfo

_SUPPORTED = "fiub"
_default: DType = float32


def get_default_dtype() -> DType:
    """What Python floats become: float32 unless set otherwise."""
    return _default


def set_default_dtype(d: Any) -> None:
    """What Python floats become from now on: float32 or float64."""
    global _default
    dtype = as_dtype(d)
    if dtype not in (float32, float64):
        raise TypeError(f"set_default_dtype: argument 'd' is {dtype}, want float32 or float64")
    _default = dtype


def as_dtype(dtype: Any) -> DType:
    """A dtype from a dtype, a NumPy type or a name."""
    if isinstance(dtype, str):
        dtype = {"float": "float32", "double": "float64", "half": "float16", "long": "int64"}.get(dtype, dtype)
    elif not isinstance(dtype, (type, np.dtype)):
        raise TypeError(f"dtype is {dtype!r}, want a dtype such as chainrule.float32, np.float32 or 'float32'")
    try:
        found = np.dtype(dtype)
    except TypeError:
        found = np.dtype(object)
    if found.kind not in _SUPPORTED:
        raise TypeError(f"dtype is {dtype!r}, want a floating, integer or bool dtype")
    native: DType = found.newbyteorder("=")
    return native


DEVICES = ("cpu", "cuda", "mps", "xpu", "meta", "xla")  # what a string that isn't a dtype may name


class device:
    """Where a tensor lies: always ``cpu``."""

    type = "cpu"

    def __init__(self, type: Any = "cpu", index: Any = None) -> None:
        name = str(type)
        if name == "cpu:0":
            name, index = "cpu", 0
        if name != "cpu" or index not in (None, 0):
            shown = name if index is None else f"{name}:{index}"
            raise RuntimeError(f"device is {shown!r}, want 'cpu': chainrule computes on the CPU alone")
        self.index = index

    def __eq__(self, other: object) -> Any:
        return isinstance(other, device)

    def __hash__(self) -> Any:
        return hash("cpu")

    def __repr__(self) -> str:
        return "device(type='cpu')"

    def __str__(self) -> str:
        return "cpu"


cpu = device()


def check_device(op: str, where: Any) -> None:
    """Refuses anything but the CPU (or None)."""
    if where is not None and not isinstance(where, device):
        if not isinstance(where, str):
            raise TypeError(f"{op}: argument 'device' is {where!r}, want 'cpu'")
        device(where)
