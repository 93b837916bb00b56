"""Reading and writing by index, as PyTorch does it: ints, slices, None and Ellipsis give views; masks, index arrays
and lists gather. Ints never count as index arrays (unlike in NumPy): they are applied first, as a view."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from chainrule import formats, kernels
from chainrule.autograd import Context, Function
from chainrule.broadcasting import broadcasts_to, common_shape
from chainrule.ops.inplace import check_history, check_writable
from chainrule.ops.memory import FLOATS, cast_array, choose, write, zeros
from chainrule.ops.selection import Along, Basic, Mask, Rows, Selection, int64, selection
from chainrule.ops.view import Slice, broadcast_tensors, broadcast_to, dimension, ravel, unbroadcast, view_of
from chainrule.recording.state import numpy_path
from chainrule.tensor import Tensor, unwrapped, wrap

__all__ = [
    "argsort",
    "argwhere",
    "flip",
    "gather",
    "index_add",
    "index_select",
    "masked_fill",
    "masked_select",
    "nonzero",
    "roll",
    "scatter",
    "scatter_add",
    "sort",
    "take_along_dim",
    "topk",
    "tril",
    "triu",
]

Array = np.ndarray[Any, Any]
Index = tuple[Any, ...]


class Gather(Function):
    """Copies what ``index`` selects. Duplicates add up in backward, in the order of the index."""

    @staticmethod
    def forward(ctx: Context, x: Tensor, index: Selection) -> Tensor:
        ctx.index, ctx.shape = index, x._array.shape
        return wrap(index.read(x._array))

    @staticmethod
    def backward(ctx: Context, dy: Tensor) -> Any:
        return ScatterAdd.apply(dy, ctx.index, ctx.shape), None


class ScatterAdd(Function):
    """Zeros of ``shape`` with dy added at ``index``."""

    @staticmethod
    def forward(ctx: Context, dy: Tensor, index: Selection, shape: tuple[int, ...]) -> Tensor:
        ctx.index = index
        dx = zeros(shape, dy._array.dtype)
        index.add(dx, dy._array)
        return wrap(dx)

    @staticmethod
    def backward(ctx: Context, ddx: Tensor) -> Any:
        return Gather.apply(ddx, ctx.index), None, None


class SetItem(Function):
    """``x[index] = value`` in x's memory."""

    @staticmethod
    def forward(ctx: Context, x: Tensor, value: Tensor, index: Selection) -> Tensor:
        ctx.index, ctx.value = index, (value._array.shape, value._array.dtype)
        index.set(x._array, value._array)
        x._bump()
        ctx.mark_dirty(x)
        return x

    @staticmethod
    def backward(ctx: Context, dy: Tensor) -> Any:
        shape, dtype = ctx.value
        rest = ZeroAt.apply(dy, ctx.index) if ctx.needs_input_grad[0] else None
        if not ctx.needs_input_grad[1]:
            return rest, None, None
        index = ctx.index
        part = view_of(dy, Slice, index.index) if isinstance(index, Basic) else Gather.apply(dy, index)
        return rest, unbroadcast(part, shape).to(dtype), None


class ZeroAt(Function):
    """A copy with zeros at ``index``."""

    @staticmethod
    def forward(ctx: Context, x: Tensor, index: Selection) -> Tensor:
        ctx.index = index
        y = kernels.copy(x._array)
        index.set(y, zeros((), y.dtype))
        return wrap(y)

    @staticmethod
    def backward(ctx: Context, dy: Tensor) -> Any:
        return ZeroAt.apply(dy, ctx.index), None


