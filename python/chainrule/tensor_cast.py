"""Tensor in another dtype, and new tensors of its dtype."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import chainrule
from chainrule import dtypes

if TYPE_CHECKING:
    from chainrule.tensor import Tensor

__all__ = ["Cast"]


class Cast:
    """dtypes of Tensor."""

    # In another dtype.

    def to(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """In another dtype: ``to(dtype)``, ``to("cpu")``, ``to("cpu", dtype)``, ``to(other)``; itself if it has it."""
        dtype, copy = kwargs.pop("dtype", None), kwargs.pop("copy", False)
        kwargs.pop("non_blocking", None)
        kwargs.pop("memory_format", None)
        dtypes.check_device("to", kwargs.pop("device", None))
        if kwargs:
            raise TypeError(f"to: got an unexpected argument {next(iter(kwargs))!r}")
        for arg in args:
            if isinstance(arg, chainrule.Tensor):
                dtype = arg._array.dtype
            elif isinstance(arg, dtypes.device) or (isinstance(arg, str) and arg.split(":")[0] in dtypes.DEVICES):
                dtypes.check_device("to", arg)
            elif arg is not None and not isinstance(arg, bool):
                dtype = dtypes.as_dtype(arg)
        wanted = self._array.dtype if dtype is None else dtypes.as_dtype(dtype)
        if wanted == self._array.dtype:
            return chainrule.ops.clone(self) if copy else self
        return chainrule.ops.cast(self, wanted)

    def type_as(self: Tensor, other: Tensor) -> Tensor:
        return chainrule.ops.cast(self, other._array.dtype)

    def type(self: Tensor, dtype: Any = None) -> Any:
        """In that dtype; without one, the name of the dtype that it has."""
        return f"chainrule.{self._array.dtype}" if dtype is None else self.to(dtypes.as_dtype(dtype))

    def float(self: Tensor) -> Tensor:
        return chainrule.ops.cast(self, dtypes.float32)

    def double(self: Tensor) -> Tensor:
        return chainrule.ops.cast(self, dtypes.float64)

    def long(self: Tensor) -> Tensor:
        return chainrule.ops.cast(self, dtypes.int64)

    def int(self: Tensor) -> Tensor:
        return chainrule.ops.cast(self, dtypes.int32)

    def bool(self: Tensor) -> Tensor:
        return chainrule.ops.cast(self, dtypes.bool)

    def cpu(self: Tensor) -> Tensor:
        return self

    def pin_memory(self: Tensor) -> Tensor:
        return self

    # New tensors of its dtype.

    def new_tensor(self: Tensor, data: Any, **options: Any) -> Tensor:
        return chainrule.creation.tensor(data, **{"dtype": self._array.dtype, **options})

    def new_zeros(self: Tensor, *size: Any, **options: Any) -> Tensor:
        return chainrule.creation.zeros(*size, **{"dtype": self._array.dtype, **options})

    def new_ones(self: Tensor, *size: Any, **options: Any) -> Tensor:
        return chainrule.creation.ones(*size, **{"dtype": self._array.dtype, **options})

    def new_empty(self: Tensor, *size: Any, **options: Any) -> Tensor:
        return chainrule.creation.empty(*size, **{"dtype": self._array.dtype, **options})

    def new_full(self: Tensor, size: Sequence[Any], fill_value: Any, **options: Any) -> Tensor:
        return chainrule.creation.full(size, fill_value, **{"dtype": self._array.dtype, **options})
