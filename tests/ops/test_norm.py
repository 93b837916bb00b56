"""Normalisations against torch and central differences."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import chainrule
from chainrule import ops
from tests.ops.against_torch import check, compare

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("affine", [False, True])
@pytest.mark.parametrize(("shape", "inner"), [((4, 5), (5,)), ((2, 3, 4), (3, 4)), ((6,), (6,))], ids=str)
def test_layer_norm(shape: tuple[int, ...], inner: tuple[int, ...], affine: bool) -> None:
    F = pytest.importorskip("torch").nn.functional
    arrays = [RNG.standard_normal(shape), *(RNG.standard_normal(inner) for _ in range(2 if affine else 0))]
    compare(lambda x, *wb: ops.layer_norm(x, inner, *wb), lambda x, *wb: F.layer_norm(x, inner, *wb), arrays)
    compare(lambda x, *wb: ops.layer_norm(x, inner, *wb), lambda x, *wb: F.layer_norm(x, inner, *wb), arrays, False)
    check(lambda x, *wb: ops.layer_norm(x, inner, *wb), arrays)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("affine", [False, True])
@pytest.mark.parametrize("shape", [(6, 3), (4, 2, 3), (2, 3, 2, 2)], ids=str)
def test_batch_norm(shape: tuple[int, ...], affine: bool, training: bool) -> None:
    torch = pytest.importorskip("torch")
    c = shape[1]
    mean, variance = RNG.standard_normal(c), RNG.random(c) + 0.5
    arrays = [RNG.standard_normal(shape), *(RNG.standard_normal(c) for _ in range(2 if affine else 0))]

    def ours(x: Any, *wb: Any) -> Any:
        return ops.batch_norm(
            x, chainrule.Tensor(mean.copy()), chainrule.Tensor(variance.copy()), *wb, training=training
        )

    def theirs(x: Any, *wb: Any) -> Any:
        running = torch.tensor(mean), torch.tensor(variance)
        return torch.nn.functional.batch_norm(x, *running, *wb, training=training)

    compare(ours, theirs, arrays)
    compare(ours, theirs, arrays, False)
    check(ours, arrays)


@pytest.mark.parametrize("shape", [(6, 3), (4, 2, 3)], ids=str)
def test_running_statistics(shape: tuple[int, ...]) -> None:
    torch = pytest.importorskip("torch")
    x, c = RNG.standard_normal(shape), shape[1]
    mean, variance = np.zeros(c), np.ones(c)
    ours = chainrule.Tensor(mean.copy()), chainrule.Tensor(variance.copy())
    theirs = torch.tensor(mean), torch.tensor(variance)
    for momentum in (0.1, 0.5, 1.0):
        ops.batch_norm(chainrule.Tensor(x), *ours, training=True, momentum=momentum)
        torch.nn.functional.batch_norm(torch.tensor(x), *theirs, training=True, momentum=momentum)
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-12)
    before = [a.numpy().copy() for a in ours]
    ops.batch_norm(chainrule.Tensor(x), *ours, training=False)
    for a, b in zip(ours, before, strict=True):
        np.testing.assert_array_equal(a.numpy(), b)


def test_no_running_statistics() -> None:
    x = chainrule.Tensor(RNG.standard_normal((5, 3)))
    y = ops.batch_norm(x, None, None, training=False)
    np.testing.assert_array_equal(y.numpy(), ops.batch_norm(x, None, None, training=True).numpy())


def test_bad_input() -> None:
    x = chainrule.Tensor(np.ones((2, 3)))
    with pytest.raises(RuntimeError, match="Given normalized_shape"):
        ops.layer_norm(x, (2,))
    with pytest.raises(RuntimeError, match="at least 1-dimensional"):
        ops.layer_norm(x, ())
    with pytest.raises(ValueError, match=r"batch_norm: argument 'x' is .* more than one value per channel"):
        ops.batch_norm(chainrule.Tensor(np.ones((1, 3))), None, None, training=True)
