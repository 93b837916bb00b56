"""Dropout as an operation: its two modes, both derivatives, its numbers."""

from __future__ import annotations

import numpy as np
import pytest

from chainrule import ops, random
from chainrule.autograd import grad, gradcheck
from chainrule.tensor import Tensor


def leaf(*shape: int) -> Tensor:
    return Tensor(np.random.default_rng(0).standard_normal(shape), requires_grad=True)


def seeded_dropout(x: Tensor) -> Tensor:
    random.manual_seed(3)  # gradcheck calls it many times: the same mask each time
    return ops.dropout(x, 0.4)


def test_gradient() -> None:
    assert gradcheck(seeded_dropout, (leaf(5, 7),))


def test_second_derivative() -> None:
    x = leaf(5, 7)
    y = seeded_dropout(x)
    dy = Tensor(np.ones((5, 7)), requires_grad=True)
    (dx,) = grad(y, x, dy, create_graph=True)
    (ddy,) = grad(dx, dy, Tensor(np.full((5, 7), 2.0)))
    np.testing.assert_array_equal(ddy.numpy(), 2 * dx.detach().numpy())


def test_kept_elements_are_scaled_and_the_mask_is_shared_with_the_gradient() -> None:
    x = leaf(100, 100)
    random.manual_seed(5)
    y = ops.dropout(x, 0.25)
    kept = y.detach().numpy() != 0
    assert 0.7 < kept.mean() < 0.8
    np.testing.assert_array_equal(y.detach().numpy(), np.where(kept, x.detach().numpy() * (1 / 0.75), 0))
    (dx,) = grad(y, x, Tensor(np.ones((100, 100))))
    np.testing.assert_array_equal(dx.numpy(), np.where(kept, 1 / 0.75, 0))


def test_every_call_has_its_own_mask_and_a_seed_brings_them_back() -> None:
    x = leaf(1000)
    random.manual_seed(5)
    a, b = ops.dropout(x).detach().numpy(), ops.dropout(x).detach().numpy()
    assert not np.array_equal(a, b)
    random.manual_seed(5)
    np.testing.assert_array_equal(ops.dropout(x).detach().numpy(), a)


def test_no_dropout_outside_of_training() -> None:
    x = leaf(10)
    before = random.get_rng_state().numpy().copy()
    assert ops.dropout(x, 0.5, train=False) is x
    np.testing.assert_array_equal(random.get_rng_state().numpy(), before)


@pytest.mark.parametrize("p", [-0.1, 1.1, float("nan")])
@pytest.mark.parametrize("training", [False, True])
def test_bad_probability(p: float, training: bool) -> None:
    with pytest.raises(ValueError, match="dropout: argument 'p'"):
        ops.dropout(leaf(3), p, training)


def test_bernoulli() -> None:
    p = np.repeat([0.0, 0.3, 1.0], 10000)
    y = ops.bernoulli(Tensor(p)).numpy().reshape(3, -1).mean(1)
    assert y[0] == 0
    assert abs(y[1] - 0.3) < 5 * np.sqrt(0.21 / 10000)
    assert y[2] == 1
    with pytest.raises(ValueError, match="bernoulli: argument 'input'"):
        ops.bernoulli(Tensor(np.array([0.5, 1.5])))
