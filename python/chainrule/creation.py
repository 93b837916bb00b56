"""Making tensors: from data, of one value, in sequence, at random."""

from __future__ import annotations

import builtins
import functools
import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from chainrule import formats, kernels, random
from chainrule.broadcasting import common_shape
from chainrule.dtypes import as_dtype, check_device, float32, float64, get_default_dtype, int64
from chainrule.ops.view import sizes
from chainrule.recording.state import constant_array, current
from chainrule.tensor import Tensor, unwrapped, wrap

__all__ = [
    "arange",
    "as_tensor",
    "asarray",
    "empty",
    "empty_like",
    "eye",
    "from_dlpack",
    "from_numpy",
    "full",
    "full_like",
    "is_floating_point",
    "is_tensor",
    "linspace",
    "normal",
    "ones",
    "ones_like",
    "rand",
    "rand_like",
    "randint",
    "randint_like",
    "randn",
    "randn_like",
    "randperm",
    "scalar_tensor",
    "tensor",
    "zeros",
    "zeros_like",
]

Array = np.ndarray[Any, Any]
Generator = random.Generator


def _made(array: Array, requires_grad: bool) -> Tensor:
    result = wrap(array)
    if requires_grad:
        result.requires_grad = True
    return result


# From data.


def _leaves(data: Any) -> Any:
    """The first number of nested sequences, and whether a tensor is among them."""
    while isinstance(data, (list, tuple)):
        if not data:
            return None
        data = data[0]
    return data


def _numbers_alone(data: Any) -> builtins.bool:
    if isinstance(data, (list, tuple)):
        return builtins.all(_numbers_alone(d) for d in data)
    return isinstance(data, (float, int)) and not isinstance(data, np.generic)


def to_array(op: str, data: Any, dtype: Any) -> Array:
    """data as an array: a new one, except where it is one already. Python floats get the default dtype."""
    array: Array
    if isinstance(data, Tensor):
        array = data._array
    elif isinstance(data, np.ndarray):
        array = data
    else:
        first = _leaves(data)
        try:
            array = np.array(unwrapped(data))
        except ValueError as error:
            raise ValueError(f"{op}: argument 'data' is ragged: {error}") from None
        if array.dtype.kind not in "fiub":
            raise TypeError(f"{op}: argument 'data' has elements of {type(first).__name__}, want numbers")
        if first is None or (isinstance(first, (float, int)) and not isinstance(first, np.generic)):
            if array.dtype == np.float64:
                array = array.astype(get_default_dtype())
            elif array.dtype.kind == "i":
                array = array.astype(np.int64, copy=False)
        if current() is not None and _numbers_alone(data):
            return constant_array(array if dtype is None else array.astype(as_dtype(dtype)))
    if dtype is not None:
        return array.astype(as_dtype(dtype), copy=False)
    if array.dtype.kind not in "fiub":
        raise TypeError(f"{op}: can't convert an array of dtype {array.dtype}, want floating, integer or bool elements")
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def tensor(data: Any, *, dtype: Any = None, device: Any = None, requires_grad: builtins.bool = False) -> Tensor:
    """A new leaf with a copy of ``data``: numbers, nested sequences, an array or a tensor."""
    check_device("tensor", device)
    array = to_array("tensor", data, dtype)
    return _made(kernels.copy(array), requires_grad)


def as_tensor(data: Any, dtype: Any = None, device: Any = None) -> Tensor:
    """data as a tensor, sharing memory (and the tape) where nothing must change."""
    check_device("as_tensor", device)
    if isinstance(data, Tensor):
        return data if dtype is None else data.to(as_dtype(dtype))
    return wrap(to_array("as_tensor", data, dtype))


def asarray(
    obj: Any,
    *,
    dtype: Any = None,
    device: Any = None,
    copy: builtins.bool | None = None,
    requires_grad: builtins.bool = False,
) -> Tensor:
    """As :func:`as_tensor`; ``copy`` True always copies."""
    result = tensor(obj, dtype=dtype, device=device) if copy else as_tensor(obj, dtype, device)
    return result.requires_grad_() if requires_grad else result


