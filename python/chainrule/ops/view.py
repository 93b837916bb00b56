"""Views: the same memory under another shape. Each is a Function whose backward undoes it, and remembers its base, so
that an in-place change of a view reaches the base's gradient (see :mod:`chainrule.ops.inplace`)."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Any, SupportsIndex

import numpy as np

from chainrule import kernels
from chainrule.autograd import Context, Function
from chainrule.autograd.grad_mode import state
from chainrule.broadcasting import broadcasts_to, common_shape
from chainrule.formats import checked, copy, memory_format, preserve_format
from chainrule.ops.memory import reshaped_view, zeros
from chainrule.tensor import Tensor, wrap

__all__ = [
    "broadcast_tensors",
    "broadcast_to",
    "chunk",
    "clone",
    "detach",
    "diagonal",
    "flatten",
    "moveaxis",
    "movedim",
    "narrow",
    "numel",
    "permute",
    "ravel",
    "reshape",
    "select",
    "split",
    "squeeze",
    "swapaxes",
    "swapdims",
    "t",
    "tensor_split",
    "transpose",
    "unbind",
    "unbroadcast",
    "unflatten",
    "unsqueeze",
]

Index = Any  # what NumPy's basic indexing takes: a tuple of int, slice, None, Ellipsis


class Reshape(Function):
    @staticmethod
    def forward(ctx: Context, x: Tensor, shape: tuple[int, ...]) -> Tensor:
        ctx.shape = x._array.shape
        view = reshaped_view(x._array, shape)
        return wrap(kernels.copy(x._array).reshape(shape) if view is None else view)

    @staticmethod
    def backward(ctx: Context, dy: Tensor) -> Any:
        return reshape(dy, ctx.shape), None


class Permute(Function):
    @staticmethod
    def forward(ctx: Context, x: Tensor, dims: tuple[int, ...]) -> Tensor:
        ctx.dims = dims
        return wrap(x._array.transpose(dims))

    @staticmethod
    def backward(ctx: Context, dy: Tensor) -> Any:
        inverse = [0] * len(ctx.dims)
        for i, d in enumerate(ctx.dims):
            inverse[d] = i
        return view_of(dy, Permute, tuple(inverse)), None


class Expand(Function):
    @staticmethod
    def forward(ctx: Context, x: Tensor, shape: tuple[int, ...]) -> Tensor:
        ctx.shape = x._array.shape
        # Writable as any view is; writing to elements that share memory is the writer's business (inplace refuses it).
        extra = (0,) * (len(shape) - x._array.ndim)
        strides = [
            0 if n != size else stride
            for n, size, stride in zip(shape[len(extra) :], x._array.shape, x._array.strides, strict=True)
        ]
        return wrap(np.lib.stride_tricks.as_strided(x._array, shape, (*extra, *strides), subok=True))

    @staticmethod
    def backward(ctx: Context, dy: Tensor) -> Any:
        return unbroadcast(dy, ctx.shape), None


class SumTo(Function):
    """Summed over the dimensions that broadcasting from ``shape`` added or repeated."""

    @staticmethod
    def forward(ctx: Context, x: Tensor, shape: tuple[int, ...]) -> Tensor:
        ctx.shape = x._array.shape
        extra = x._array.ndim - len(shape)
        repeated = [i + extra for i, n in enumerate(shape) if n == 1 and x._array.shape[i + extra] != 1]
        return wrap(kernels.sum(x._array, (*range(extra), *repeated)).reshape(shape))

    @staticmethod
    def backward(ctx: Context, dy: Tensor) -> Any:
        return view_of(dy, Expand, ctx.shape), None


class Slice(Function):
    """Basic indexing: ints, slices, None, Ellipsis."""

    @staticmethod
    def forward(ctx: Context, x: Tensor, index: Index) -> Tensor:
        ctx.index, ctx.shape = index, x._array.shape
        return wrap(x._array[index])

    @staticmethod
    def backward(ctx: Context, dy: Tensor) -> Any:
        return SliceGradient.apply(dy, ctx.index, ctx.shape), None


class SliceGradient(Function):
    """Zeros of ``shape`` with dy at ``index``."""

    @staticmethod
    def forward(ctx: Context, dy: Tensor, index: Index, shape: tuple[int, ...]) -> Tensor:
        ctx.index = index
        dx = zeros(shape, dy._array.dtype)
        kernels.copy(dy._array, dx[index])
        return wrap(dx)

    @staticmethod
    def backward(ctx: Context, ddx: Tensor) -> Any:
        return view_of(ddx, Slice, ctx.index), None, None


class Split(Function):
    """Parts along ``dim``, of the listed sizes. Backward writes their gradients side by side into one array."""

    @staticmethod
    def forward(ctx: Context, x: Tensor, dim: int, parts: tuple[int, ...]) -> tuple[Tensor, ...]:
        ctx.set_materialize_grads(False)
        ctx.args = (x._array.shape, x._array.dtype, dim, parts)
        return tuple(wrap(x._array[place]) for place in _places(dim, parts))

    @staticmethod
    def backward(ctx: Context, *grads: Tensor | None) -> Any:
        return SplitGradient.apply(*ctx.args, *grads), None, None


class SplitGradient(Function):
    """The parts side by side, zeros in place of one that is None."""

    @staticmethod
    def forward(
        ctx: Context, shape: tuple[int, ...], dtype: np.dtype[Any], dim: int, parts: tuple[int, ...], *grads: Any
    ) -> Tensor:
        ctx.args = (dim, parts)
        complete = all(dy is not None for dy in grads)
        dx = kernels.empty(shape, dtype) if complete else zeros(shape, dtype)
        for place, dy in zip(_places(dim, parts), grads, strict=True):
            if dy is not None:
                kernels.copy(dy._array, dx[place])
        return wrap(dx)

    @staticmethod
    def backward(ctx: Context, ddx: Tensor) -> Any:
        found = _split(ddx, *ctx.args)
        needs = ctx.needs_input_grad[4:]
        return (None, None, None, None, *[d if need else None for d, need in zip(found, needs, strict=True)])


def _places(dim: int, parts: Sequence[int]) -> list[Index]:
    ends = [0, *accumulate(parts)]
    return [(*[slice(None)] * dim, slice(a, b), ...) for a, b in pairwise(ends)]


class Diagonal(Function):
    @staticmethod
    def forward(ctx: Context, x: Tensor, offset: int, dim1: int, dim2: int) -> Tensor:
        ctx.args, ctx.shape = (offset, dim1, dim2), x._array.shape
        return wrap(_diagonal(x._array, *ctx.args))

    @staticmethod
    def backward(ctx: Context, dy: Tensor) -> Any:
        return DiagonalGradient.apply(dy, ctx.args, ctx.shape), None, None, None


class DiagonalGradient(Function):
    @staticmethod
    def forward(ctx: Context, dy: Tensor, args: tuple[int, int, int], shape: tuple[int, ...]) -> Tensor:
        ctx.args = args
        dx = zeros(shape, dy._array.dtype)
        kernels.copy(dy._array, _diagonal(dx, *args))
        return wrap(dx)

    @staticmethod
    def backward(ctx: Context, ddx: Tensor) -> Any:
        return view_of(ddx, Diagonal, *ctx.args), None, None


class Clone(Function):
    @staticmethod
    def forward(ctx: Context, x: Tensor, wanted: memory_format) -> Tensor:
        return wrap(copy(x._array, wanted))

    @staticmethod
    def backward(ctx: Context, dy: Tensor) -> Any:
        return dy, None


def _diagonal(array: np.ndarray[Any, Any], offset: int, dim1: int, dim2: int) -> np.ndarray[Any, Any]:
    view = array.diagonal(offset, dim1, dim2)
    if array.flags.writeable:
        view.flags.writeable = True  # of memory that we may write
    return view


def view_of(x: Tensor, function: type[Function], *args: Any) -> Tensor:
    """``function.apply(x, *args)``, which shares x's memory: its version and, while recording, its history too."""
    return _made_view(x, function.apply(x, *args), function, args)


