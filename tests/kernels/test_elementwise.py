"""Element-wise kernels and activations: bad input, and memory in every layout. Values are in test_twins.py."""

from __future__ import annotations

import ctypes
import mmap
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from chainrule import kernels

Array = np.ndarray[Any, Any]
BINARY = ["add", "div", "maximum", "minimum", "mul", "pow", "sub"]
UNARY = [
    "ceil",
    "cos",
    "floor",
    "round",
    "sign",
    "sin",
    "trunc",
    "abs",
    "erf",
    "erfc",
    "exp",
    "expm1",
    "gelu",
    "gelu_tanh",
    "log",
    "log1p",
    "neg",
    "reciprocal",
    "relu",
    "rsqrt",
    "sigmoid",
    "silu",
    "sqrt",
    "square",
    "tanh",
]
BACKWARD = {f"{name}_backward": "x" for name in ("gelu", "gelu_tanh", "silu")}
BACKWARD |= {f"{name}_backward": "y" for name in ("relu", "sigmoid", "tanh")}

# Every kernel of kernels.def's elementwise.cpp, unary.cpp, activation.cpp: its array arguments and what follows them.
SIGNATURES: dict[str, tuple[tuple[str, ...], tuple[Any, ...]]] = {
    **dict.fromkeys(BINARY, (("a", "b"), ())),
    **dict.fromkeys(UNARY, (("x",), ())),
    **{name: (("dy", saved), ()) for name, saved in BACKWARD.items()},
    "where": (("condition", "a", "b"), ()),
    "clamp": (("x",), (-0.5, 0.5)),
    "clamp_backward": (("dy", "x"), (-0.5, 0.5)),
    "leaky_relu": (("x",), (0.1,)),
    "leaky_relu_backward": (("dy", "x"), (0.1,)),
}
each_kernel = pytest.mark.parametrize("name", SIGNATURES)


def arrays(name: str, shape: tuple[int, ...] = (3, 5), dtype: Any = np.float32) -> list[Array]:
    """One array of this shape per argument; positive, so that every kernel has a value."""
    rng = np.random.default_rng(0)
    made = [np.asarray(rng.random(shape) + 0.1, dtype) for _ in SIGNATURES[name][0]]
    if name == "where":
        made[0] = np.asarray(rng.random(shape) < 0.5)
    return made


def call(name: str, args: list[Any]) -> Array:
    result: Array = getattr(kernels, name)(*args, *SIGNATURES[name][1])
    return result


def test_the_table_is_whole() -> None:
    assert set(SIGNATURES) == set(kernels.elementwise.__all__)


Bad = tuple[str, Callable[[Array], Any], type[Exception], str]
BAD: list[Bad] = [
    ("list", lambda x: x.tolist(), TypeError, "is a list, want"),
    ("none", lambda x: None, TypeError, "is a NoneType, want"),
    ("string", lambda x: "1", TypeError, "is a str, want"),
    ("int64", lambda x: np.ones(x.shape, np.int64), TypeError, "is a int64 array of shape (3, 5), want dtype"),
    ("float16", lambda x: x.astype(np.float16), TypeError, "is a float16 array of shape (3, 5), want dtype"),
    ("longdouble", lambda x: x.astype(np.longdouble), TypeError, "want dtype"),
    ("complex", lambda x: x.astype(np.complex64), TypeError, "is a complex64 array of shape (3, 5), want dtype"),
    ("object", lambda x: x.astype(object), TypeError, "is a object array of shape (3, 5), want dtype"),
]