def from_numpy(ndarray: Array) -> Tensor:
    """The array as a tensor, sharing its memory."""
    if not isinstance(ndarray, np.ndarray):
        raise TypeError(f"expected np.ndarray (got {type(ndarray).__name__})")
    if ndarray.dtype.kind not in "fiub":
        raise TypeError(f"can't convert np.ndarray of type {ndarray.dtype}, want floating, integer or bool")
    if not ndarray.dtype.isnative:
        raise ValueError("given numpy array has byte order different from the native byte order")
    return wrap(ndarray)


def from_dlpack(ext_tensor: Any) -> Tensor:
    """Another library's CPU tensor, sharing its memory."""
    if isinstance(ext_tensor, Tensor):
        return ext_tensor.detach()
    if isinstance(ext_tensor, np.ndarray):
        return from_numpy(ext_tensor)
    array = np.from_dlpack(ext_tensor)
    return from_numpy(array)


def is_tensor(obj: Any) -> builtins.bool:
    """Whether it is a Tensor."""
    return isinstance(obj, Tensor)


def is_floating_point(input: Tensor) -> builtins.bool:
    """Whether its dtype is floating."""
    return bool(input._array.dtype.kind == "f")


# Of one value.


def _dtype(dtype: Any) -> np.dtype[Any]:
    return get_default_dtype() if dtype is None else as_dtype(dtype)


def _shape(op: str, size: tuple[Any, ...]) -> tuple[int, ...]:
    shape = sizes(op, size)
    if any(n < 0 for n in shape):
        raise RuntimeError(f"Trying to create tensor with negative dimension in {op}: {list(shape)}")
    return shape


def _whole(op: str, name: str, value: Any) -> int:
    try:
        return operator.index(value)
    except TypeError:
        raise TypeError(f"{op}: argument {name!r} is {value!r}, want an integer") from None


def zeros(*size: Any, dtype: Any = None, device: Any = None, requires_grad: builtins.bool = False) -> Tensor:
    """Zeros."""
    check_device("zeros", device)
    return _made(kernels.full(_shape("zeros", size), 0, _dtype(dtype)), requires_grad)


def ones(*size: Any, dtype: Any = None, device: Any = None, requires_grad: builtins.bool = False) -> Tensor:
    """Ones."""
    check_device("ones", device)
    return _made(kernels.full(_shape("ones", size), 1, _dtype(dtype)), requires_grad)


def empty(
    *size: Any,
    dtype: Any = None,
    device: Any = None,
    requires_grad: builtins.bool = False,
    memory_format: Any = formats.contiguous_format,
) -> Tensor:
    """Whatever the memory holds."""
    check_device("empty", device)
    shape = _shape("empty", size)
    wanted = formats.checked("empty", memory_format, len(shape), preserve=False)
    return _made(formats.empty(shape, _dtype(dtype), wanted), requires_grad)


def full(
    size: Sequence[int], fill_value: Any, *, dtype: Any = None, device: Any = None, requires_grad: builtins.bool = False
) -> Tensor:
    """One value everywhere; its kind gives the dtype."""
    check_device("full", device)
    value = fill_value.item() if isinstance(fill_value, Tensor) else fill_value
    if dtype is None:
        dtype = {"f": get_default_dtype(), "i": int64}.get(np.asarray(value).dtype.kind, np.asarray(value).dtype)
    return _made(kernels.full(_shape("full", (size,)), value, as_dtype(dtype)), requires_grad)


def scalar_tensor(s: Any, *, dtype: Any = None, device: Any = None, requires_grad: builtins.bool = False) -> Tensor:
    """A 0-d tensor, of the default dtype."""
    check_device("scalar_tensor", device)
    return _made(np.asarray(s, _dtype(dtype)), requires_grad)


def _tensor(op: str, input: Any) -> Tensor:
    if not isinstance(input, Tensor):
        raise TypeError(f"{op}: argument 'input' is a {type(input).__name__}, want a Tensor")
    return input


def _like(op: str, input: Tensor, dtype: Any, device: Any, memory_format: Any) -> Array:
    """Whatever the memory holds: in the shape of input, and lying as it does unless another format is wanted."""
    check_device(op, device)
    array = _tensor(op, input)._array
    wanted = formats.checked(op, memory_format, array.ndim)
    return formats.empty_like(array, array.dtype if dtype is None else as_dtype(dtype), wanted)


def zeros_like(
    input: Tensor,
    *,
    dtype: Any = None,
    device: Any = None,
    requires_grad: builtins.bool = False,
    memory_format: Any = formats.preserve_format,
) -> Tensor:
    """Zeros in the shape, dtype and memory format of input."""
    return _made(kernels.fill(_like("zeros_like", input, dtype, device, memory_format), 0), requires_grad)