def parse(index: Any) -> tuple[Index, Index | None]:
    """A subscript as NumPy's: the basic part, and the advanced part to apply to its result (None without one)."""
    items = index if isinstance(index, tuple) else (index,)
    basic: list[Any] = []
    advanced: list[Any] = []
    gathers = False
    for item in items:
        if isinstance(item, Tensor):
            item = item._array
        if isinstance(item, slice):
            basic.append(_positive(item))
            advanced.append(slice(None))
        elif item is None:
            basic.append(None)
            advanced.append(slice(None))
        elif item is Ellipsis:
            if Ellipsis in [b for b in basic if b is Ellipsis]:
                raise IndexError("an index can only have a single ellipsis ('...')")
            basic.append(Ellipsis)
            advanced.append(Ellipsis)
        elif isinstance(item, (bool, np.bool_)):
            advanced.append(np.asarray(item))
            gathers = True
        elif isinstance(item, np.ndarray) and (item.ndim or item.dtype == bool):
            gathers = True
            array = _index_array(item)
            basic += [slice(None)] * (array.ndim if array.dtype == bool else 1)
            advanced.append(array)
        elif isinstance(item, (list, tuple, range)):
            gathers = True
            array = _index_array(np.asarray([unwrapped(i) for i in item]))
            basic += [slice(None)] * (array.ndim if array.dtype == bool else 1)
            advanced.append(array)
        else:
            basic.append(_integer(item))
    if Ellipsis not in [b for b in basic if b is Ellipsis]:
        basic.append(Ellipsis)
        advanced.append(Ellipsis)
    return tuple(basic), tuple(advanced) if gathers else None


def _positive(item: slice) -> slice:
    start, stop, step = (None if v is None else _integer(v) for v in (item.start, item.stop, item.step))
    if step is not None and step <= 0:
        raise ValueError("step must be greater than zero")
    return slice(start, stop, step)


def _integer(item: Any) -> int:
    try:
        return operator.index(item)
    except TypeError:
        kind = f"{item.dtype} tensor" if isinstance(item, np.ndarray) else type(item).__name__
        raise IndexError(
            f"only integers, slices, ellipsis, None and bool or integer tensors are valid indices (got {kind})"
        ) from None


def _index_array(array: Array) -> Array:
    if array.size == 0 and array.dtype == np.float64:  # an empty list
        return array.astype(np.int64)
    if array.dtype.kind not in "iub":
        raise IndexError(f"tensors used as indices must be integer or bool tensors, not {array.dtype}")
    return array


def getitem(x: Tensor, index: Any) -> Tensor:
    """``x[index]``."""
    if type(index) is int and x._array.ndim:
        return view_of(x, Slice, (index, ...))
    basic, advanced = parse(index)
    if advanced is None or not _covers(basic):
        x = view_of(x, Slice, basic)
    if advanced is None:
        return x
    return Gather.apply(x, selection(advanced, x._array.shape))  # type: ignore[no-any-return]


def setitem(x: Tensor, index: Any, value: Any) -> None:
    """``x[index] = value``: value is a number or broadcasts to what the index selects."""
    basic, advanced = parse(index)
    view = x._array[basic]
    check_writable(view)
    place: Selection = Basic(basic) if advanced is None else selection(advanced, view.shape)
    if not isinstance(value, Tensor):
        value = wrap(np.asarray(value, dtype=x._array.dtype))
    if value._array.ndim:
        _check_fits(value._array.shape, view.shape if advanced is None else place.shape(view))
    if not check_history(x, (value,)):
        if advanced is None:
            write(view, value._array)
        else:
            place.set(view, value._array)
        x._bump()
        return
    if advanced is not None and not _covers(basic):
        x = view_of(x, Slice, basic)
    SetItem.apply(x, _fit(value, len(place.shape(x._array))) if value._array.ndim else value, place)


def _covers(basic: Index) -> bool:
    return basic == (slice(None),) * (len(basic) - 1) + (...,)


def _fit(value: Tensor, ndim: int) -> Tensor:
    """Without the leading dimensions of size 1 that are too many."""
    while value._array.ndim > ndim:
        value = view_of(value, Slice, (0, ...))
    return value


