"""Tensors and the world: NumPy, DLPack, pickle, copies, Python's protocols."""

from __future__ import annotations

import copy
import math
import pickle
from typing import Any

import numpy as np
import pytest

import chainrule as cr


def test_numpy_shares_memory() -> None:
    x = cr.ones(3)
    x.numpy()[1] = 5
    assert x.tolist() == [1, 5, 1]
    array = np.zeros(2)
    y = cr.from_numpy(array)
    y[0] = 1
    assert array[0] == 1
    with pytest.raises(RuntimeError, match=r"detach\(\)"):
        cr.ones(1, requires_grad=True).numpy()
    assert cr.ones(1, requires_grad=True).detach().numpy() == 1


def test_array_protocol() -> None:
    x = cr.tensor([[1.0, 2.0]])
    assert np.shares_memory(np.asarray(x), x.numpy())
    assert not np.shares_memory(np.array(x), x.numpy())
    assert np.asarray(x, np.float64).dtype == np.float64
    assert x.__array__(copy=True) is not x.numpy()
    with pytest.raises(ValueError, match="without a copy"):
        x.__array__(np.float64, copy=False)
    np.testing.assert_array_equal(np.concatenate([x, x]), [[1, 2], [1, 2]])
    np.testing.assert_allclose(np.exp(x), np.exp([[1, 2]]), rtol=1e-6)
    with pytest.raises(RuntimeError, match="requires grad"):
        np.asarray(cr.ones(1, requires_grad=True))


DTYPES = [np.float32, np.float64, np.float16, np.int64, np.int32, np.uint8]


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda d: d.__name__)
def test_dlpack_with_torch_shares_memory_both_ways(dtype: Any) -> None:
    torch = pytest.importorskip("torch")
    x = cr.tensor(np.arange(6).reshape(2, 3), dtype=dtype)
    there = torch.from_dlpack(x)
    there[0, 0] = 9
    assert x[0, 0].item() == 9
    back = cr.from_dlpack(there)
    back[1, 1] = 7
    assert there[1, 1].item() == 7
    assert back.dtype == dtype
    transposed = cr.from_dlpack(there.T)
    assert transposed.stride() == (1, 3)
    assert x.__dlpack_device__() == (1, 0)
    with pytest.raises(BufferError, match="require gradient"):
        torch.from_dlpack(cr.ones(1, requires_grad=True))


def test_dlpack_with_numpy() -> None:
    x = cr.arange(4.0)
    assert np.shares_memory(np.from_dlpack(x), x.numpy())
    y = cr.from_dlpack(x)
    assert y is not x
    assert np.shares_memory(y.numpy(), x.numpy())
    assert np.shares_memory(cr.from_dlpack(x.numpy()).numpy(), x.numpy())


@pytest.mark.parametrize(
    "array", [np.arange(4.0)[::-1], np.ones(()), np.zeros((2, 0))], ids=["reversed", "0-d", "empty"]
)
def test_dlpack_of_odd_arrays(array: np.ndarray) -> None:
    np.testing.assert_array_equal(np.from_dlpack(cr.from_numpy(array)), array)


def test_pickle_and_deepcopy() -> None:
    x = cr.tensor([1.0, 2.0], requires_grad=True)
    for again in (pickle.loads(pickle.dumps(x)), copy.deepcopy(x)):
        assert again.equal(x)
        assert again.requires_grad
        assert not np.shares_memory(again.detach().numpy(), x.detach().numpy())
    x.grad = cr.ones(2)
    assert copy.deepcopy(x).grad is not x.grad
    pair = [x, x]
    again = copy.deepcopy(pair)
    assert again[0] is again[1]
    assert copy.copy(x) is not x
    with pytest.raises(RuntimeError, match="graph leaves"):
        copy.deepcopy(x[0])


def test_python_protocols() -> None:
    x = cr.tensor([[1.0, 2.0], [3.0, 4.0]])
    assert len(x) == 2
    assert [row.tolist() for row in x] == [[1, 2], [3, 4]]
    a, b = x
    assert b.tolist() == [3, 4]
    assert a.tolist() == [1, 2]
    assert 3.0 in x
    assert 5 not in x
    one = cr.tensor(2.5)
    assert float(one) == 2.5
    assert int(one) == 2
    assert math.sqrt(cr.tensor(4.0)) == 2
    assert f"{one:.3f}" == "2.500"
    assert f"{x}" == repr(x)
    assert bool(cr.tensor(1.0))
    assert not cr.tensor([0])
    assert list(range(cr.tensor(2))) == [0, 1]
    assert [5, 6, 7][cr.tensor(1)] == 6
    assert isinstance(one.item(), float)
    assert isinstance(cr.tensor(1).item(), int)
    assert isinstance(cr.tensor(True).item(), bool)
    assert hash(x) == hash(x)
    assert len({x, one, x}) == 2
    for call in (lambda: bool(x), lambda: bool(cr.zeros(0)), lambda: x.item(), lambda: float(x)):
        with pytest.raises(RuntimeError):
            call()
    with pytest.raises(TypeError, match="index"):
        [1][one]  # type: ignore[call-overload]


def test_what_a_tensor_says_of_itself() -> None:
    x = cr.zeros(2, 3, 4, dtype=cr.float64)
    assert x.shape == x.size() == (2, 3, 4)
    assert x.size(-1) == 4
    assert x.dim() == x.ndim == 3
    assert x.numel() == x.nelement() == 24
    assert x.element_size() == x.itemsize == 8
    assert x.nbytes == 192
    assert x.stride() == (12, 4, 1)
    assert x.mT.stride(0) == 12
    assert x.is_contiguous()
    assert not x.mT.is_contiguous()
    assert x.data_ptr() == x.numpy().ctypes.data
    assert x.is_floating_point()
    assert cr.is_tensor(x)
    assert x.type() == "chainrule.float64"


def test_read_only_memory_is_never_written() -> None:
    array = np.ones(3)
    array.flags.writeable = False
    x = cr.from_numpy(array)
    with pytest.raises(RuntimeError, match="read-only"):
        x[0] = 2
    with pytest.raises(RuntimeError, match="read-only"):
        x.zero_()
    assert x.tolist() == [1, 1, 1]
