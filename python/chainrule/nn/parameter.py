"""Parameter and Buffer: tensors that a Module registers when they are assigned to it."""

from __future__ import annotations

from typing import Any

import numpy as np

from chainrule.tensor import Tensor

__all__ = ["Buffer", "Parameter"]


def _adopt(tensor: Tensor, data: Any) -> None:
    """Gives ``tensor`` the memory of ``data`` (a Tensor or an array), cut from the tape."""
    if data is None:
        data = np.empty(0, np.float32)
    if isinstance(data, Tensor):
        tensor._array = data._array
        tensor._counter = data._shared_counter()
    else:
        tensor._array = Tensor(data)._array


class Parameter(Tensor):
    """A tensor that is a parameter of the Module that it is assigned to.

    Shares the memory of ``data``. It requires a gradient (unless told otherwise), also when made under ``no_grad``.
    """

    def __init__(self, data: Any = None, requires_grad: bool = True) -> None:
        _adopt(self, data)
        self.requires_grad_(requires_grad)

    def __deepcopy__(self, memo: dict[int, Any]) -> Parameter:
        if id(self) not in memo:
            memo[id(self)] = type(self)(self.detach().clone(), self.requires_grad)
        copied: Parameter = memo[id(self)]
        return copied

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        return type(self), (self._array, self.requires_grad)

    def __repr__(self) -> str:
        return "Parameter containing:\n" + super().__repr__()


class Buffer(Tensor):
    """A tensor that is state of the Module that it is assigned to, but not a parameter, such as a running mean.

    A buffer that is not ``persistent`` is left out of the state dict.
    """

    persistent: bool

    def __init__(self, data: Any = None, *, persistent: bool = True) -> None:
        _adopt(self, data)
        self.persistent = persistent

    def __deepcopy__(self, memo: dict[int, Any]) -> Buffer:
        if id(self) not in memo:
            memo[id(self)] = type(self)(self.detach().clone(), persistent=self.persistent)
        copied: Buffer = memo[id(self)]
        return copied

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        return _buffer, (type(self), self._array, self.persistent)


def _buffer(cls: type[Buffer], array: Any, persistent: bool) -> Buffer:
    return cls(array, persistent=persistent)