def _check_fits(shape: tuple[int, ...], place: tuple[int, ...]) -> None:
    """Whether values of this shape can be assigned to a place of that one (leading sizes of 1 may be too many)."""
    extra = max(len(shape) - len(place), 0)
    if not (set(shape[:extra]) <= {1} and broadcasts_to(shape[extra:], place)):
        raise RuntimeError(
            f"shape mismatch: value tensor of shape {list(shape)} cannot be broadcast to indexing result of shape "
            f"{list(place)}"
        )


# By name.


def _wanted_index(op: str, index: Tensor) -> Array:
    if not isinstance(index, Tensor) or index._array.dtype.kind not in "iu":
        got = index.dtype if isinstance(index, Tensor) else type(index).__name__
        raise TypeError(f"{op}: argument 'index' is {got}, want an integer tensor")
    return index._array


def index_select(input: Tensor, dim: int, index: Tensor) -> Tensor:
    """The entries ``index`` (1-d) along ``dim``."""
    places = _wanted_index("index_select", index)
    if places.ndim > 1:
        raise IndexError("index_select(): Index is supposed to be a vector")
    d = dimension("index_select", dim, input._array.ndim)
    return Gather.apply(input, _rows("index_select", input._array, d, places))  # type: ignore[no-any-return]


def _rows(op: str, x: Array, dim: int, places: Array) -> Rows:
    n = x.shape[dim]
    try:
        places = kernels.index_places(int64(places), n, None, False).reshape(-1)  # a copy: the index may change
    except ValueError as error:
        raise IndexError(f"{op}: index out of range, want 0 to {n - 1}: {error}") from None
    return Rows(dim, 1, places, places.shape)


def _grid(op: str, x: Tensor, dim: int, index: Tensor) -> Selection:
    """What ``gather`` selects: the index along ``dim``, the same positions elsewhere."""
    places = _wanted_index(op, index)
    d = dimension(op, dim, x._array.ndim)
    if places.ndim != x._array.ndim:
        raise RuntimeError("Index tensor must have the same number of dimensions as input tensor")
    for i, (n, m) in enumerate(zip(places.shape, x._array.shape, strict=True)):
        if i != d and n > m:
            raise RuntimeError(
                f"{op}: size does not match at dimension {i} expected index {list(places.shape)} to be no larger than "
                f"self {list(x.shape)} apart from dimension {d}"
            )
    n = x._array.shape[d] if x._array.ndim else 1
    try:
        places = kernels.index_places(int64(places), n, None, False)  # a copy: the index may change
    except ValueError as error:
        raise RuntimeError(f"{op}: index is out of bounds for dimension {d} with size {n}: {error}") from None
    return Along(d, places) if places.ndim else Basic((...,))


def gather(input: Tensor, dim: int, index: Tensor) -> Tensor:
    """Along ``dim`` the entries named by ``index``, which has as many dimensions as input."""
    return Gather.apply(input, _grid("gather", input, dim, index))  # type: ignore[no-any-return]


def take_along_dim(input: Tensor, indices: Tensor, dim: int | None = None) -> Tensor:
    """As :func:`gather`, with ``indices`` broadcast against input; without ``dim``, over the flat elements."""
    if dim is None:
        return gather(ravel(input), 0, ravel(indices))
    d = dimension("take_along_dim", dim, input._array.ndim)
    a, b = list(input.shape), list(indices.shape)
    shape = common_shape("take_along_dim", (*a[:d], 1, *a[d + 1 :]), (*b[:d], 1, *b[d + 1 :]))
    input = broadcast_to(input, (*shape[:d], a[d], *shape[d + 1 :]))
    return gather(input, d, broadcast_to(indices, (*shape[:d], b[d], *shape[d + 1 :])))


