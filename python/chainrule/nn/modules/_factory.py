"""What layers share in reading their arguments and making their parameters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from chainrule import creation
from chainrule.nn.parameter import Parameter

__all__ = ["empty_parameter", "pair"]


def empty_parameter(
    shape: Sequence[int], device: Any = None, dtype: Any = None, requires_grad: bool = True
) -> Parameter:
    """A parameter that waits for its initialiser."""
    return Parameter(creation.empty(tuple(shape), device=device, dtype=dtype), requires_grad)


def pair(layer: str, argument: str, value: Any) -> tuple[int, int]:
    """A number twice, or a sequence of two as a tuple."""
    if not isinstance(value, Sequence):
        return value, value
    if len(value) != 2:
        raise ValueError(f"{layer}: argument {argument!r} is {value!r}, want one number or two")
    return value[0], value[1]