@each_kernel
@pytest.mark.parametrize(("make", "error", "match"), [b[1:] for b in BAD], ids=[b[0] for b in BAD])
def test_wrong_types(name: str, make: Any, error: type[Exception], match: str) -> None:
    for i, argument in enumerate(SIGNATURES[name][0]):
        args: list[Any] = arrays(name)
        args[i] = make(args[i])
        before = [np.copy(a) for a in args]
        with pytest.raises(error, match=f"^{name}: argument '{argument}' " + ".*" + re.escape(match)):
            call(name, args)
        for a, b in zip(args, before, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", [n for n in SIGNATURES if len(SIGNATURES[n][0]) > 1])
def test_two_dtypes(name: str) -> None:
    args, last = arrays(name), SIGNATURES[name][0][-1]
    args[-1] = args[-1].astype(np.float64)
    with pytest.raises(
        TypeError, match=rf"^{name}: argument '{last}' is a float64 array of shape .*, want dtype float32"
    ):
        call(name, args)


@pytest.mark.parametrize("name", [n for n, (names, _) in SIGNATURES.items() if names[0] == "dy"])
@pytest.mark.parametrize("shape", [(5,), (1, 5), (3, 1), (5, 3), (15,), (3, 5, 1), (3, 0), ()])
def test_a_gradient_and_what_was_saved_have_one_shape(name: str, shape: tuple[int, ...]) -> None:
    dy = arrays(name)[0]
    wanted = re.escape("want shape (3, 5)")
    with pytest.raises(ValueError, match=rf"^{name}: argument '{SIGNATURES[name][0][1]}' is .*, {wanted}"):
        call(name, [dy, np.ones(shape, np.float32)])


@pytest.mark.parametrize("name", [*BINARY, "where"])
def test_shapes_that_do_not_broadcast(name: str) -> None:
    for i in range(len(SIGNATURES[name][0])):
        for shape in ((4,), (2, 5), (3, 5, 5), (0,)):
            args = arrays(name)
            args[i] = np.ones(shape, args[i].dtype)
            with pytest.raises(
                ValueError, match=rf"^{name}: the shapes .*{re.escape(str(shape))} of .* don't broadcast"
            ):
                call(name, args)


@pytest.mark.parametrize("dtype", [np.float32, np.int8, np.int64, np.uint8])
def test_a_condition_is_of_bools(dtype: Any) -> None:
    with pytest.raises(TypeError, match=r"^where: argument 'condition' is .* want dtype bool"):
        kernels.where(np.ones(3, dtype), np.ones(3), np.ones(3))


@pytest.mark.parametrize("name", BINARY)
def test_numbers(name: str) -> None:
    x = arrays(name)[0]
    np.testing.assert_array_equal(call(name, [x, 2]), call(name, [x, np.float32(2)]))
    with pytest.raises(TypeError, match=f"^{name}: argument 'a' is a int, want a NumPy array"):
        call(name, [1, 2.0])
    with pytest.raises(ValueError, match=f"^{name}: argument 'b' is 1000.*, want a number that a float can hold"):
        call(name, [x, 10**400])


def alternating(shape: tuple[int, ...]) -> tuple[Array, Array]:
    """Two arrays whose broadcast dimensions can't be merged."""
    odd = tuple(n if i % 2 else 1 for i, n in enumerate(shape))
    even = tuple(1 if i % 2 else n for i, n in enumerate(shape))
    return np.ones(odd, np.float32), np.ones(even, np.float32)


@pytest.mark.parametrize("name", BINARY)
def test_dimensions_that_can_not_be_merged(name: str) -> None:
    assert call(name, list(alternating((2,) * 16))).shape == (2,) * 16
    with pytest.raises(ValueError, match=rf"^{name}: operands of shape .* need more than 16 dimensions"):
        call(name, list(alternating((2,) * 17)))


@each_kernel
def test_more_elements_than_memory_can_hold(name: str) -> None:
    """Views that repeat one element: neither is large, their broadcast or copy would be."""
    if name in BINARY or name == "where":
        args = arrays(name, ())
        args[-2] = np.broadcast_to(args[-2], (2**40, 1))
        args[-1] = np.broadcast_to(args[-1], (1, 2**40))
        with pytest.raises(ValueError, match=f"^{name}: .* more elements than memory can hold"):
            call(name, args)
    args = [np.broadcast_to(a, (2**30, 2**24)) for a in arrays(name, ())]
    with pytest.raises((MemoryError, ValueError)):
        call(name, args)


def shifted(x: Array) -> Array:
    """A copy that is one byte off its alignment."""
    raw = np.zeros(x.nbytes + 1, np.uint8)
    view = raw[1:].view(x.dtype).reshape(x.shape)
    view[...] = x
    return view


def inside(x: Array) -> Array:
    """A view of every second element along each axis of something larger."""
    larger = np.zeros([2 * n for n in x.shape], x.dtype)
    view = larger[(..., *(slice(None, None, 2),) * x.ndim)]
    view[...] = x
    return view


def read_only(x: Array) -> Array:
    x = x.copy()
    x.flags.writeable = False
    return x


def field(x: Array) -> Array:
    """A field of records of 9 or 5 bytes: strides that aren't a multiple of the size."""
    records = np.zeros(x.shape, np.dtype([("pad", "u1"), ("x", x.dtype)]))
    records["x"] = x
    return np.asarray(records["x"])


LAYOUTS: dict[str, Callable[[Array], Array]] = {
    "reversed": lambda x: np.asarray(np.flip(np.flip(x).copy())),
    "transposed": lambda x: np.asarray(x.T.copy().T),
    "inside": inside,
    "read-only": read_only,
    "swapped": lambda x: np.asarray(x.astype(x.dtype.newbyteorder())),
    "misaligned": shifted,
    "field": field,
}


@each_kernel
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["f32", "f64"])
def test_every_layout_gives_the_bits_of_a_plain_copy(name: str, layout: str, dtype: Any) -> None:
    for shape in ((3, 37), (2, 3, 4), (5,), (0,), (4, 0), (1, 1), ()):
        args = arrays(name, shape, dtype)
        expected = call(name, args)
        assert expected.shape == shape
        assert expected.dtype == dtype
        assert expected.flags.c_contiguous
        for changed in range(1, 2 ** len(args)):
            views = [LAYOUTS[layout](a) if changed >> i & 1 else a for i, a in enumerate(args)]
            assert call(name, views).tobytes() == expected.tobytes()


@pytest.fixture(scope="module")
def guarded() -> Callable[[Array], Array]:
    """copy(x): x again, ending where a page begins that can't be read or written."""
    libc = ctypes.CDLL(None, use_errno=True)
    page = mmap.PAGESIZE
    pages: list[mmap.mmap] = []

    def copy(x: Array) -> Array:
        memory = mmap.mmap(-1, 2 * page)
        address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
        assert libc.mprotect(ctypes.c_void_p(address + page), ctypes.c_size_t(page), 0) == 0
        pages.append(memory)
        view = np.frombuffer(memory, x.dtype, x.size, page - x.nbytes).reshape(x.shape)
        view[...] = x
        return view

    return copy


@each_kernel
@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["f32", "f64"])
def test_nothing_is_read_past_the_end(name: str, dtype: Any, isa: str, guarded: Callable[[Array], Array]) -> None:
    """A read past it would kill the process."""
    whole = arrays(name, (40,), dtype)
    kept = [guarded(a) for a in whole]
    expected = call(name, whole)
    for n in range(1, 41):
        tails = [a[40 - n :] for a in kept]
        assert call(name, tails).tobytes() == expected[40 - n :].tobytes()
    if name in BINARY or name == "where":
        for n in range(1, 41):
            tails = [a[40 - n :] for a in kept]
            rows = np.stack([call(name, [*tails[:-1], b]) for b in whole[-1][:3]])
            assert call(name, [*tails[:-1], np.ascontiguousarray(whole[-1][:3, None])]).tobytes() == rows.tobytes()