class ScatterInto(Function):
    """x with the values of src written, or added, at ``index``."""

    @staticmethod
    def forward(ctx: Context, x: Tensor, src: Tensor, index: Selection, add: bool) -> Tensor:
        ctx.index, ctx.add = index, add
        y = kernels.copy(x._array)
        (index.add if add else index.set)(y, src._array)
        return wrap(y)

    @staticmethod
    def backward(ctx: Context, dy: Tensor) -> Any:
        dx = dy if ctx.add else ZeroAt.apply(dy, ctx.index)
        return dx, Gather.apply(dy, ctx.index), None, None


def _source(op: str, input: Tensor, index: Tensor, src: Tensor | float) -> Tensor:
    shape = index.shape
    if not isinstance(src, Tensor):
        return wrap(kernels.full(shape, src, input._array.dtype))
    if src._array.dtype != input._array.dtype:
        raise RuntimeError(f"{op}: argument 'src' is {src.dtype}, want {input.dtype} as input")
    if src._array.ndim != len(shape) or any(n > m for n, m in zip(shape, src.shape, strict=True)):
        raise RuntimeError(f"{op}: index of shape {list(shape)} doesn't fit in src of shape {list(src.shape)}")
    return src if src.shape == shape else view_of(src, Slice, (*[slice(0, n) for n in shape], ...))


def scatter(input: Tensor, dim: int, index: Tensor, src: Tensor | float) -> Tensor:
    """input with ``src`` written along ``dim`` at ``index``; of duplicates the last one stays."""
    place = _grid("scatter", input, dim, index)
    return ScatterInto.apply(input, _source("scatter", input, index, src), place, False)  # type: ignore[no-any-return]


def scatter_add(input: Tensor, dim: int, index: Tensor, src: Tensor) -> Tensor:
    """input with ``src`` added along ``dim`` at ``index``, duplicates in the order of the index."""
    place = _grid("scatter_add", input, dim, index)
    return ScatterInto.apply(input, _source("scatter_add", input, index, src), place, True)  # type: ignore[no-any-return]


def index_add(input: Tensor, dim: int, index: Tensor, source: Tensor, *, alpha: float = 1) -> Tensor:
    """input with ``alpha * source`` added to the entries ``index`` along ``dim``."""
    places = _wanted_index("index_add", index)
    d = dimension("index_add", dim, input._array.ndim)
    want = (*input.shape[:d], places.size, *input.shape[d + 1 :])
    if source.shape != want:
        raise RuntimeError(f"index_add: argument 'source' has shape {list(source.shape)}, want {list(want)}")
    if alpha != 1:
        source = source * alpha
    return ScatterInto.apply(input, source, _rows("index_add", input._array, d, places), True)  # type: ignore[no-any-return]


class MaskedFill(Function):
    @staticmethod
    def forward(ctx: Context, x: Tensor, mask: Array, value: Any) -> Tensor:
        ctx.mask = mask
        ctx.shapes = x._array.shape, value._array.shape if isinstance(value, Tensor) else None
        filler = cast_array(value._array, x._array.dtype) if isinstance(value, Tensor) else value
        return wrap(choose(mask, filler, x._array))

    @staticmethod
    def backward(ctx: Context, dy: Tensor) -> Any:
        kept, filled = None, None
        if ctx.needs_input_grad[0]:
            kept = unbroadcast(MaskedFill.apply(dy, ctx.mask, 0.0), ctx.shapes[0])
        if ctx.needs_input_grad[2]:
            filled = MaskedFill.apply(dy, kernels.eq(ctx.mask, 0), 0.0)
            filled = unbroadcast(filled, ctx.shapes[1])
        return kept, None, filled


