"""Dropout, and numbers drawn with given probabilities."""

from __future__ import annotations

from typing import Any

import numpy as np

from chainrule import kernels
from chainrule.autograd import Function
from chainrule.random import Generator, default_generator, uniform_array
from chainrule.tensor import Tensor, wrap

__all__ = ["bernoulli", "dropout"]


class Dropout(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, p: float) -> Tensor:
        y, mask = kernels.dropout(x._array, p, *default_generator.next_key())
        ctx.save_for_backward(wrap(mask))
        ctx.p = p
        return wrap(y)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        (mask,) = ctx.saved_tensors
        return DropoutGradient.apply(dy, mask, ctx.p), None


class DropoutGradient(Function):
    """dy / (1 - p) where mask: linear in dy, so its own gradient is the same."""

    @staticmethod
    def forward(ctx: Any, dy: Tensor, mask: Tensor, p: float) -> Tensor:
        ctx.save_for_backward(mask)
        ctx.p = p
        return wrap(kernels.dropout_backward(dy._array, mask._array, p))

    @staticmethod
    def backward(ctx: Any, ddx: Tensor) -> Any:
        (mask,) = ctx.saved_tensors
        return DropoutGradient.apply(ddx, mask, ctx.p), None, None


def dropout(input: Tensor, p: float = 0.5, train: bool = True) -> Tensor:
    """Zeroes elements with probability p and scales the others by 1 / (1 - p); input itself unless ``train``.

    The numbers come from the default generator, one offset a call.
    """
    if not 0 <= p <= 1:
        raise ValueError(f"dropout: argument 'p' is {p}, want a probability in [0, 1]")
    return Dropout.apply(input, p) if train else input


def bernoulli(input: Tensor, *, generator: Generator | None = None) -> Tensor:
    """1 with the probability that an element of ``input`` is, else 0; no gradient."""
    array = input._array
    if array.dtype.kind != "f" or not np.all((array >= 0) & (array <= 1)):
        raise ValueError("bernoulli: argument 'input' has elements that aren't probabilities in [0, 1]")
    return wrap((uniform_array(array.shape, array.dtype, generator=generator) < array).astype(array.dtype))
