"""Function and the engine: what is recorded, what is saved, what backward leaves behind."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import numpy as np
import pytest

import chainrule
from chainrule import ops
from chainrule.autograd import Context, Function, grad, gradcheck, gradgradcheck
from chainrule.tensor import Tensor, wrap


def leaf(*shape: int, seed: int = 0) -> Tensor:
    x = wrap(np.asarray(np.random.default_rng(seed).standard_normal(shape)))
    x.requires_grad = True
    return x


def ones(*shape: int) -> Tensor:
    return wrap(np.ones(shape))


class Product(Function):
    @staticmethod
    def forward(ctx: Context, x: Tensor, y: Tensor) -> Tensor:
        ctx.save_for_backward(x, y)
        return wrap(np.asarray(x._array * y._array))

    @staticmethod
    def backward(ctx: Context, dz: Tensor) -> Any:
        x, y = ctx.saved_tensors
        return Product.apply(dz, y), Product.apply(dz, x)


def product(x: Tensor, y: Tensor) -> Tensor:
    return Product.apply(x, y)


def test_relu_value_and_gradients() -> None:
    x = leaf(3, 4)
    y = ops.relu(x)
    np.testing.assert_array_equal(y._array, np.maximum(x._array, 0))
    y.backward(ones(3, 4))
    assert x.grad is not None
    np.testing.assert_array_equal(x.grad._array, (x._array > 0).astype(float))
    assert gradcheck(ops.relu, x)
    assert gradgradcheck(ops.relu, x)


def test_product_twice_differentiable() -> None:
    assert gradcheck(product, (leaf(3), leaf(3, seed=1)))
    assert gradgradcheck(product, (leaf(3), leaf(3, seed=1)))
    x = leaf()
    cube = product(product(x, x), x)
    (first,) = grad(cube, x, create_graph=True)
    (second,) = grad(first, x, create_graph=True)
    (third,) = grad(second, x)
    v = x.item()
    np.testing.assert_allclose([first.item(), second.item(), third.item()], [3 * v * v, 6 * v, 6])


def test_gradcheck_reports_a_wrong_gradient() -> None:
    class Wrong(Product):
        @staticmethod
        def backward(ctx: Context, dz: Tensor) -> Any:
            _, y = ctx.saved_tensors
            return Product.apply(dz, y), Product.apply(dz, y)

    args = (leaf(2), leaf(2, seed=1))
    with pytest.raises(RuntimeError, match="output 0 with respect to input 1"):
        gradcheck(Wrong.apply, args)
    assert not gradcheck(Wrong.apply, args, raise_exception=False)


def test_nothing_is_recorded_without_need() -> None:
    x = leaf(2)
    assert ops.relu(wrap(x._array)).grad_fn is None
    with chainrule.no_grad():
        assert not ops.relu(x).requires_grad
    assert ops.relu(x).requires_grad


def test_a_graph_is_freed_by_reference_counts() -> None:
    gc.collect()
    gc.disable()
    try:
        x = leaf(2)
        y = ops.relu(ops.relu(x))  # each saves its output
        nodes = [weakref.ref(y.grad_fn), weakref.ref(y), weakref.ref(y._array)]
        del y
        assert all(r() is None for r in nodes)
        z = ops.relu(x)
        z.backward(ones(2), create_graph=True)
        reference = weakref.ref(z.grad_fn)
        x.grad = None
        del z
        assert reference() is None
    finally:
        gc.enable()


def test_the_second_backward_raises_as_in_pytorch() -> None:
    x = leaf(2)
    y = ops.relu(x)
    y.backward(ones(2), retain_graph=True)
    y.backward(ones(2))
    assert x.grad is not None
    np.testing.assert_array_equal(x.grad._array, 2.0 * (x._array > 0))
    with pytest.raises(RuntimeError, match="second time"):
        y.backward(ones(2))


def test_many_uses_are_added_and_nothing_is_aliased() -> None:
    x, y = leaf(3), leaf(3, seed=1)
    seed = ones(3)
    out = product(product(x, x), product(x, y))
    out.backward(seed)
    assert x.grad is not None
    assert y.grad is not None
    np.testing.assert_allclose(x.grad._array, 3 * x._array**2 * y._array)
    np.testing.assert_allclose(y.grad._array, x._array**3)
    np.testing.assert_array_equal(seed._array, np.ones(3))


@pytest.mark.parametrize("length", [100_000])
def test_a_long_chain_neither_overflows_the_stack_nor_leaks(length: int) -> None:
    gc.collect()
    x = leaf(1)
    y = x
    for _ in range(length):
        y = ops.relu(y)
    node = weakref.ref(y.grad_fn)
    y.backward(ones(1))
    assert x.grad is not None
    assert x.grad.item() in (0.0, 1.0)
    del y
    assert node() is None
    y = x
    for _ in range(length):
        y = ops.relu(y)
    node = weakref.ref(y.grad_fn)
    del y  # torn down without a backward
    assert node() is None


def test_a_long_chain_of_views_follows_an_in_place_change_of_its_base() -> None:
    x = leaf(4)
    base = x.clone()
    y = base
    for _ in range(100_000):
        y = y[:]
    node = weakref.ref(y.grad_fn)
    base[0] = 2.0
    assert y[0].item() == 2
    y.backward(ones(4))
    assert x.grad is not None
    assert x.grad.tolist() == [0, 1, 1, 1]
    del y, base
    assert node() is None