def masked_fill(input: Tensor, mask: Tensor, value: Any) -> Tensor:
    """input, but ``value`` (a number or 0-d tensor) where ``mask`` (bool, broadcast) is True."""
    if not isinstance(mask, Tensor) or mask._array.dtype != np.bool_:
        got = mask.dtype if isinstance(mask, Tensor) else type(mask).__name__
        raise RuntimeError(f"masked_fill: argument 'mask' is {got}, want a bool tensor")
    if not isinstance(value, Tensor):
        number = np.asarray(value)
        if not np.can_cast(number.dtype, input._array.dtype, "same_kind"):
            raise RuntimeError(f"value cannot be converted to type {input._array.dtype} without overflow")
        value = float(number) if input._array.dtype in FLOATS else wrap(number.astype(input._array.dtype))
    elif value._array.ndim:
        raise RuntimeError(
            f"masked_fill only supports a 0-dimensional value tensor, but got tensor with {value._array.ndim} "
            "dimension(s)."
        )
    same = mask._array.shape == input._array.shape
    kept = formats.empty_like(input._array if same else mask._array, np.bool_)  # the result lies as the input
    return MaskedFill.apply(input, kernels.copy(mask._array, kept), value)  # type: ignore[no-any-return]


def masked_select(input: Tensor, mask: Tensor) -> Tensor:
    """The elements where ``mask`` (bool, broadcast both ways) is True, in one dimension."""
    if mask._array.dtype != np.bool_:
        raise RuntimeError(f"masked_select: argument 'mask' is {mask.dtype}, want a bool tensor")
    x, where = broadcast_tensors(input, mask)
    return Gather.apply(x, Mask(kernels.copy(where._array)))  # type: ignore[no-any-return]


class Triangle(Function):
    @staticmethod
    def forward(ctx: Context, x: Tensor, diagonal: int, keep: Callable[..., Array]) -> Tensor:
        ctx.args = diagonal, keep
        return wrap(keep(x._array, diagonal))

    @staticmethod
    def backward(ctx: Context, dy: Tensor) -> Any:
        return Triangle.apply(dy, *ctx.args), None, None


def _triangle(op: str, x: Tensor, diagonal: int, keep: Callable[..., Array]) -> Tensor:
    if x._array.ndim < 2:
        raise RuntimeError(f"{op}: input tensor must have at least 2 dimensions")
    return Triangle.apply(x, diagonal, keep)  # type: ignore[no-any-return]


def tril(input: Tensor, diagonal: int = 0) -> Tensor:
    """The lower triangle of the last two dimensions, zeros above ``diagonal``."""
    return _triangle("tril", input, diagonal, kernels.tril)


def triu(input: Tensor, diagonal: int = 0) -> Tensor:
    """The upper triangle of the last two dimensions, zeros below ``diagonal``."""
    return _triangle("triu", input, diagonal, kernels.triu)


def flip(input: Tensor, dims: int | Sequence[int]) -> Tensor:
    """A copy with these dimensions reversed."""
    chosen = [dims] if isinstance(dims, int) else list(dims)
    axes = {dimension("flip", d, input._array.ndim) for d in chosen}
    if len(axes) != len(chosen):
        raise RuntimeError(f"flip: argument 'dims' is {tuple(chosen)}, want distinct dimensions")
    index = tuple(slice(None, None, -1) if d in axes else slice(None) for d in range(input._array.ndim))
    return Reverse.apply(input, (*index, ...))  # type: ignore[no-any-return]


class Reverse(Function):
    @staticmethod
    def forward(ctx: Context, x: Tensor, index: Index) -> Tensor:
        ctx.index = index
        return wrap(kernels.copy(x._array[index]))

    @staticmethod
    def backward(ctx: Context, dy: Tensor) -> Any:
        return Reverse.apply(dy, ctx.index), None


class Roll(Function):
    @staticmethod
    def forward(ctx: Context, x: Tensor, shifts: tuple[int, ...], dims: tuple[int, ...] | None) -> Tensor:
        ctx.args = tuple(-s for s in shifts), dims
        if dims is None:
            return wrap(_rolled(x._array.reshape(-1), shifts[0], 0).reshape(x._array.shape))
        y = x._array
        for shift, dim in zip(shifts, dims, strict=True):
            y = _rolled(y, shift, dim)
        return wrap(y)

    @staticmethod
    def backward(ctx: Context, dy: Tensor) -> Any:
        return Roll.apply(dy, *ctx.args), None, None


