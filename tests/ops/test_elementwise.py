"""Arithmetic, functions of one tensor and activations against torch: values, gradients, second gradients, dtypes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import chainrule
from chainrule import ops
from chainrule.autograd import grad
from chainrule.tensor import wrap

torch = pytest.importorskip("torch")
F = torch.nn.functional

rng = np.random.default_rng(0)
A, B, P = rng.standard_normal((3, 4)), rng.standard_normal(4) + 3, rng.uniform(0.3, 3, (3, 4))
Call = Callable[..., Any]

BINARY = ("add", "sub", "mul", "div", "maximum", "minimum", "atan2")
UNARY = ("neg", "abs", "exp", "expm1", "sin", "cos", "tan", "erf", "erfc", "square", "tanh", "sigmoid", "relu")
ACTIVATIONS = ("silu", "gelu", "elu", "softplus", "relu6", "hardtanh", "leaky_relu")
FAR = np.array([999.0, -999, 0, 2.6])
CASES: list[tuple[str, Call, Call, list[Any]]] = [
    *[(n, getattr(ops, n), getattr(torch, n), [A, B]) for n in BINARY],
    *[(n, getattr(ops, n), getattr(torch, n), [A]) for n in (*UNARY, "reciprocal")],
    *[(n, getattr(ops, n), getattr(torch, n), [P]) for n in ("log", "log1p", "log2", "log10", "sqrt", "rsqrt")],
    *[(n, getattr(ops, n), getattr(F, n), [A * 2]) for n in ACTIVATIONS],
    *[(f"pow{p}", lambda x, p=p: x**p, lambda x, p=p: x**p, [P]) for p in (0, 1, 2, 3, 0.5, -1, 2.5)],
    ("remainder", ops.remainder, torch.remainder, [A, B]),
    ("pow", ops.pow, torch.pow, [P, B]),
    ("maximum-tie", ops.maximum, torch.maximum, [np.array([1.0, 2]), np.array([1.0, 3])]),
    ("gelu-tanh", lambda x: ops.gelu(x, "tanh"), lambda x: F.gelu(x, approximate="tanh"), [A]),
    ("leaky-negative", lambda x: ops.leaky_relu(x, -0.5), lambda x: F.leaky_relu(x, -0.5), [A]),
    ("clamp", lambda x: ops.clamp(x, -0.5, 0.5), lambda x: torch.clamp(x, -0.5, 0.5), [A]),
    ("clamp-tensor", lambda x, y: ops.clamp(x, y, None), lambda x, y: torch.clamp(x, y, None), [A, B - 3]),
    ("1-x", lambda x: 1 - x, lambda x: 1 - x, [A]),
    ("1/x", lambda x: 1 / x, lambda x: 1 / x, [A]),
    ("2**x", lambda x: 2**x, lambda x: 2**x, [A]),
    ("alpha", lambda x, y: ops.add(x, y, alpha=3), lambda x, y: torch.add(x, y, alpha=3), [A, B]),
    (
        "softplus-far",
        lambda x: ops.softplus(x, 2.0, 5.0),
        lambda x: F.softplus(x, 2.0, 5.0),
        [FAR],
    ),
]


def close(got: Any, expected: Any) -> None:
    np.testing.assert_allclose(got._array, expected.detach().numpy(), rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize(("name", "ours", "theirs", "inputs"), CASES, ids=[c[0] for c in CASES])
def test_value_gradient_and_second_gradient(name: str, ours: Call, theirs: Call, inputs: list[Any]) -> None:
    ts = [torch.tensor(x, requires_grad=True) for x in inputs]
    cs = [chainrule.tensor(x, requires_grad=True) for x in inputs]
    expected, got = theirs(*ts), ours(*cs)
    close(got, expected)
    weight = np.random.default_rng(1).standard_normal(expected.shape)
    want = torch.autograd.grad(expected, ts, torch.tensor(weight), create_graph=True)
    have = grad(got, cs, chainrule.tensor(weight), create_graph=True)
    for h, w in zip(have, want, strict=True):
        close(h, w)
        if not w.requires_grad:
            continue
        seconds = torch.autograd.grad(w, ts, torch.ones_like(w), allow_unused=True, retain_graph=True)
        if not h.requires_grad:
            assert all(s is None or not s.abs().max() for s in seconds)
            continue
        mine = grad(h, cs, chainrule.tensor(np.ones(h.shape)), allow_unused=True, retain_graph=True)
        for m, s in zip(mine, seconds, strict=True):
            if m is None or s is None:
                assert s is None or not s.abs().max()
                assert m is None or not m._array.any()
            else:
                close(m, s)


def test_gradients_of_pow_where_base_or_exponent_is_0() -> None:
    inputs = np.array([0.0, 0, 2, 0]), np.array([0.0, 2, 0, 1])
    ts = [torch.tensor(x, requires_grad=True) for x in inputs]
    cs = [chainrule.tensor(x, requires_grad=True) for x in inputs]
    want = torch.autograd.grad(torch.pow(*ts), ts, torch.ones(4, dtype=torch.float64))
    for h, w in zip(grad(ops.pow(*cs), cs, chainrule.tensor(np.ones(4))), want, strict=True):
        close(h, w)


ARRAYS = [np.ones(s, d) for d in ("int32", "int64", "float32", "float64") for s in ((2,), ())]


@pytest.mark.parametrize("name", ["add", "mul", "div", "pow"])
def test_dtypes_of_results(name: str) -> None:
    for a in ARRAYS:
        for b in [*ARRAYS, 2, 2.5]:
            other = torch.tensor(b) if isinstance(b, np.ndarray) else b
            expected = getattr(torch, name)(torch.tensor(a), other).numpy().dtype
            got = getattr(ops, name)(wrap(a), wrap(b) if isinstance(b, np.ndarray) else b).dtype
            assert got == expected, (a, b)


def test_a_power_of_bools_is_bool() -> None:
    for b in (True, False):
        expected = (torch.tensor([True, False]) ** b).numpy()
        got = chainrule.tensor([True, False]) ** b
        assert got.dtype == expected.dtype
        np.testing.assert_array_equal(got._array, expected)