def _made_view(x: Tensor, y: Tensor, function: type[Function], args: tuple[Any, ...]) -> Tensor:
    y._counter = x._shared_counter()
    if state.enabled:
        y._base = x if x._base is None else x._base
        y._source = x
        y._view = (function, args)
        y._generation = y._base._generation
    return y


def _split(x: Tensor, dim: int, parts: tuple[int, ...]) -> tuple[Tensor, ...]:
    """Views whose gradients become x's in one go; each alone is a Slice, should its base be changed in place."""
    made = Split.apply(x, dim, parts)
    return tuple(_made_view(x, y, Slice, (place,)) for y, place in zip(made, _places(dim, parts), strict=True))


def replay(x: Tensor, views: Sequence[tuple[type[Function], tuple[Any, ...]]]) -> Tensor:
    """The same views of x."""
    for function, args in views:
        x = function.apply(x, *args)
    return x


# Shapes.


def sizes(op: str, shape: tuple[Any, ...]) -> tuple[int, ...]:
    """The shape from ``f(2, 3)`` or ``f((2, 3))``."""
    if len(shape) == 1 and isinstance(shape[0], (tuple, list)):
        shape = tuple(shape[0])
    try:
        return tuple([operator.index(n) for n in shape])
    except TypeError:
        raise TypeError(f"{op}: argument 'shape' is {shape!r}, want integers") from None


