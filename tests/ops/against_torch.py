"""One comparison for every operation: value, gradients and second derivatives against torch in float64."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

import chainrule
from chainrule import ops
from chainrule.autograd import grad, gradcheck, gradgradcheck

Fn = Callable[..., Any]


def first(y: Any) -> Any:
    """The values of (values, indices), the first of several outputs."""
    return y[0] if isinstance(y, tuple) else y


def compare(ours: Fn, theirs: Fn, arrays: Sequence[np.ndarray], second: bool = True) -> None:
    """``ours(*tensors)`` and ``theirs(*tensors)`` on the same float64 data; ``second``: also grad of grad."""
    torch = pytest.importorskip("torch")
    a = [chainrule.Tensor(x.copy(), requires_grad=x.dtype.kind == "f") for x in arrays]
    b = [torch.tensor(x, requires_grad=x.dtype.kind == "f") for x in arrays]
    y, z = first(ours(*a)), first(theirs(*b))
    assert y.shape == tuple(z.shape)
    assert isinstance(y.detach().numpy(), np.ndarray)  # not a NumPy scalar
    np.testing.assert_allclose(y.detach().numpy(), z.detach().numpy(), rtol=1e-10, atol=1e-12)
    seed = np.random.default_rng(7).standard_normal(y.shape)
    wanted = [i for i, x in enumerate(arrays) if x.dtype.kind == "f"]
    ga = grad(y, [a[i] for i in wanted], chainrule.Tensor(seed), create_graph=second)
    gb = torch.autograd.grad(z, [b[i] for i in wanted], torch.tensor(seed), create_graph=second)
    for g, h in zip(ga, gb, strict=True):
        assert isinstance(g.detach().numpy(), np.ndarray)
        np.testing.assert_allclose(g.detach().numpy(), h.detach().numpy(), rtol=1e-9, atol=1e-11)
    if not second:
        return
    total_a, total_b = ops.sum(ga[0] * ga[0]), (gb[0] * gb[0]).sum()
    if not total_b.requires_grad:
        return
    # Where our gradient is constant, torch may have one that depends on the inputs and differentiates to zeros.
    constant = not total_a.requires_grad
    sa = [None] * len(wanted) if constant else grad(total_a, [a[i] for i in wanted], allow_unused=True)
    sb = torch.autograd.grad(total_b, [b[i] for i in wanted], allow_unused=True)
    for g, h in zip(sa, sb, strict=True):
        if h is not None:
            got = np.zeros(tuple(h.shape)) if g is None else g.numpy()
            np.testing.assert_allclose(got, h.numpy(force=True), rtol=1e-8, atol=1e-10)


def check(fn: Fn, arrays: Sequence[np.ndarray], second: bool = True) -> None:
    """Against central differences, of the values and of the gradients."""
    inputs = [chainrule.Tensor(x.copy(), requires_grad=True) for x in arrays]
    assert gradcheck(fn, inputs)
    if second:
        assert gradgradcheck(fn, inputs)
