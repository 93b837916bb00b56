"""Reading and writing by index against torch: values, shapes, what shares memory, gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.autograd import gradcheck, gradgradcheck

torch = pytest.importorskip("torch")

# Each entry makes the index for either library from a function that makes its integer or bool tensors.
Make = Callable[[Any], Any]
INDICES: dict[str, Callable[[Make], Any]] = {
    "int": lambda t: 1,
    "negative": lambda t: -1,
    "slice": lambda t: slice(1, 3),
    "step": lambda t: slice(0, 4, 2),
    "empty slice": lambda t: slice(2, 1),
    "beyond": lambda t: slice(1, 100),
    "negative slice": lambda t: slice(-3, -1),
    "ellipsis": lambda t: Ellipsis,
    "none": lambda t: None,
    "empty tuple": lambda t: (),
    "int, slice": lambda t: (2, slice(1, 3)),
    "slice, int": lambda t: (slice(None), 1),
    "ellipsis, int": lambda t: (Ellipsis, 0),
    "int, ellipsis, none": lambda t: (0, Ellipsis, None),
    "none, slice, none, int": lambda t: (None, slice(1, None), None, 1),
    "all ints": lambda t: (1, 2, 3),
    "index": lambda t: t([2, 0, 1]),
    "duplicates": lambda t: t([1, 1, 0, 1]),
    "negative index": lambda t: t([-1, 0, -4]),
    "list": lambda t: [0, 2],
    "empty list": lambda t: [],
    "2-d index": lambda t: t([[0, 1], [2, 3]]),
    "0-d index": lambda t: t(2),
    "slice, index": lambda t: (slice(None), t([2, 0, 0])),
    "index, slice, index": lambda t: (t([0, 1]), slice(None), t([1, 0])),
    "two adjacent": lambda t: (slice(None), t([0, 1]), t([1, 0])),
    "broadcast pair": lambda t: (t([[0], [1]]), t([0, 2])),
    "int, slice, index": lambda t: (0, slice(None), t([1, 3])),
    "index, slice, int": lambda t: (t([1, 3]), slice(None), 0),
    "int, index": lambda t: (2, t([1, 0])),
    "none, index": lambda t: (None, t([1, 0])),
    "index, none": lambda t: (t([1, 0]), None),
    "ellipsis, index": lambda t: (Ellipsis, t([1, 0])),
    "index, ellipsis, index": lambda t: (t([1, 0]), Ellipsis, t([1, 0])),
    "row mask": lambda t: t([True, False, True, True]),
    "list mask": lambda t: [True, False, True, True],
    "no row": lambda t: t([False] * 4),
    "2-d mask": lambda t: t((np.arange(12).reshape(4, 3) % 5 < 2).tolist()),
    "slice, mask": lambda t: (slice(None), t([True, False, True])),
    "mask, index": lambda t: (t([True, False, True, False]), t([0, 2])),
    "mask, int": lambda t: (t([True, False, True, True]), 1),
    "True": lambda t: True,
    "False": lambda t: False,
    "range": lambda t: [*range(0, 4, 2)],
}
each_index = pytest.mark.parametrize("make", INDICES.values(), ids=INDICES)


def base() -> np.ndarray:
    return np.arange(60, dtype=np.float64).reshape(4, 3, 5)


def both(requires_grad: bool = False) -> tuple[cr.Tensor, Any]:
    return cr.tensor(base(), requires_grad=requires_grad), torch.tensor(base(), requires_grad=requires_grad)


@each_index
def test_reading(make: Callable[[Make], Any]) -> None:
    ours, theirs = both(True)
    y, z = ours[make(cr.tensor)], theirs[make(torch.tensor)]
    assert y.shape == tuple(z.shape)
    np.testing.assert_array_equal(y.detach().numpy(), z.detach().numpy())
    shares = y.detach().numel() > 0 and np.shares_memory(y.detach().numpy(), ours.detach().numpy())
    assert shares == (z.numel() > 0 and z.untyped_storage().data_ptr() == theirs.untyped_storage().data_ptr())
    weights = np.random.default_rng(0).standard_normal(y.shape)
    y.backward(cr.tensor(weights))
    z.backward(torch.tensor(weights))
    assert ours.grad is not None
    np.testing.assert_allclose(ours.grad.numpy(), theirs.grad.numpy())


@each_index
def test_writing_a_number(make: Callable[[Make], Any]) -> None:
    ours, theirs = both()
    ours[make(cr.tensor)] = -1
    theirs[make(torch.tensor)] = -1
    np.testing.assert_array_equal(ours.numpy(), theirs.numpy())


@each_index
def test_writing_a_tensor_is_differentiable(make: Callable[[Make], Any]) -> None:
    if make is INDICES["duplicates"]:
        pytest.skip("torch leaves open which of the values stays")
    results = []
    for lib, make_index in ((cr, cr.tensor), (torch, torch.tensor)):
        index = make(make_index)
        x = lib.tensor(base(), requires_grad=True)
        shape = tuple(x.detach()[index].shape)
        values = np.random.default_rng(1).standard_normal(shape)
        v = lib.tensor(values, requires_grad=True)
        y = x.clone()
        y[index] = v
        y.backward(lib.tensor(base() + 1))
        if v.numel():  # torch leaves the gradient of nothing away
            results.append((y.detach().numpy(), x.grad.numpy(), v.grad.numpy()))
        else:
            results.append((y.detach().numpy(), x.grad.numpy()))
    for ours, theirs in zip(*results, strict=True):
        np.testing.assert_allclose(ours, theirs)


@pytest.mark.parametrize("shape", [(), (1,), (5,), (3, 1), (1, 3, 5), (1, 1, 1, 5)], ids=str)
def test_written_values_broadcast(shape: tuple[int, ...]) -> None:
    results = []
    for lib in (cr, torch):
        x = lib.tensor(base(), requires_grad=True)
        v = lib.tensor(np.random.default_rng(1).standard_normal(shape), requires_grad=True)
        y = x.clone()
        y[1] = v
        y[lib.tensor([2, 3])] = v
        y.backward(lib.tensor(base() + 1))
        results.append((y.detach().numpy(), x.grad.numpy(), v.grad.numpy()))
    for ours, theirs in zip(*results, strict=True):
        np.testing.assert_allclose(ours, theirs)


def test_writing_into_a_buffer_that_had_no_gradient() -> None:
    results = []
    for lib in (cr, torch):
        w = lib.tensor([2.0, 3.0], requires_grad=True)
        out = lib.zeros(3, 2)
        for i in range(3):
            out[i] = w
        out[:, 0] = w[1]
        out.backward(lib.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]))
        results.append((out.detach().numpy(), w.grad.numpy()))
    for ours, theirs in zip(*results, strict=True):
        np.testing.assert_allclose(ours, theirs)


def test_writing_casts_to_the_dtype_of_the_tensor() -> None:
    for lib in (cr, torch):
        x = lib.zeros(3, dtype=lib.int64)
        x[1] = 2.7
        x[2] = lib.tensor(3.9)
        assert x.tolist() == [0, 2, 3]


BAD = {
    "too many": (lambda: (0, 0, 0, 0), IndexError),
    "out of range": (lambda: 4, IndexError),
    "index out of range": (lambda: [0, 4], IndexError),
    "negative step": (lambda: slice(None, None, -1), ValueError),
    "float": (lambda: 1.5, IndexError),
    "wrong mask": (lambda: [True, False], IndexError),
    "two ellipses": (lambda: (Ellipsis, Ellipsis), IndexError),
    "string": (lambda: "a", (IndexError, TypeError)),
}


@pytest.mark.parametrize(("make", "error"), BAD.values(), ids=BAD)
def test_bad_indices(make: Callable[[], Any], error: Any) -> None:
    x = cr.tensor(base())
    with pytest.raises(error):
        x[make()]
    before = x.clone()
    with pytest.raises(error):
        x[make()] = 0
    np.testing.assert_array_equal(x.numpy(), before.numpy())


def test_values_that_do_not_fit_are_refused() -> None:
    x = cr.tensor(base())
    with pytest.raises(RuntimeError, match=r"\[2\] cannot be broadcast .* \[3, 5\]"):
        x[0] = cr.ones(2)
    with pytest.raises(TypeError):
        len(cr.tensor(1.0))
    with pytest.raises(TypeError, match="0-d"):
        iter(cr.tensor(1.0))


def test_a_float_tensor_is_no_index() -> None:
    with pytest.raises(IndexError, match="integer or bool"):
        cr.tensor(base())[cr.tensor([0.0, 1.0])]


def test_a_later_change_of_the_index_does_not_reach_backward() -> None:
    x = cr.tensor([1.0, 2.0, 3.0], requires_grad=True)
    index = cr.tensor([0, 0])
    y = x[index]
    index[0] = 2
    y.backward(cr.tensor([1.0, 1.0]))
    assert x.grad is not None
    assert x.grad.tolist() == [2.0, 0.0, 0.0]


NAMED: dict[str, Callable[[Any, Any], Any]] = {
    "index_select": lambda lib, x: x.index_select(1, lib.tensor([2, 0, 0])),
    "gather": lambda lib, x: x.gather(0, lib.tensor([[[0, 1, 2, 3, 0], [1, 1, 1, 1, 1]]])),
    "gather last": lambda lib, x: x.gather(-1, lib.tensor(np.zeros((4, 3, 2), np.int64))),
    "take_along_dim": lambda lib, x: x.take_along_dim(lib.tensor([[[1], [0], [4]]]), 2),
    "scatter": lambda lib, x: x.scatter(0, lib.tensor([[[0, 1, 2, 3, 0]]]), x[1:2, :1]),
    "scatter number": lambda lib, x: x.scatter(1, lib.tensor([[[2, 1, 2, 2, 0]]]), 3.0),
    "scatter_add": lambda lib, x: x.scatter_add(1, lib.tensor([[[2, 2, 2, 2, 0], [2, 1, 2, 2, 0]]]), x[1:2, 1:]),
    "index_add": lambda lib, x: x.index_add(1, lib.tensor([2, 2]), x[:, :2]),
    "masked_fill": lambda lib, x: x.masked_fill(lib.tensor([True, False, True, False, False]), 7.0),
    "masked_select": lambda lib, x: x.masked_select(lib.tensor([[True], [False], [True]])),
    "tril": lambda lib, x: x.tril(),
    "triu": lambda lib, x: x.triu(1),
    "flip": lambda lib, x: x.flip(0, 2),
    "roll": lambda lib, x: x.roll((1, -2), (0, 2)),
    "roll flat": lambda lib, x: x.roll(7),
    "sort": lambda lib, x: x[:, lib.tensor([1, 0, 2])].sort(1, descending=True)[0],
    "topk": lambda lib, x: x[lib.tensor([1, 3, 0, 2])].topk(2, 0)[0],
    "where": lambda lib, x: lib.where(lib.tensor(base() > 20), x, x.flip(0)),
    "where number": lambda lib, x: lib.where(lib.tensor(base() > 20), x, 0.5),
    "repeat_interleave": lambda lib, x: x.repeat_interleave(2, 1),
}


@pytest.mark.parametrize("f", NAMED.values(), ids=NAMED)
def test_named(f: Callable[[Any, Any], Any]) -> None:
    ours, theirs = both(True)
    y, z = f(cr, ours), f(torch, theirs)
    np.testing.assert_array_equal(y.detach().numpy(), z.detach().numpy())
    weights = np.random.default_rng(0).standard_normal(y.shape)
    y.backward(cr.tensor(weights))
    z.backward(torch.tensor(weights))
    assert ours.grad is not None
    np.testing.assert_allclose(ours.grad.numpy(), theirs.grad.numpy(), atol=1e-12)


SMALL: dict[str, Callable[[Any], Any]] = {
    "index": lambda x: x[cr.tensor([1, 1, 0])],
    "slice": lambda x: x[1:, None, 0],
    "gather": lambda x: x.gather(1, cr.tensor([[0, 0], [1, 0]])),
    "scatter_add": lambda x: x.scatter_add(1, cr.tensor([[0, 0], [1, 0]]), x),
    "masked_fill": lambda x: x.masked_fill(cr.tensor([[True, False], [False, False]]), 2.0),
    "tril": lambda x: x.tril(),
    "cat": lambda x: cr.cat([x, x[:, :1], x.T], 1),
    "stack": lambda x: cr.stack([x, x.T], 1),
    "repeat": lambda x: x.repeat(2, 1, 2),
    "where": lambda x: cr.where(cr.tensor([True, False]), x, x.T),
}


@pytest.mark.parametrize("f", SMALL.values(), ids=SMALL)
def test_gradients_of_gradients(f: Callable[[Any], Any]) -> None:
    x = cr.tensor(np.random.default_rng(0).standard_normal((2, 2)), requires_grad=True)
    assert gradcheck(f, x)
    assert gradgradcheck(f, x)


def test_orders_and_places() -> None:
    values = np.array([[3.0, np.nan, 1.0, 3.0], [0.0, 0.0, -1.0, np.inf]])
    x, y = cr.tensor(values), torch.tensor(values)
    for descending in (False, True):
        ours, theirs = x.sort(1, descending), y.sort(dim=1, descending=descending, stable=True)
        np.testing.assert_array_equal(ours[0].numpy(), theirs[0].numpy())
        np.testing.assert_array_equal(ours[1].numpy(), theirs[1].numpy())
    np.testing.assert_array_equal(cr.nonzero(x).numpy(), torch.nonzero(y).numpy())
    np.testing.assert_array_equal(cr.where(cr.tensor(values == 3))[1].numpy(), torch.where(y == 3)[1].numpy())
    assert x.topk(2, 1)[1].shape == (2, 2)
