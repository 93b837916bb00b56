"""Tensor in another dtype, and new tensors of its dtype."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import chainrule
from chainrule import dtypes, formats

if TYPE_CHECKING:
    from chainrule.tensor import Tensor

__all__ = ["Cast"]


def _format(op: str, x: Tensor, wanted: Any) -> formats.memory_format:
    return formats.preserve_format if wanted is None else formats.checked(op, wanted, x._array.ndim)


class Cast:
    """dtypes of Tensor."""

    # In another dtype.

    def to(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """In another dtype: ``to(dtype)``, ``to("cpu")``, ``to("cpu", dtype)``, ``to(other)``; with ``memory_format``
        also in another format. Itself where nothing changes."""
        dtype, copy = kwargs.pop("dtype", None), kwargs.pop("copy", False)
        kwargs.pop("non_blocking", None)
        wanted = _format("to", self, kwargs.pop("memory_format", None))
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
        y = self if dtype is None else chainrule.ops.cast(self, dtypes.as_dtype(dtype))
        if wanted is not formats.preserve_format:
            kept = wanted is formats.format_of(y._array)
            if not kept or (y is not self and not formats.is_contiguous(y._array, wanted)):
                return chainrule.ops.clone(y, memory_format=wanted)
        return chainrule.ops.clone(y) if copy and y is self else y

    def type_as(self: Tensor, other: Tensor) -> Tensor:
        return chainrule.ops.cast(self, other._array.dtype)

    def type(self: Tensor, dtype: Any = None) -> Any:
        """In that dtype; without one, the name of the dtype that it has."""
        return f"chainrule.{self._array.dtype}" if dtype is None else self.to(dtypes.as_dtype(dtype))

    def float(self: Tensor, memory_format: Any = formats.preserve_format) -> Tensor:
        return self.to(dtypes.float32, memory_format=memory_format)

    def double(self: Tensor, memory_format: Any = formats.preserve_format) -> Tensor:
        return self.to(dtypes.float64, memory_format=memory_format)

    def long(self: Tensor, memory_format: Any = formats.preserve_format) -> Tensor:
        return self.to(dtypes.int64, memory_format=memory_format)

    def int(self: Tensor, memory_format: Any = formats.preserve_format) -> Tensor:
        return self.to(dtypes.int32, memory_format=memory_format)

    def half(self: Tensor, memory_format: Any = formats.preserve_format) -> Tensor:
        return self.to(dtypes.float16, memory_format=memory_format)

    def short(self: Tensor, memory_format: Any = formats.preserve_format) -> Tensor:
        return self.to(dtypes.int16, memory_format=memory_format)

    def char(self: Tensor, memory_format: Any = formats.preserve_format) -> Tensor:
        return self.to(dtypes.int8, memory_format=memory_format)

    def byte(self: Tensor, memory_format: Any = formats.preserve_format) -> Tensor:
        return self.to(dtypes.uint8, memory_format=memory_format)

    def bool(self: Tensor, memory_format: Any = formats.preserve_format) -> Tensor:
        return self.to(dtypes.bool, memory_format=memory_format)

    def cpu(self: Tensor, memory_format: Any = formats.preserve_format) -> Tensor:
        return self.to(memory_format=memory_format)

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
