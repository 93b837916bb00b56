"""From a list of samples to a batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from chainrule.tensor import Tensor, wrap

__all__ = ["default_collate", "default_convert"]


def default_convert(data: Any) -> Any:
    """Arrays inside ``data`` as tensors that share their memory; everything else as it is."""
    if isinstance(data, (np.ndarray, np.generic)):
        return wrap(np.asarray(data)) if data.dtype.kind in "biuf" else data
    return _inside(data, default_convert)


def default_collate(batch: Sequence[Any]) -> Any:
    """Stacks samples: tensors, arrays and numbers become one tensor with a new first dimension.

    Mappings, tuples and lists are collated element by element; strings and bytes stay lists.
    """
    if not batch:
        raise ValueError("default_collate: argument 'batch' is empty")
    first = batch[0]
    if isinstance(first, Tensor):
        return wrap(_stack([x._array for x in batch]))
    if isinstance(first, (np.ndarray, np.generic)):
        if first.dtype.kind not in "biuf":
            raise TypeError(f"default_collate: a sample holds an array of dtype {first.dtype}, want numbers")
        return wrap(_stack([np.asarray(x) for x in batch]))
    if isinstance(first, float):
        return wrap(np.array(batch, np.float64))
    if isinstance(first, int):
        return wrap(np.array(batch, np.bool_ if isinstance(first, bool) else np.int64))
    if isinstance(first, (str, bytes)):
        return list(batch)
    if isinstance(first, Mapping):
        return type(first)({key: default_collate([x[key] for x in batch]) for key in first})  # type: ignore[call-arg]
    if isinstance(first, Sequence):
        if any(len(x) != len(first) for x in batch):
            raise RuntimeError("each element in list of batch should be of equal size")
        columns = [default_collate(column) for column in zip(*batch, strict=True)]
        return type(first)(*columns) if hasattr(first, "_fields") else columns
    raise TypeError(
        f"default_collate: batch must contain tensors, numpy arrays, numbers, dicts or lists; found {type(first)}"
    )


def _stack(arrays: list[np.ndarray]) -> np.ndarray:
    shapes = {a.shape for a in arrays}
    if len(shapes) > 1:
        raise ValueError(f"default_collate: the samples' shapes differ: {sorted(shapes)[:4]}")
    return np.stack(arrays)


def _inside(data: Any, convert: Any) -> Any:
    if isinstance(data, Mapping):
        return type(data)({key: convert(value) for key, value in data.items()})  # type: ignore[call-arg]
    if isinstance(data, tuple) and hasattr(data, "_fields"):
        return type(data)(*(convert(value) for value in data))
    if isinstance(data, (list, tuple)):
        return [convert(value) for value in data]
    return data