def ones_like(
    input: Tensor,
    *,
    dtype: Any = None,
    device: Any = None,
    requires_grad: builtins.bool = False,
    memory_format: Any = formats.preserve_format,
) -> Tensor:
    """Ones in the shape, dtype and memory format of input."""
    return _made(kernels.fill(_like("ones_like", input, dtype, device, memory_format), 1), requires_grad)


def empty_like(
    input: Tensor,
    *,
    dtype: Any = None,
    device: Any = None,
    requires_grad: builtins.bool = False,
    memory_format: Any = formats.preserve_format,
) -> Tensor:
    """Whatever the memory holds, in the shape, dtype and memory format of input."""
    return _made(_like("empty_like", input, dtype, device, memory_format), requires_grad)


def full_like(
    input: Tensor,
    fill_value: Any,
    *,
    dtype: Any = None,
    device: Any = None,
    requires_grad: builtins.bool = False,
    memory_format: Any = formats.preserve_format,
) -> Tensor:
    """One value everywhere, in the shape, dtype and memory format of input."""
    value = fill_value.item() if isinstance(fill_value, Tensor) else fill_value
    return _made(kernels.fill(_like("full_like", input, dtype, device, memory_format), value), requires_grad)


# In sequence.


def arange(*args: Any, dtype: Any = None, device: Any = None, requires_grad: builtins.bool = False) -> Tensor:
    """``arange(end)``, ``arange(start, end)``, ``arange(start, end, step)``: integers give int64, else floats."""
    check_device("arange", device)
    given = [a.item() if isinstance(a, (Tensor, np.generic)) else a for a in args]
    if not 1 <= len(given) <= 3:
        raise TypeError(f"arange: got {len(given)} positions, want end, start and end, or start, end and step")
    start, end, step = ([0, *given] if len(given) == 1 else given) + ([1] if len(given) < 3 else [])
    if step == 0:
        raise RuntimeError("arange: step must be nonzero")
    if (end - start) / step < 0:
        raise RuntimeError("upper bound and lower bound inconsistent with step sign")
    if dtype is None:
        dtype = int64 if all(isinstance(v, int) for v in (start, end, step)) else get_default_dtype()
    wanted = as_dtype(dtype)
    if wanted.kind == "f":  # start + i step, computed in double as PyTorch does
        count = int(np.ceil((end - start) / step))
        return _made((start + np.arange(count) * np.float64(step)).astype(wanted), requires_grad)
    return _made(np.arange(start, end, step).astype(wanted), requires_grad)


def linspace(
    start: Any,
    end: Any,
    steps: int,
    *,
    dtype: Any = None,
    device: Any = None,
    requires_grad: builtins.bool = False,
) -> Tensor:
    """``steps`` values at equal distances, both ends included."""
    check_device("linspace", device)
    steps = _whole("linspace", "steps", steps)
    if steps < 0:
        raise RuntimeError("number of steps must be non-negative")
    ends = [v.item() if isinstance(v, Tensor) else v for v in (start, end)]
    return _made(np.linspace(ends[0], ends[1], steps).astype(_dtype(dtype)), requires_grad)


def eye(
    n: int, m: int | None = None, *, dtype: Any = None, device: Any = None, requires_grad: builtins.bool = False
) -> Tensor:
    """Ones on the diagonal of an (n, m) matrix, zeros elsewhere."""
    check_device("eye", device)
    return _made(np.eye(*_shape("eye", (n, n if m is None else m)), dtype=_dtype(dtype)), requires_grad)


# At random.


def _floating(op: str, dtype: Any) -> np.dtype[Any]:
    wanted = _dtype(dtype)
    if wanted not in (float32, float64):
        raise RuntimeError(f"{op}: argument 'dtype' is {wanted}, want float32 or float64")
    return wanted


def rand(
    *size: Any,
    generator: Generator | None = None,
    dtype: Any = None,
    device: Any = None,
    requires_grad: builtins.bool = False,
) -> Tensor:
    """Uniform in [0, 1)."""
    check_device("rand", device)
    array = random.uniform_array(_shape("rand", size), _floating("rand", dtype), generator=generator)
    return _made(array, requires_grad)


