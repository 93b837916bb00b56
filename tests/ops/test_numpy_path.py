"""Which operations compute with NumPy, and so can't be recorded: those that say so, and none of a training step."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest

import chainrule as cr
from chainrule.nn import functional as F


class NumPyPath(Exception):
    pass


@pytest.fixture(autouse=True)
def refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """numpy_path raises, wherever it was imported to."""

    def refuse(op: str) -> None:
        raise NumPyPath(op)

    for name, module in list(sys.modules.items()):
        if name.startswith("chainrule.") and hasattr(module, "numpy_path"):
            monkeypatch.setattr(module, "numpy_path", refuse)


INDEX = cr.tensor([2, 0, 0, -1])
LABELS = cr.tensor([1, 0, 3, 2])
MASK = cr.tensor([True, False, True, True])


def assigned(x: Any, index: Any, value: Any) -> Any:
    y = x * 1
    y[index] = value
    return y


# Of x (4, 4), which requires a gradient.
KERNELS: dict[str, Callable[[Any], Any]] = {
    "contiguous": lambda x: x.T.contiguous(),
    "reshape": lambda x: x.T.reshape(-1),
    "clone": lambda x: x.clone(),
    "cat": lambda x: cr.cat([x, x[1:]], 0),
    "stack": lambda x: cr.stack([x, x], 1),
    "flip": lambda x: x.flip(0),
    "roll": lambda x: x.roll(1, 0),
    "repeat": lambda x: x.repeat(2, 3),
    "slice": lambda x: x[1:, ::2],
    "diagonal": lambda x: x.diagonal(),
    "index": lambda x: x[INDEX],
    "second index": lambda x: x[:, INDEX],
    "pair of indices": lambda x: x[cr.arange(4), LABELS],
    "index_select": lambda x: x.index_select(1, cr.tensor([0, 3])),
    "gather": lambda x: x.gather(1, LABELS[:, None]),
    "scatter": lambda x: x.scatter(1, LABELS[:, None], 1.0),
    "scatter_add": lambda x: x.scatter_add(1, LABELS[:, None], x[:, :1]),
    "index_add": lambda x: x.index_add(0, LABELS, x),
    "assign a slice": lambda x: assigned(x, slice(1, 3), x[:2]),
    "assign by index": lambda x: assigned(x, INDEX, x),
    "assign by mask": lambda x: assigned(x, MASK, 0.0),
    "masked_fill": lambda x: x.masked_fill(MASK, -1.0),
    "where": lambda x: cr.where(x > 0, x, 0.0),
    "compared": lambda x: x * (x >= 0.5).float() * (x != 0),
    "accuracy": lambda x: x.sum() * (x.argmax(1) == LABELS).sum().double(),
    "logic": lambda x: x * ((x > 0) & ~(x > 1) | x.isnan()),
    "any, all": lambda x: x * (x > 0).any(1) * (x > 0).all(),
    "cast": lambda x: x.float().double(),
    "round": lambda x: x.floor() + x.ceil() + x.round() + x.trunc() + x.sign(),
    "trigonometry": lambda x: x.sin() + x.cos() + x.tan(),
    "cumsum": lambda x: x.cumsum(1),
    "triangles": lambda x: x.tril() + x.triu(1),
    "extremes": lambda x: x.max(1).values + x.amax(0) + cr.maximum(x, x.T).sum() + x.max(),
    "clamp": lambda x: x.clamp(-1, 1) + F.hardtanh(x) + F.relu6(x),
    "norm": lambda x: x.norm() + x.std(1) + x.logsumexp(1),
    "pow": lambda x: x.abs() ** x + x**3,
    "activations": lambda x: F.elu(x) + F.softplus(x) + F.gelu(x),
    "losses": lambda x: (
        F.nll_loss(x, LABELS) + F.l1_loss(x, x.T) + F.smooth_l1_loss(x, x.T) + F.cross_entropy(x, LABELS)
    ),
    "embedding": lambda x: F.embedding(LABELS, x),
    "in place": lambda x: (x * 1).add_(1).mul_(x).clamp_(-1, 1).fill_(0.0),
    "created": lambda x: x + cr.zeros(4) + cr.ones_like(x) + cr.full((4,), 2.0),
    "attention": lambda x: F.softmax((x @ x.T).masked_fill(cr.ones(4, 4).tril() == 0, float("-inf")), 1) @ x,
}


@pytest.mark.parametrize("name", KERNELS)
def test_a_training_step_launches_kernels_alone(name: str) -> None:
    x = cr.randn(4, 4, dtype=cr.float64).requires_grad_()
    KERNELS[name](x).sum().backward()
    assert x.grad is not None


BY_NUMPY: dict[str, Callable[[Any], Any]] = {
    "prod": lambda x: x.prod(),
    "sort": lambda x: x.sort(),
    "nonzero": lambda x: x.nonzero(),
    "mask": lambda x: x[MASK],
    "integers": lambda x: cr.arange(3) + cr.arange(3),
    "remainder": lambda x: x % 2,
    "float16": lambda x: x.to(cr.float16),
}


@pytest.mark.parametrize("name", BY_NUMPY)
def test_what_computes_with_numpy_says_so(name: str) -> None:
    with pytest.raises(NumPyPath):
        BY_NUMPY[name](cr.randn(4, 4))
