"""Layers that change the shape alone."""

from __future__ import annotations

from collections.abc import Sequence

from chainrule.nn.modules.module import Module
from chainrule.tensor import Tensor

__all__ = ["Flatten", "Unflatten"]


class Flatten(Module):
    """Makes one dimension of ``start_dim`` to ``end_dim``."""

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        super().__init__()
        self.start_dim = start_dim
        self.end_dim = end_dim

    def forward(self, input: Tensor) -> Tensor:
        return input.flatten(self.start_dim, self.end_dim)

    def extra_repr(self) -> str:
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"


class Unflatten(Module):
    """Makes dimensions of ``unflattened_size`` of the one at ``dim``; one of the sizes may be -1."""

    def __init__(self, dim: int, unflattened_size: Sequence[int]) -> None:
        super().__init__()
        if not isinstance(unflattened_size, (tuple, list)):
            raise TypeError(f"unflattened_size must be a tuple of ints, got {type(unflattened_size).__name__}")
        for i, size in enumerate(unflattened_size):
            if not isinstance(size, int):
                raise TypeError(f"unflattened_size must be a tuple of ints, got {type(size).__name__} at position {i}")
        self.dim = dim
        self.unflattened_size = unflattened_size

    def forward(self, input: Tensor) -> Tensor:
        dim = self.dim + input.ndim if self.dim < 0 else self.dim
        if not 0 <= dim < input.ndim:
            raise IndexError(f"Unflatten: dim: got {self.dim}, the input has {input.ndim} dimensions")
        return input.reshape(*input.shape[:dim], *self._sizes(input.shape[dim]), *input.shape[dim + 1 :])

    def _sizes(self, length: int) -> list[int]:
        sizes = list(self.unflattened_size)
        known = 1
        for size in sizes:
            known *= 1 if size == -1 else size
        if sizes.count(-1) == 1 and known > 0 and length % known == 0:
            sizes[sizes.index(-1)] = length // known
            return sizes
        if -1 in sizes or known != length:
            raise RuntimeError(
                f"Unflatten: unflattened_size: got {self.unflattened_size}, which does not make up the size {length} "
                f"of dimension {self.dim}"
            )
        return sizes

    def extra_repr(self) -> str:
        return f"dim={self.dim}, unflattened_size={self.unflattened_size}"
