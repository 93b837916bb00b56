"""``pytest bench/``: each kernel and nine training steps beside the installed peers, equality proved first."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from bench import steps
from bench.case import Case
from bench.cases import CASES
from bench.contenders import arrays, contenders, prepare
from chainrule import _core


def prove_equal(case: Case, name: str) -> None:
    """Raises unless this library computes what chainrule computes; both start from fresh arguments."""
    ours, theirs = prepare("chainrule", case), prepare(name, case)
    assert ours
    assert theirs
    expected, got = arrays(ours()), arrays(theirs())
    if name in case.restored:
        got = [case.restored[name](g) for g in got]
    if name != "numpy":
        expected = expected[: case.results]
    assert len(got) == len(expected), f"{name} gives {len(got)} results, chainrule {len(expected)}"
    for g, e in zip(got, expected, strict=True):
        scale = max(1e-30, float(np.max(np.abs(e), initial=0)))
        np.testing.assert_allclose(g.reshape(e.shape), e, rtol=0, atol=case.tolerance * scale)


def test_every_kernel_has_a_case() -> None:
    missing = set(_core.kernel_names()) - {c.kernel for c in CASES}
    assert missing == set()


@pytest.mark.parametrize(
    ("case", "name"),
    [pytest.param(c, n, id=f"{c}-{n}") for c in CASES for n in contenders(c)],
)
def test_kernel(benchmark: Any, case: Case, name: str) -> None:
    prove_equal(case, "numpy" if name == "chainrule" else name)
    benchmark.group = str(case)
    run = prepare(name, case)
    assert run
    benchmark(run)


@pytest.mark.parametrize("name", steps.contenders())
@pytest.mark.parametrize("step", steps.STEPS, ids=lambda s: s.name)
def test_step(benchmark: Any, step: steps.Step | steps.Net, name: str) -> None:
    run = steps.prepare(name, step)
    if run is None:
        pytest.skip(f"no hand-written {name} step for this net")
    ours = steps.prepare("chainrule", step)
    assert ours
    np.testing.assert_allclose([run() for _ in range(3)], [ours() for _ in range(3)], rtol=step.tolerance)
    benchmark.group = step.name
    benchmark(run)
