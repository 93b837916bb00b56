"""Jacobians, Hessians and products with vectors against torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import chainrule as cr

torch = pytest.importorskip("torch")

RNG = np.random.default_rng(0)
A, B, V, W = (RNG.standard_normal(s) for s in ((2, 3), (3,), (2, 3), (3,)))


def one(x: Any) -> Any:
    return (x.exp() * x[0]).sum()


def several(x: Any, y: Any) -> Any:
    return x * y.exp(), (x * x)[:, 0]


def number(x: Any, y: Any) -> Any:
    return (x * x * y).sum() + (y.exp() * y).sum()


CALLS: dict[str, Callable[[Any, Callable[[Any], Any]], Any]] = {
    "jacobian": lambda f, t: f.jacobian(lambda x: x * x[0], t(A)),
    "jacobian of several": lambda f, t: f.jacobian(several, (t(A), t(B))),
    "hessian": lambda f, t: f.hessian(one, t(A)),
    "hessian of several": lambda f, t: f.hessian(number, (t(A), t(B))),
    "vjp": lambda f, t: f.vjp(several, (t(A), t(B)), (t(V), t(W[:2]))),
    "vjp of a number": lambda f, t: f.vjp(one, t(A)),
    "jvp": lambda f, t: f.jvp(several, (t(A), t(B)), (t(V), t(W))),
    "hvp": lambda f, t: f.hvp(number, (t(A), t(B)), (t(V), t(W))),
    "vhp": lambda f, t: f.vhp(one, t(A), t(V)),
    "unused": lambda f, t: f.jacobian(lambda x, y: x * 2, (t(A), t(B))),
}


def flat(x: Any) -> list[np.ndarray]:
    return [a for t in x for a in flat(t)] if isinstance(x, tuple) else [x.detach().numpy()]


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_as_torch(call: Callable[[Any, Callable[[Any], Any]], Any]) -> None:
    ours, theirs = flat(call(cr.autograd.functional, cr.tensor)), flat(call(torch.autograd.functional, torch.tensor))
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs, strict=True):
        assert a.shape == b.shape
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)


def test_refused() -> None:
    x = cr.tensor(A)
    with pytest.raises(RuntimeError, match="argument 'v' is missing"):
        cr.autograd.functional.vjp(lambda x: x * 2, x)
    with pytest.raises(RuntimeError, match=r"want \[\[2, 3\]\]"):
        cr.autograd.functional.jvp(lambda x: x * 2, x, cr.tensor(B))
    with pytest.raises(RuntimeError, match="single element"):
        cr.autograd.functional.hessian(lambda x: x * 2, x)