def _rolled(x: Array, shift: int, dim: int) -> Array:
    """A copy whose entries along ``dim`` have moved on by ``shift``."""
    y = kernels.empty(x.shape, x.dtype)
    before: Index = (slice(None),) * dim
    n = x.shape[dim] if x.ndim else 1
    cut = n - shift % n if n else 0
    if not x.ndim:
        return kernels.copy(x)
    kernels.copy(x[(*before, slice(cut, None))], y[(*before, slice(0, n - cut))])
    kernels.copy(x[(*before, slice(0, cut))], y[(*before, slice(n - cut, None))])
    return y


def roll(input: Tensor, shifts: int | Sequence[int], dims: int | Sequence[int] | None = None) -> Tensor:
    """Elements moved along ``dims`` (without: along the flat elements); what leaves one end enters at the other."""
    by = (shifts,) if isinstance(shifts, int) else tuple(shifts)
    along = None if dims is None else (dims,) if isinstance(dims, int) else tuple(dims)
    if along == ():
        along = None
    if len(by) != (1 if along is None else len(along)):
        raise RuntimeError(f"roll: shifts and dimensions must align. shifts: {len(by)}, dims: {len(along or ())}")
    if along is not None:
        along = tuple(dimension("roll", d, input._array.ndim) for d in along)
    return Roll.apply(input, by, along)  # type: ignore[no-any-return]


def nonzero(input: Tensor, *, as_tuple: bool = False) -> Any:
    """The indices of the elements that aren't zero: (count, ndim), or a tuple with a tensor per dimension."""
    numpy_path("nonzero")
    found = np.nonzero(np.atleast_1d(input._array))
    if as_tuple:
        return tuple(wrap(i.astype(np.int64, copy=False)) for i in found)
    rows = np.stack(found[: input._array.ndim], axis=1) if input._array.ndim else np.zeros((len(found[0]), 0))
    return wrap(rows.astype(np.int64, copy=False))


def argwhere(input: Tensor) -> Tensor:
    """As :func:`nonzero`."""
    return nonzero(input)  # type: ignore[no-any-return]


def _order(x: Array, dim: int, descending: bool) -> Array:
    """Stable; NaN counts as the largest."""
    if not x.ndim:
        return np.zeros((), np.int64)
    if not descending:
        return np.argsort(x, axis=dim, kind="stable")
    backwards = np.argsort(np.flip(x, dim), axis=dim, kind="stable")
    return np.flip(x.shape[dim] - 1 - backwards, dim)


def argsort(input: Tensor, dim: int = -1, descending: bool = False, stable: bool = False) -> Tensor:
    """The indices that sort along ``dim``. Always stable."""
    numpy_path("argsort")
    d = dimension("argsort", dim, input._array.ndim)
    return wrap(np.ascontiguousarray(_order(input._array, d, descending)).reshape(input.shape))


def sort(input: Tensor, dim: int = -1, descending: bool = False, stable: bool = False) -> tuple[Tensor, Tensor]:
    """(values, indices), sorted along ``dim``. Always stable; NaN counts as the largest."""
    indices = argsort(input, dim, descending)
    return gather(input, dim, indices), indices


def topk(input: Tensor, k: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> tuple[Tensor, Tensor]:
    """(values, indices) of the k largest (or smallest) along ``dim``, sorted."""
    d = dimension("topk", dim, input._array.ndim)
    n = input._array.shape[d] if input._array.ndim else 1
    if not 0 <= k <= n:
        raise RuntimeError(f"topk: selected index k is {k}, want 0 to {n}")
    order = argsort(input, d, largest)
    indices = view_of(order, Slice, (*[slice(None)] * d, slice(0, k), ...)) if input._array.ndim else order
    indices = wrap(np.ascontiguousarray(indices._array).reshape(indices.shape))
    return gather(input, d, indices), indices
