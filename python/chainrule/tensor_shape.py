"""Tensor's methods for shapes, parts and indices; each forwards to the operation of its name in chainrule.ops."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

import chainrule
from chainrule import formats

if TYPE_CHECKING:
    from chainrule.tensor import Tensor

__all__ = ["Shape"]


def _several(op: str, values: tuple[Any, ...]) -> tuple[int, ...]:
    return chainrule.ops.view.sizes(op, values)


class Shape:
    """Views, parts and indexing of Tensor."""

    def view(self: Tensor, *shape: Any) -> Tensor:
        """The same memory under another shape; refuses where that would copy. With a dtype: the bits as that dtype."""
        if len(shape) == 1 and isinstance(shape[0], (np.dtype, type, str)):
            return chainrule.ops.view.view_dtype(self, chainrule.dtypes.as_dtype(shape[0]))
        return chainrule.ops.view.view(self, _several("view", shape))

    def view_as(self: Tensor, other: Tensor) -> Tensor:
        return chainrule.ops.view.view(self, other.shape)

    def reshape(self: Tensor, *shape: Any) -> Tensor:
        return chainrule.ops.reshape(self, _several("reshape", shape))

    def reshape_as(self: Tensor, other: Tensor) -> Tensor:
        return chainrule.ops.reshape(self, other.shape)

    def permute(self: Tensor, *dims: Any) -> Tensor:
        return chainrule.ops.permute(self, _several("permute", dims))

    def transpose(self: Tensor, dim0: int, dim1: int) -> Tensor:
        return chainrule.ops.transpose(self, dim0, dim1)

    swapaxes = swapdims = transpose

    def t(self: Tensor) -> Tensor:
        return chainrule.ops.t(self)

    @property
    def T(self: Tensor) -> Tensor:
        """All dimensions reversed."""
        return chainrule.ops.permute(self, tuple(range(self._array.ndim))[::-1])

    @property
    def mT(self: Tensor) -> Tensor:
        """The last two dimensions exchanged."""
        if self._array.ndim < 2:
            raise RuntimeError(
                f"tensor.mT is only supported on matrices or batches of matrices. Got {self._array.ndim}-D tensor."
            )
        return chainrule.ops.transpose(self, -2, -1)

    def movedim(self: Tensor, source: int | Sequence[int], destination: int | Sequence[int]) -> Tensor:
        return chainrule.ops.movedim(self, source, destination)

    moveaxis = movedim

    def flatten(self: Tensor, start_dim: int = 0, end_dim: int = -1) -> Tensor:
        return chainrule.ops.flatten(self, start_dim, end_dim)

    def ravel(self: Tensor) -> Tensor:
        return chainrule.ops.ravel(self)

    def unflatten(self: Tensor, dim: int, sizes: Sequence[int]) -> Tensor:
        return chainrule.ops.unflatten(self, dim, sizes)

    def squeeze(self: Tensor, dim: int | Sequence[int] | None = None) -> Tensor:
        return chainrule.ops.squeeze(self, dim)

    def unsqueeze(self: Tensor, dim: int) -> Tensor:
        return chainrule.ops.unsqueeze(self, dim)

    def expand(self: Tensor, *sizes: Any) -> Tensor:
        return chainrule.ops.broadcast_to(self, _several("expand", sizes))

    def expand_as(self: Tensor, other: Tensor) -> Tensor:
        return chainrule.ops.broadcast_to(self, other.shape)

    def broadcast_to(self: Tensor, size: Sequence[int]) -> Tensor:
        return chainrule.ops.broadcast_to(self, size)

    def repeat(self: Tensor, *repeats: Any) -> Tensor:
        """Copies side by side; at least as many numbers as dimensions."""
        times = _several("repeat", repeats)
        if len(times) < self._array.ndim:
            raise RuntimeError(
                "Number of dimensions of repeat dims can not be smaller than number of dimensions of tensor"
            )
        return chainrule.ops.tile(self, times)

    def tile(self: Tensor, *dims: Any) -> Tensor:
        return chainrule.ops.tile(self, _several("tile", dims))

    def repeat_interleave(self: Tensor, repeats: Any, dim: int | None = None) -> Tensor:
        return chainrule.ops.repeat_interleave(self, repeats, dim)

    def narrow(self: Tensor, dim: int, start: int, length: int) -> Tensor:
        return chainrule.ops.narrow(self, dim, start, length)

    def select(self: Tensor, dim: int, index: int) -> Tensor:
        return chainrule.ops.select(self, dim, index)

    def split(self: Tensor, split_size: int | Sequence[int], dim: int = 0) -> tuple[Tensor, ...]:
        return chainrule.ops.split(self, split_size, dim)

    def tensor_split(self: Tensor, indices_or_sections: int | Sequence[int], dim: int = 0) -> tuple[Tensor, ...]:
        return chainrule.ops.tensor_split(self, indices_or_sections, dim)

    def chunk(self: Tensor, chunks: int, dim: int = 0) -> tuple[Tensor, ...]:
        return chainrule.ops.chunk(self, chunks, dim)

    def unbind(self: Tensor, dim: int = 0) -> tuple[Tensor, ...]:
        return chainrule.ops.unbind(self, dim)

    def diagonal(self: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
        return chainrule.ops.diagonal(self, offset, dim1, dim2)

    def flip(self: Tensor, *dims: Any) -> Tensor:
        return chainrule.ops.flip(self, _several("flip", dims))

    def roll(self: Tensor, shifts: int | Sequence[int], dims: int | Sequence[int] | None = None) -> Tensor:
        return chainrule.ops.roll(self, shifts, dims)

    def tril(self: Tensor, diagonal: int = 0) -> Tensor:
        return chainrule.ops.tril(self, diagonal)

    def triu(self: Tensor, diagonal: int = 0) -> Tensor:
        return chainrule.ops.triu(self, diagonal)

    def contiguous(self: Tensor, memory_format: Any = formats.contiguous_format) -> Tensor:
        """Itself where its memory is in the order of this format, else a copy that is."""
        wanted = formats.checked("contiguous", memory_format, self._array.ndim, preserve=False)
        if formats.is_contiguous(self._array, wanted):
            return self
        return chainrule.ops.clone(self, memory_format=wanted)

    def clone(self: Tensor, *, memory_format: Any = formats.preserve_format) -> Tensor:
        return chainrule.ops.clone(self, memory_format=memory_format)

    def sum_to_size(self: Tensor, *size: Any) -> Tensor:
        """Summed over the dimensions that broadcasting added or repeated, to ``size``."""
        return chainrule.ops.unbroadcast(self, _several("sum_to_size", size))

    # Indices.

    def __getitem__(self: Tensor, index: Any) -> Tensor:
        return chainrule.ops.indexing.getitem(self, index)

    def __setitem__(self: Tensor, index: Any, value: Any) -> None:
        chainrule.ops.indexing.setitem(self, index, value)

    def __len__(self: Tensor) -> int:
        if not self._array.ndim:
            raise TypeError("len() of a 0-d tensor")
        return self._array.shape[0]  # type: ignore[no-any-return]

    def __iter__(self: Tensor) -> Iterator[Tensor]:
        if not self._array.ndim:
            raise TypeError("iteration over a 0-d tensor")
        return iter(chainrule.ops.unbind(self, 0))

    def __contains__(self: Tensor, element: Any) -> bool:
        value = element._array if isinstance(element, chainrule.Tensor) else element
        return bool((self._array == value).any())

    def index_select(self: Tensor, dim: int, index: Tensor) -> Tensor:
        return chainrule.ops.index_select(self, dim, index)

    def index_add(self: Tensor, dim: int, index: Tensor, source: Tensor, *, alpha: float = 1) -> Tensor:
        return chainrule.ops.index_add(self, dim, index, source, alpha=alpha)

    def gather(self: Tensor, dim: int, index: Tensor) -> Tensor:
        return chainrule.ops.gather(self, dim, index)

    def scatter(self: Tensor, dim: int, index: Tensor, src: Tensor | float) -> Tensor:
        return chainrule.ops.scatter(self, dim, index, src)

    def scatter_add(self: Tensor, dim: int, index: Tensor, src: Tensor) -> Tensor:
        return chainrule.ops.scatter_add(self, dim, index, src)

    def take_along_dim(self: Tensor, indices: Tensor, dim: int | None = None) -> Tensor:
        return chainrule.ops.take_along_dim(self, indices, dim)

    def masked_fill(self: Tensor, mask: Tensor, value: Any) -> Tensor:
        return chainrule.ops.masked_fill(self, mask, value)

    def masked_select(self: Tensor, mask: Tensor) -> Tensor:
        return chainrule.ops.masked_select(self, mask)

    def nonzero(self: Tensor, *, as_tuple: bool = False) -> Any:
        return chainrule.ops.nonzero(self, as_tuple=as_tuple)

    def argwhere(self: Tensor) -> Tensor:
        return chainrule.ops.argwhere(self)

    def sort(self: Tensor, dim: int = -1, descending: bool = False, stable: bool = False) -> tuple[Tensor, Tensor]:
        return chainrule.ops.sort(self, dim, descending, stable)

    def argsort(self: Tensor, dim: int = -1, descending: bool = False, stable: bool = False) -> Tensor:
        return chainrule.ops.argsort(self, dim, descending, stable)

    def topk(self: Tensor, k: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> tuple[Tensor, Tensor]:
        return chainrule.ops.topk(self, k, dim, largest, sorted)