def dimension(op: str, dim: SupportsIndex, ndim: int, arg: str = "dim") -> int:
    """``dim`` as a non-negative axis of a tensor with ``ndim`` dimensions (0-d counts as 1-d, as in PyTorch)."""
    d, n = operator.index(dim), max(ndim, 1)
    if not -n <= d < n:
        raise IndexError(
            f"Dimension out of range (expected to be in range of [{-n}, {n - 1}], but got {d}): {op}, argument {arg!r}"
        )
    return d + n if d < 0 else d


def _inferred(op: str, shape: tuple[int, ...], size: int) -> tuple[int, ...]:
    """``shape`` with its -1 replaced, checked against the number of elements."""
    unknown = [i for i, n in enumerate(shape) if n == -1]
    known = 1
    for n in shape:
        if n < -1:
            raise RuntimeError(f"invalid shape dimension {n} in {op}")
        known *= 1 if n == -1 else n
    if len(unknown) > 1:
        raise RuntimeError(f"{op}: only one dimension can be inferred, got shape {list(shape)}")
    if unknown:
        if known == 0:
            raise RuntimeError(
                f"cannot reshape tensor of {size} elements into shape {list(shape)} because the unspecified dimension "
                "size -1 can be any value and is ambiguous"
            )
        shape = tuple(size // known if n == -1 else n for n in shape)
        known *= shape[unknown[0]]
    if known != size:
        raise RuntimeError(f"shape '{list(shape)}' is invalid for input of size {size} in {op}")
    return shape


def reshape(input: Tensor, shape: Sequence[int]) -> Tensor:
    """The elements in C order under another shape: a view where possible, else a copy. One size may be -1."""
    array = input._array
    new = _inferred("reshape", tuple(shape), array.size)
    if reshaped_view(array, new) is not None:
        return view_of(input, Reshape, new)
    return Reshape.apply(input, new)  # type: ignore[no-any-return]


def view(input: Tensor, shape: Sequence[int]) -> Tensor:
    """As :func:`reshape`, but refuses where that would copy."""
    array = input._array
    new = _inferred("view", tuple(shape), array.size)
    if reshaped_view(array, new) is None:
        raise RuntimeError(
            "view size is not compatible with input tensor's size and stride (at least one dimension spans across two "
            "contiguous subspaces). Use .reshape(...) instead."
        )
    return view_of(input, Reshape, new)


def permute(input: Tensor, dims: Sequence[int]) -> Tensor:
    """Dimension i of the result is dimension ``dims[i]`` of the input."""
    ndim = input._array.ndim
    order = tuple(dimension("permute", d, ndim) for d in dims)
    if len(order) != ndim or len(set(order)) != ndim:
        raise RuntimeError(f"permute: argument 'dims' is {tuple(dims)}, want each of the {ndim} dimensions once")
    return view_of(input, Permute, order)


def transpose(input: Tensor, dim0: int, dim1: int) -> Tensor:
    """Two dimensions exchanged."""
    ndim = input._array.ndim
    a, b = dimension("transpose", dim0, ndim), dimension("transpose", dim1, ndim)
    order = list(range(ndim))
    if ndim:
        order[a], order[b] = order[b], order[a]
    return view_of(input, Permute, tuple(order))


swapaxes = swapdims = transpose


def t(input: Tensor) -> Tensor:
    """The transpose of a matrix; 1-d and 0-d tensors as they are."""
    if input._array.ndim > 2:
        raise RuntimeError(f"t() expects a tensor with <= 2 dimensions, but self is {input._array.ndim}D")
    return view_of(input, Permute, tuple(range(input._array.ndim))[::-1])


def movedim(input: Tensor, source: int | Sequence[int], destination: int | Sequence[int]) -> Tensor:
    """The dimensions ``source`` moved to the places ``destination``; the others keep their order."""
    ndim = input._array.ndim
    come = [source] if isinstance(source, int) else list(source)
    go = [destination] if isinstance(destination, int) else list(destination)
    come = [dimension("movedim", d, ndim, "source") for d in come]
    go = [dimension("movedim", d, ndim, "destination") for d in go]
    if len(come) != len(go) or len(set(come)) != len(come) or len(set(go)) != len(go):
        raise RuntimeError(f"movedim: source {source} and destination {destination} want as many distinct dimensions")
    order = [d for d in range(ndim) if d not in come]
    for place, d in sorted(zip(go, come, strict=True)):
        order.insert(place, d)
    return view_of(input, Permute, tuple(order))


moveaxis = movedim


def broadcast_to(input: Tensor, size: Sequence[int]) -> Tensor:
    """Dimensions of size 1 repeated, without copying, to ``size``; -1 keeps a size; leading dimensions are added."""
    shape, old = list(size), input._array.shape
    extra = len(shape) - len(old)
    if extra < 0:
        raise RuntimeError(f"expand: the number of sizes provided ({len(shape)}) must be at least that of {list(old)}")
    for i, n in enumerate(shape):
        have = old[i - extra] if i >= extra else None
        if n == -1 and have is not None:
            shape[i] = have
        elif n < 0 or (have is not None and have not in (1, n)):
            raise RuntimeError(
                f"The expanded size of the tensor ({n}) must match the existing size ({have}) at non-singleton "
                f"dimension {i}. Target sizes: {list(size)}. Tensor sizes: {list(old)}"
            )
    return view_of(input, Expand, tuple(shape))


def unbroadcast(grad: Tensor, shape: Sequence[int]) -> Tensor:
    """The gradient of what was broadcast from ``shape``: summed over what broadcasting added or repeated."""
    wanted = tuple(shape)
    if grad._array.shape == wanted:
        return grad
    if not broadcasts_to(wanted, grad._array.shape):
        raise RuntimeError(f"size {list(wanted)} is not expandable to size {list(grad.shape)}.")
    return SumTo.apply(grad, wanted)  # type: ignore[no-any-return]


def broadcast_tensors(*tensors: Tensor) -> tuple[Tensor, ...]:
    """All of them expanded to their common shape."""
    shape = common_shape("broadcast_tensors", *[x._array.shape for x in tensors])
    return tuple(broadcast_to(x, shape) for x in tensors)


def numel(input: Tensor) -> int:
    """The number of elements."""
    return input._array.size


def flatten(input: Tensor, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """The dimensions from ``start_dim`` to ``end_dim`` as one."""
    shape = input._array.shape
    first = dimension("flatten", start_dim, len(shape), "start_dim")
    last = dimension("flatten", end_dim, len(shape), "end_dim")
    if first > last:
        raise RuntimeError("flatten() has invalid args: start_dim cannot come after end_dim")
    if not shape:
        return reshape(input, (1,))
    if first == last:
        return input
    merged = 1
    for n in shape[first : last + 1]:
        merged *= n
    return reshape(input, (*shape[:first], merged, *shape[last + 1 :]))


def ravel(input: Tensor) -> Tensor:
    """The elements in one dimension."""
    return reshape(input, (input._array.size,))


def unflatten(input: Tensor, dim: int, sizes: Sequence[int]) -> Tensor:
    """Dimension ``dim`` split into ``sizes``."""
    shape = input._array.shape
    d = dimension("unflatten", dim, len(shape))
    return view(input, (*shape[:d], *_inferred("unflatten", tuple(sizes), shape[d]), *shape[d + 1 :]))


def squeeze(input: Tensor, dim: int | Sequence[int] | None = None) -> Tensor:
    """Without the dimensions of size 1 (or those among ``dim``)."""
    shape = input._array.shape
    chosen = range(len(shape)) if dim is None else [dim] if isinstance(dim, int) else dim
    drop = {dimension("squeeze", d, len(shape)) for d in chosen}
    index = tuple(0 if d in drop and n == 1 else slice(None) for d, n in enumerate(shape))
    return view_of(input, Slice, (*index, ...))


def unsqueeze(input: Tensor, dim: int) -> Tensor:
    """With a dimension of size 1 at ``dim``."""
    d = dimension("unsqueeze", dim, input._array.ndim + 1)
    return view_of(input, Slice, (*[slice(None)] * d, None, ...))


def select(input: Tensor, dim: int, index: int) -> Tensor:
    """Entry ``index`` along ``dim``, which goes away."""
    if not input._array.ndim:
        raise IndexError("select() cannot be applied to a 0-dim tensor.")
    d = dimension("select", dim, input._array.ndim)
    n, i = input._array.shape[d], operator.index(index)
    if not -n <= i < n:
        raise IndexError(f"select(): index {i} out of range for tensor of size {list(input.shape)} at dimension {d}")
    return view_of(input, Slice, (*[slice(None)] * d, i, ...))


def narrow(input: Tensor, dim: int, start: int, length: int) -> Tensor:
    """Entries ``start`` to ``start + length - 1`` along ``dim``."""
    if not input._array.ndim:
        raise RuntimeError("narrow() cannot be applied to a 0-dim tensor.")
    d = dimension("narrow", dim, input._array.ndim)
    n, first, count = input._array.shape[d], operator.index(start), operator.index(length)
    if not -n <= first <= n:
        raise IndexError(f"narrow: start {first} is out of range for dimension {d} of size {n}")
    first += n if first < 0 else 0
    if count < 0 or first + count > n:
        raise RuntimeError(f"start ({first}) + length ({count}) exceeds dimension size ({n}).")
    return view_of(input, Slice, (*[slice(None)] * d, slice(first, first + count), ...))


def split(tensor: Tensor, split_size_or_sections: int | Sequence[int], dim: int = 0) -> tuple[Tensor, ...]:
    """Parts along ``dim``: of one size (the last may be smaller), or of the listed sizes."""
    d = dimension("split", dim, tensor._array.ndim)
    if not tensor._array.ndim:
        raise RuntimeError("split expects at least a 1-dimensional tensor")
    n = tensor._array.shape[d]
    if isinstance(split_size_or_sections, int):
        size = split_size_or_sections
        if size < 0 or (size == 0 and n):
            raise RuntimeError(f"split expects split_size be positive, but got split_size={size}")
        parts = [min(size, n - i) for i in range(0, n, size)] if n else [0]
    else:
        parts = [operator.index(p) for p in split_size_or_sections]
        if sum(parts) != n or any(p < 0 for p in parts):
            raise RuntimeError(
                f"split_with_sizes expects split_sizes to sum exactly to {n} (input tensor's size at dimension {d}), "
                f"but got split_sizes={parts}"
            )
    return _split(tensor, d, tuple(parts))


def chunk(input: Tensor, chunks: int, dim: int = 0) -> tuple[Tensor, ...]:
    """At most ``chunks`` parts of one size (the last may be smaller)."""
    if chunks < 1:
        raise RuntimeError(f"chunk expects `chunks` to be greater than 0, got: {chunks}")
    n = input._array.shape[dimension("chunk", dim, input._array.ndim)] if input._array.ndim else 0
    if n == 0:
        return split(input, [0] * chunks, dim)
    return split(input, -(-n // chunks), dim)


def tensor_split(input: Tensor, indices_or_sections: int | Sequence[int], dim: int = 0) -> tuple[Tensor, ...]:
    """Parts as equal as possible, or cut at the listed places, as ``numpy.array_split``."""
    n = input._array.shape[dimension("tensor_split", dim, input._array.ndim)]
    if isinstance(indices_or_sections, int):
        if indices_or_sections < 1:
            raise RuntimeError(f"number of sections must be larger than 0, got {indices_or_sections}")
        small, more = divmod(n, indices_or_sections)
        return split(input, [small + (i < more) for i in range(indices_or_sections)], dim)
    cuts = [0, *[slice(None, i).indices(n)[1] for i in indices_or_sections], n]
    return tuple(narrow(input, dim, a, max(b - a, 0)) for a, b in pairwise(cuts))


def unbind(input: Tensor, dim: int = 0) -> tuple[Tensor, ...]:
    """Every entry along ``dim``."""
    if not input._array.ndim:
        raise RuntimeError("Dimension specified as 0 but tensor has no dimensions")
    d = dimension("unbind", dim, input._array.ndim)
    return tuple(select(input, d, i) for i in range(input._array.shape[d]))


def diagonal(input: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
    """The diagonal of the dimensions ``dim1`` and ``dim2``, as the last dimension."""
    ndim = input._array.ndim
    a, b = dimension("diagonal", dim1, ndim, "dim1"), dimension("diagonal", dim2, ndim, "dim2")
    if a == b:
        raise RuntimeError(f"diagonal dimensions cannot be identical {dim1}, {dim2}")
    return view_of(input, Diagonal, int(offset), a, b)


def clone(input: Tensor, *, memory_format: Any = preserve_format) -> Tensor:
    """A copy in memory of its own, on the tape; in the order of the input, or in another format."""
    wanted = preserve_format if memory_format is None else memory_format
    return Clone.apply(input, checked("clone", wanted, input._array.ndim))  # type: ignore[no-any-return]


def detach(input: Tensor) -> Tensor:
    """The same memory, cut from the tape."""
    return input.detach()


def view_dtype(input: Tensor, dtype: np.dtype[Any]) -> Tensor:
    """The bits read as another dtype; not differentiable."""
    if input._array.dtype == dtype:
        return view(input, input._array.shape)
    if input._array.dtype.itemsize != dtype.itemsize and not input._array.ndim:
        raise RuntimeError(f"view: a 0-d tensor of {input.dtype} can't be viewed as {dtype}, of another size")
    result = wrap(input._array.view(dtype))
    result._counter = input._shared_counter()
    return result
