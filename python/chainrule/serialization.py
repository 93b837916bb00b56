"""``save`` and ``load``: state dicts on disk as safetensors, a format that holds data and no code.

A flat dict of tensors is a plain safetensors file that any tool reads. Anything nested, such as an optimizer's state
dict or a checkpoint of several, is stored as its tensors plus their places in it as JSON, in the file's metadata.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

from chainrule.tensor import Tensor, wrap

__all__ = ["load", "save"]

Array = np.ndarray[Any, Any]
File = str | os.PathLike[str] | IO[bytes]
_NESTED = "chainrule.nested"  # the metadata's key


def save(obj: Mapping[Any, Any], f: File) -> None:
    """Writes a dict of tensors or arrays, possibly nested, with numbers, strings, None, lists and tuples among them.

    The file is complete or not there: it is written under another name in the same folder, forced to the disk, and
    renamed. A crash at any moment leaves either the old file or the new one.
    """
    _numpy_format()  # its absence is reported before anything else happens
    if not isinstance(obj, Mapping):
        raise TypeError(f"save: argument 'obj' is a {type(obj).__name__}, want a dict of tensors")
    tensors: dict[str, Array] = {}
    if all(isinstance(k, str) and isinstance(v, (Tensor, np.ndarray)) for k, v in obj.items()):
        for key, value in obj.items():
            tensors[key] = _storable(value, key)
        metadata = {"format": "np"}
    else:
        metadata = {"format": "np", _NESTED: json.dumps(_flatten(obj, "", tensors))}
    data = _numpy_format().save(tensors, metadata)
    if hasattr(f, "write"):
        f.write(data)
    else:
        _replace(Path(f), data)


def load(f: File, map_location: Any = None, *, weights_only: bool = True) -> dict[Any, Any]:
    """What :func:`save` wrote, with tensors for its tensors; or any safetensors file, as a dict of tensors.

    ``map_location`` and ``weights_only`` are there for scripts written for PyTorch: there is one device, and nothing
    but data is ever loaded.
    """
    numpy_format = _numpy_format()
    data = f.read() if hasattr(f, "read") else Path(f).read_bytes()
    try:
        arrays = numpy_format.load(data)
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        nested = header.get("__metadata__", {}).get(_NESTED)
        tree = None if nested is None else json.loads(nested)
        return {k: wrap(v) for k, v in arrays.items()} if tree is None else _unflatten(tree, arrays)
    except Exception as error:  # the package has its own error types
        name = getattr(f, "name", "it") if hasattr(f, "read") else f
        raise ValueError(f"load: {name} is not a whole safetensors file: {error}") from None


def _numpy_format() -> Any:
    try:
        import safetensors.numpy
    except ImportError:
        raise ImportError(
            "chainrule.save and chainrule.load need the safetensors package: pip install 'chainrule[safetensors]'"
        ) from None
    return safetensors.numpy


_DTYPES = {"f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1"}


def _storable(value: Tensor | Array, name: str) -> Array:
    array = value._array if isinstance(value, Tensor) else value
    if array.dtype.str[1:] not in _DTYPES:
        raise TypeError(f"save: {name!r} has dtype {array.dtype}, want floating-point numbers, integers or bool")
    return np.asarray(array, array.dtype.newbyteorder("="), order="C")


def _flatten(value: Any, name: str, tensors: dict[str, Array]) -> Any:
    """``value`` as JSON: a list of its kind and its parts; tensors go to ``tensors`` under their path."""
    if isinstance(value, (Tensor, np.ndarray)):
        while name in tensors:
            name += "_"
        tensors[name] = _storable(value, name)
        return ["tensor", name]
    if isinstance(value, Mapping):
        if bad := [k for k in value if type(k) not in (str, int)]:
            raise TypeError(f"save: a key of {name or 'the dict'} is {bad[0]!r}, want strings or integers")
        return ["dict", [[k, _flatten(v, f"{name}.{k}" if name else str(k), tensors)] for k, v in value.items()]]
    if type(value) in (list, tuple):
        parts = [_flatten(v, f"{name}.{i}", tensors) for i, v in enumerate(value)]
        return [type(value).__name__, parts]
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or type(value) in (bool, int, float, str):
        return ["value", value]
    raise TypeError(f"save: {name!r} is a {type(value).__name__}, want a tensor, array, number, string, dict or list")


def _unflatten(tree: Any, arrays: dict[str, Array]) -> Any:
    kind, content = tree
    if kind == "tensor":
        return wrap(arrays[content])
    if kind == "dict":
        return {key: _unflatten(part, arrays) for key, part in content}
    if kind in ("list", "tuple"):
        parts = [_unflatten(part, arrays) for part in content]
        return tuple(parts) if kind == "tuple" else parts
    if kind == "value":
        return content
    raise ValueError(f"unknown kind {kind!r} in its structure")


def _replace(target: Path, data: bytes) -> None:
    """Puts a file with ``data`` in the place of ``target``: on the disk first, then under its name."""
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
    try:
        with open(temporary, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
    folder = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # the new name
    finally:
        os.close(folder)