def randn(
    *size: Any,
    generator: Generator | None = None,
    dtype: Any = None,
    device: Any = None,
    requires_grad: builtins.bool = False,
) -> Tensor:
    """Standard normal."""
    check_device("randn", device)
    array = random.normal_array(_shape("randn", size), _floating("randn", dtype), generator=generator)
    return _made(array, requires_grad)


def normal(
    mean: Any = 0.0,
    std: Any = 1.0,
    size: Sequence[int] | None = None,
    *,
    generator: Generator | None = None,
    dtype: Any = None,
    device: Any = None,
    requires_grad: builtins.bool = False,
) -> Tensor:
    """Normal with this mean and standard deviation: numbers with a ``size``, or tensors that broadcast."""
    check_device("normal", device)
    if isinstance(mean, Tensor) or isinstance(std, Tensor):
        m, s = (np.asarray(v._array if isinstance(v, Tensor) else v) for v in (mean, std))
        wanted = _floating("normal", next(v.dtype for v in (mean, std) if isinstance(v, Tensor)))
        z = random.normal_array(common_shape("normal", m.shape, s.shape), wanted, generator=generator)
        return wrap((m + s * z).astype(wanted))
    if size is None:
        raise TypeError("normal: argument 'size' is missing, want a shape")
    shape = _shape("normal", (size,))
    return _made(random.normal_array(shape, _floating("normal", dtype), mean, std, generator), requires_grad)


def randint(*args: Any, generator: Generator | None = None, dtype: Any = None, device: Any = None) -> Tensor:
    """``randint(high, size)`` or ``randint(low, high, size)``: each integer in [low, high) equally likely."""
    check_device("randint", device)
    if len(args) == 2:
        args = (0, *args)
    if len(args) != 3:
        raise TypeError(f"randint: got {len(args)} arguments, want (high, size) or (low, high, size)")
    low, high, size = args
    if not low < high:
        raise RuntimeError(f"random_ expects 'from' to be less than 'to', but got from={low} >= to={high}")
    array = random.randint_array(int(low), int(high), _shape("randint", (size,)), generator)
    return wrap(array.astype(int64 if dtype is None else as_dtype(dtype), copy=False))


def randperm(n: int, *, generator: Generator | None = None, dtype: Any = None, device: Any = None) -> Tensor:
    """A random order of 0 to n - 1."""
    check_device("randperm", device)
    array = random.randperm_array(_whole("randperm", "n", n), generator)
    return wrap(array.astype(int64 if dtype is None else as_dtype(dtype), copy=False))


def _drawn_like(
    op: str,
    input: Tensor,
    draw: Callable[..., Tensor],
    dtype: Any,
    device: Any,
    memory_format: Any,
    requires_grad: builtins.bool = False,
) -> Tensor:
    """``draw(shape, dtype=dtype)``, by default in the dtype and format of input: the numbers follow each other in
    memory."""
    check_device(op, device)
    array = _tensor(op, input)._array
    wanted = formats.checked(op, memory_format, array.ndim)
    order = formats.order_of(array if wanted is formats.preserve_format else formats.empty(array.shape, "?", wanted))
    dtype = array.dtype if dtype is None else dtype
    return _made(formats.in_order(order, array.shape, lambda shape: draw(shape, dtype=dtype)._array), requires_grad)


def rand_like(
    input: Tensor,
    *,
    dtype: Any = None,
    device: Any = None,
    requires_grad: builtins.bool = False,
    memory_format: Any = formats.preserve_format,
) -> Tensor:
    """Uniform in [0, 1), in the shape, dtype and memory format of input."""
    return _drawn_like("rand_like", input, rand, dtype, device, memory_format, requires_grad)


def randn_like(
    input: Tensor,
    *,
    dtype: Any = None,
    device: Any = None,
    requires_grad: builtins.bool = False,
    memory_format: Any = formats.preserve_format,
) -> Tensor:
    """Standard normal, in the shape, dtype and memory format of input."""
    return _drawn_like("randn_like", input, randn, dtype, device, memory_format, requires_grad)


def randint_like(
    input: Tensor, *args: Any, dtype: Any = None, device: Any = None, memory_format: Any = formats.preserve_format
) -> Tensor:
    """``randint_like(input, high)`` or ``(input, low, high)``, in the shape, dtype and memory format of input."""
    return _drawn_like("randint_like", input, functools.partial(randint, *args), dtype, device, memory_format)
