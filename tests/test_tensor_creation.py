"""Making tensors: dtypes, shapes, values, memory, and what is refused, against torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import chainrule as cr

torch = pytest.importorskip("torch")

DATA: dict[str, Any] = {
    "float": 1.5,
    "int": 3,
    "bool": True,
    "floats": [1.0, 2.0],
    "ints": [[1, 2], [3, 4]],
    "mixed": [1, 2.5],
    "bools": [True, False],
    "nothing": [],
    "no rows": [[], []],
    "np.float64": np.float64(2.0),
    "np.int32": np.int32(2),
    "float64 array": np.ones((2, 2)),
    "int32 array": np.ones(2, np.int32),
    "uint8 array": np.ones(2, np.uint8),
    "float16 array": np.ones(2, np.float16),
    "bool array": np.ones(2, np.bool_),
    "tuple": (1.0, (2.0,)[0]),
    "transposed": np.arange(6.0).reshape(2, 3).T,
}


@pytest.mark.parametrize("data", DATA.values(), ids=DATA)
def test_tensor_has_the_dtype_and_values_that_torch_gives(data: Any) -> None:
    ours, theirs = cr.tensor(data), torch.tensor(data)
    assert str(ours.dtype) == str(theirs.dtype).removeprefix("torch.")
    assert ours.shape == tuple(theirs.shape)
    np.testing.assert_array_equal(ours.numpy(), theirs.numpy())


CALLS: dict[str, Callable[[Any], Any]] = {
    "zeros": lambda lib: lib.zeros(2, 3),
    "zeros tuple": lambda lib: lib.zeros((2, 3)),
    "zeros list int": lambda lib: lib.zeros([2], dtype=lib.int32),
    "zeros 0-d": lambda lib: lib.zeros(()),
    "ones": lambda lib: lib.ones(3, 0),
    "ones bool": lambda lib: lib.ones(2, dtype=lib.bool),
    "full": lambda lib: lib.full((2, 2), 7.5),
    "full int": lambda lib: lib.full((2,), 7),
    "full bool": lambda lib: lib.full((2,), True),
    "full tensor": lambda lib: lib.full((2,), lib.tensor(3.0)),
    "zeros_like": lambda lib: lib.zeros_like(lib.ones(2, dtype=lib.float64)),
    "ones_like": lambda lib: lib.ones_like(lib.ones(2), dtype=lib.int64),
    "full_like": lambda lib: lib.full_like(lib.ones(2, 1), 2),
    "arange": lambda lib: lib.arange(5),
    "arange float": lambda lib: lib.arange(5.0),
    "arange 2": lambda lib: lib.arange(2, 9, 3),
    "arange down": lambda lib: lib.arange(5, 0, -2),
    "arange tenths": lambda lib: lib.arange(0, 1, 0.1),
    "arange empty": lambda lib: lib.arange(3, 3),
    "arange as": lambda lib: lib.arange(3, dtype=lib.float32),
    "linspace": lambda lib: lib.linspace(0, 1, 11),
    "linspace double": lambda lib: lib.linspace(-3, 2, 7, dtype=lib.float64),
    "linspace one": lambda lib: lib.linspace(3, 10, 1),
    "eye": lambda lib: lib.eye(3),
    "eye wide": lambda lib: lib.eye(2, 4, dtype=lib.int64),
    "new_zeros": lambda lib: lib.ones(1, dtype=lib.float64).new_zeros(2, 2),
    "new_tensor": lambda lib: lib.ones(1, dtype=lib.int32).new_tensor([1.0]),
    "new_full": lambda lib: lib.ones(1).new_full((2,), 3),
    "as_tensor": lambda lib: lib.as_tensor([1, 2], dtype=lib.float64),
    "to": lambda lib: lib.tensor([1.7, -1.7]).to(lib.int64),
    "to cpu dtype": lambda lib: lib.tensor([1.7]).to("cpu", lib.float64),
    "to device": lambda lib: lib.tensor([1.7]).to(lib.device("cpu")),
    "long": lambda lib: lib.tensor([1.7, -1.7]).long(),
    "bool": lambda lib: lib.tensor([0.0, 0.5, -1.0]).bool(),
    "double": lambda lib: lib.tensor([1, 2]).double(),
    "type_as": lambda lib: lib.tensor([1, 2]).type_as(lib.ones(1)),
    "full half": lambda lib: lib.full((2,), 1.5, dtype=lib.float16).float(),
}


@pytest.mark.parametrize("f", CALLS.values(), ids=CALLS)
def test_creation(f: Callable[[Any], Any]) -> None:
    ours, theirs = f(cr), f(torch)
    assert str(ours.dtype) == str(theirs.dtype).removeprefix("torch.")
    assert ours.shape == tuple(theirs.shape)
    np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=2e-7, atol=1e-7)


def test_dtypes_are_numpys() -> None:
    assert cr.float32 == np.float32 == cr.zeros(1).dtype
    for dtype in (np.float64, "float64", cr.float64, np.dtype("float64"), float):
        assert cr.zeros(1, dtype=dtype).dtype == np.float64
    assert cr.zeros(1, dtype="long").dtype == np.int64
    for bad in ("no", np.complex64, object, 3):
        with pytest.raises(TypeError, match="want"):
            cr.zeros(1, dtype=bad)


def test_the_default_dtype() -> None:
    assert cr.get_default_dtype() == np.float32
    cr.set_default_dtype(cr.float64)
    try:
        assert cr.tensor([1.0]).dtype == cr.zeros(1).dtype == cr.arange(2.0).dtype == np.float64
        assert cr.tensor([1]).dtype == np.int64
    finally:
        cr.set_default_dtype(np.float32)
    with pytest.raises(TypeError, match="float32 or float64"):
        cr.set_default_dtype(np.int64)


def test_who_shares_memory() -> None:
    array = np.ones(3)
    assert np.shares_memory(cr.from_numpy(array).numpy(), array)
    assert np.shares_memory(cr.as_tensor(array).numpy(), array)
    assert not np.shares_memory(cr.tensor(array).numpy(), array)
    x = cr.ones(3)
    assert cr.as_tensor(x) is x
    assert x.to(cr.float32) is x
    assert x.float() is x
    assert x.to(cr.float32, copy=True) is not x
    assert x.data is not x
    assert np.shares_memory(x.data.numpy(), x.numpy())


def test_the_only_device() -> None:
    x = cr.ones(1)
    assert str(x.device) == "cpu"
    assert x.device == cr.device("cpu") == cr.device("cpu:0")
    assert x.device.type == "cpu"
    assert x.cpu() is x
    assert x.to("cpu") is x
    for call in (lambda: cr.device("cuda"), lambda: x.to("cuda:0"), lambda: cr.zeros(1, device="mps")):
        with pytest.raises(RuntimeError, match="CPU alone"):
            call()


def test_bad_data() -> None:
    with pytest.raises(ValueError, match="ragged"):
        cr.tensor([[1.0], [1.0, 2.0]])
    with pytest.raises(TypeError, match="want numbers"):
        cr.tensor(["a"])
    with pytest.raises(TypeError):
        cr.from_numpy([1.0])  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="complex"):
        cr.from_numpy(np.ones(1, np.complex64))
    with pytest.raises(ValueError, match="byte order"):
        cr.from_numpy(np.ones(1, ">f4"))
    assert cr.tensor(np.arange(3, dtype=">f4")).tolist() == [0, 1, 2]
    with pytest.raises(RuntimeError, match="negative"):
        cr.zeros(-1)
    with pytest.raises(TypeError, match="integers"):
        cr.zeros(1.5)
    with pytest.raises(RuntimeError, match="nonzero"):
        cr.arange(0, 3, 0)
    with pytest.raises(RuntimeError, match="step sign"):
        cr.arange(0, 3, -1)
    with pytest.raises(RuntimeError, match="floating point"):
        cr.ones(1, dtype=cr.int64, requires_grad=True)


def test_random_tensors() -> None:
    cr.manual_seed(3)
    u, z, k = cr.rand(1000), cr.randn(1000, dtype=cr.float64), cr.randint(2, 5, (1000,))
    cr.manual_seed(3)
    assert u.equal(cr.rand(1000))
    assert z.equal(cr.randn(1000, dtype=cr.float64))
    assert k.equal(cr.randint(2, 5, (1000,)))
    assert u.numpy().min() >= 0
    assert u.numpy().max() < 1
    assert abs(z.numpy().mean()) < 0.15
    assert abs(z.numpy().std() - 1) < 0.1
    assert set(k.tolist()) == {2, 3, 4}
    assert sorted(cr.randperm(50).tolist()) == list(range(50))
    g = cr.Generator().manual_seed(1)
    h = cr.Generator().manual_seed(1)
    assert cr.rand(3, generator=g).equal(cr.rand(3, generator=h))
    assert cr.normal(5.0, 0.0, (2,)).tolist() == [5.0, 5.0]
    assert cr.randn_like(z).dtype == np.float64
    assert cr.rand(2, requires_grad=True).requires_grad
    assert cr.empty(2, 3).shape == cr.empty_like(cr.ones(2, 3)).shape == (2, 3)
    x = cr.zeros(1000)
    assert -2 <= x.uniform_(-2, -1).numpy().min() <= x.numpy().max() < -1
    assert abs(x.normal_(3, 0.5).numpy().mean() - 3) < 0.1
    assert 200 < x.bernoulli_(0.3).numpy().sum() < 400
    assert set(cr.zeros(100, dtype=cr.int64).random_(3).tolist()) == {0, 1, 2}
    assert set(cr.zeros(100).random_(**{"from": 5, "to": 7}).tolist()) == {5, 6}
    assert set(cr.zeros(100, dtype=cr.bool).random_().tolist()) == {False, True}
    for dtype, largest in ((cr.uint8, 255), (cr.int64, 2**63 - 1), (cr.float32, 2**24)):
        drawn = cr.zeros(10000, dtype=dtype).random_().numpy().astype(np.float64)
        assert 0 <= drawn.min() < 0.01 * largest < 0.99 * largest < drawn.max() <= largest
    with pytest.raises(RuntimeError, match="from=2 >= to=2"):
        x.random_(2, 2)
    with pytest.raises(RuntimeError, match="from"):
        cr.randint(3, 3, (1,))


BAD: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (lambda: cr.full("a", 1), TypeError, "full: argument 'shape' is"),  # type: ignore[arg-type]
    (lambda: cr.linspace(0, 1, 2.5), TypeError, "linspace: argument 'steps' is 2.5, want an integer"),  # type: ignore[arg-type]
    (lambda: cr.randperm("a"), TypeError, "randperm: argument 'n' is 'a', want an integer"),  # type: ignore[arg-type]
    (lambda: cr.manual_seed("a"), TypeError, "manual_seed: argument 'seed' is 'a', want an integer"),  # type: ignore[arg-type]
    (lambda: cr.normal(cr.zeros(2), cr.ones(3)), RuntimeError, r"normal: shapes \[2\] and \[3\] don't broadcast"),
    (lambda: cr.rand_like(np.zeros(2)), TypeError, "rand_like: argument 'input' is a ndarray, want a Tensor"),  # type: ignore[arg-type]
    (lambda: cr.randint_like(cr.zeros(2), 3, device="gpu"), RuntimeError, "device is 'gpu'"),
]


@pytest.mark.parametrize(("call", "error", "message"), BAD, ids=range(len(BAD)))
def test_errors_name_the_function_and_the_argument(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
