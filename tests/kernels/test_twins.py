"""Every kernel of kernels.def against its NumPy twin in float64: value, bits over threads and ISAs, exactness."""

from __future__ import annotations

import copy
import os
from typing import Any

import numpy as np
import pytest

from chainrule import _core, kernels, reference
from tests.kernels.cases import CASES as ALL_CASES
from tests.kernels.cases import Case, spread

# Bits agree within each group; without FMA a product and a sum round twice.
GROUPS = [[i for i in _core.isa_available() if (i == "generic") == without_fma] for without_fma in (True, False)]
CASES = spread(ALL_CASES, int(os.environ.get("CHAINRULE_CASES_PER_KERNEL", len(ALL_CASES))))
each_case = pytest.mark.parametrize("case", CASES, ids=lambda c: f"{c.name}-{c.id}")
each_dtype = pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["f32", "f64"])


def outputs(result: Any) -> list[np.ndarray]:
    """A kernel's result as a list of arrays; outputs that weren't asked for (None) are left out."""
    many = result if isinstance(result, (tuple, list)) else (result,)
    return [np.asarray(r) for r in many if r is not None]


def widen(x: Any, to: Any = np.float64) -> Any:
    """A copy (a kernel may write into its arguments) with floating arrays as float64, inside lists too."""
    if isinstance(x, (list, tuple)):
        return type(x)(widen(v, to) for v in x)
    if not isinstance(x, np.ndarray):
        return x
    return x.astype(to if x.dtype.kind == "f" else x.dtype)


def run(case: Case, args: tuple[Any, ...]) -> list[np.ndarray]:
    return outputs(getattr(kernels, case.name)(*copy.deepcopy(args), **case.kwargs))


def seed(case: Case) -> np.random.Generator:
    return np.random.default_rng(sum(map(ord, case.name + case.id)))


@pytest.mark.parametrize("name", _core.kernel_names())
def test_every_kernel_has_a_binding_a_twin_and_cases(name: str) -> None:
    assert callable(getattr(kernels, name)), f"chainrule.kernels lacks {name}"
    assert getattr(kernels, name).__doc__, f"chainrule.kernels.{name} lacks its documentation"
    assert callable(getattr(reference, name)), f"chainrule.reference lacks {name}"
    assert any(c.name == name for c in CASES), f"tests/kernels/cases lacks {name}"


@each_dtype
@each_case
def test_value(case: Case, dtype: Any, isa: str) -> None:
    args = case.args(seed(case), np.dtype(dtype))
    got = run(case, args)
    oracle = np.longdouble if case.extended and dtype == np.float64 else np.float64
    with np.errstate(all="ignore"):
        expected = outputs(getattr(reference, case.name)(*widen(args, oracle), **case.kwargs))
        scale = outputs(case.scale(*widen(args), **case.kwargs)) if case.scale else [np.abs(e) for e in expected]
    assert len(got) == len(expected)
    for g, e, s in zip(got, expected, scale, strict=True):
        assert g.shape == e.shape
        if e.dtype.kind != "f":
            np.testing.assert_array_equal(g, e)
            continue
        assert g.dtype == dtype
        with np.errstate(over="ignore"):
            finite = np.isfinite(e.astype(dtype))  # float32 overflows sooner than its twin
            np.testing.assert_array_equal(g[~finite], e[~finite].astype(dtype))
        with np.errstate(invalid="ignore"):  # an infinite condition where the result is infinite
            allowed = case.ulps * np.finfo(dtype).eps * s + np.finfo(dtype).tiny
        excess = np.abs(g[finite] - e[finite]) / np.broadcast_to(allowed, e.shape)[finite]
        assert excess.size == 0 or excess.max() <= 1, f"error is {excess.max():.3g} times the bound"


@each_dtype
@each_case
def test_same_bits_for_any_thread_count_and_fma_isa(case: Case, dtype: Any) -> None:
    args = case.args(seed(case), np.dtype(dtype))
    before = _core.isa_in_use(), _core.get_num_threads()
    try:
        for group in GROUPS:
            results = {}
            for isa in group:
                _core.set_isa(isa)
                for n in (1, 2, 5):
                    _core.set_num_threads(n)
                    _core.set_serial_cost(0)
                    results[isa, n] = [r.tobytes() for r in run(case, args)]
            first = next(iter(results.values()), None)
            assert all(r == first for r in results.values()), [k for k, r in results.items() if r != first]
    finally:
        _core.set_serial_cost(-1)
        _core.set_isa(before[0])
        _core.set_num_threads(before[1])


@each_dtype
@pytest.mark.parametrize("case", [c for c in CASES if c.integers], ids=lambda c: f"{c.name}-{c.id}")
def test_integers_are_exact(case: Case, dtype: Any, isa: str) -> None:
    assert case.integers
    args = case.integers(seed(case), np.dtype(dtype))
    for got, expected in zip(
        run(case, args), outputs(getattr(reference, case.name)(*widen(args), **case.kwargs)), strict=True
    ):
        np.testing.assert_array_equal(got, expected)
