"""Every differentiable operation in a compiled step: it replays with new inputs to the eager bits, or is refused.

A replay that keeps a value of the recorded call would be the worst of bugs; so the same table of cases that gradcheck
goes through runs here, forward and backward, with other inputs for each replay.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import _core
from tests.ops.test_gradcheck import CASES, Case

# What can't be recorded, because NumPy computes a part of it; the case of dropout seeds a generator. A case that comes
# to replay leaves this list.
REFUSED = {
    "atan2",
    "div floor",
    "dropout",
    "fmod",
    "masked_select",
    "prod",
    "prod with a zero",
    "remainder",
    "sort",
    "topk",
}


def with_gradients(case: Case, xs: tuple[Any, ...]) -> list[Any]:
    """The results, and the gradients of the sum of their squares."""
    inputs = [x.detach().requires_grad_() for x in xs]
    made = case.fn(*inputs)
    results = [t for t in (made if isinstance(made, (tuple, list)) else [made]) if isinstance(t, cr.Tensor)]
    total = None
    for t in results:
        if t.requires_grad:
            squares = (t * t).sum()
            total = squares if total is None else total + squares
    grads = () if total is None else cr.autograd.grad(total, inputs, allow_unused=True)
    return [t.detach() for t in results] + [g for g in grads if g is not None]


def replays(case: Case) -> bool:
    """Whether it can be recorded; fails where a replay differs from the eager call."""
    step = cr.compile(lambda *xs: with_gradients(case, xs))
    for seed in range(4):
        rng = np.random.default_rng(seed)
        xs = tuple(cr.from_numpy(np.array(values(rng), order="C")) for values in case.inputs)
        cr.manual_seed(seed)
        expected = with_gradients(case, xs)
        cr.manual_seed(seed)
        try:
            found = step(*xs)
        except _core.RecordingError:
            assert seed == 0, "refused on a later call"
            return False
        assert len(found) == len(expected)
        for a, b in zip(found, expected, strict=True):
            np.testing.assert_array_equal(a.numpy(), b.numpy())
    return True


@pytest.mark.parametrize("name", list(CASES))
def test_an_operation_replays_or_is_refused(name: str) -> None:
    assert replays(CASES[name]) == (name not in REFUSED)


def test_seeding_inside_of_a_step_is_refused() -> None:
    def step(x: Any) -> Any:
        cr.manual_seed(0)
        return x + cr.rand(3)

    with pytest.raises(_core.RecordingError, match="seed"):
        cr.compile(step)(cr.ones(3))


def test_results_that_are_views() -> None:
    step = cr.compile(lambda x: (x.t(), x[1], x.expand(2, 2, 3), x[:, ::2]))
    for k in range(3):
        x = cr.arange(6.0).reshape(2, 3) + k
        for a, b in zip(step(x), (x.t(), x[1], x.expand(2, 2, 3), x[:, ::2]), strict=True):
            np.testing.assert_array_equal(a.numpy(), b.numpy())
