"""Functions of the compiled module: by position straight to the function, else through pybind11."""

from __future__ import annotations

import contextlib
import gc
import sys
from typing import Any

import numpy as np
import pytest

from chainrule import _core

A = np.arange(6, dtype=np.float32).reshape(2, 3)
B = np.arange(12, dtype=np.float32).reshape(4, 3)


@pytest.mark.parametrize(
    "call",
    [
        lambda: _core.matmul(A, B, False, True),
        lambda: _core.matmul(A, B, transpose_b=True),
        lambda: _core.matmul(a=A, b=B, transpose_a=False, transpose_b=True),
        lambda: _core.matmul(A, B.T),
        lambda: _core.matmul(A, B, None, 1),  # type: ignore[arg-type]
    ],
)
def test_arguments_by_position_by_name_and_left_out(call: Any) -> None:
    np.testing.assert_array_equal(call(), A @ B.T)


@pytest.mark.parametrize("arguments", [(), (A,), (A, B, False, True, 1), (A, B, "no", True), (A, B, False, A)])
def test_other_arguments_are_refused(arguments: tuple[Any, ...]) -> None:
    with pytest.raises((TypeError, ValueError), match=r"matmul|truth value"):
        _core.matmul(*arguments)


def test_errors_of_the_function_arrive() -> None:
    with pytest.raises(ValueError, match="matmul"):
        _core.matmul(A, B, False, False)
    with pytest.raises(TypeError, match="matmul: argument 'a' is a list"):
        _core.matmul([[1.0]], B, False, True)


@pytest.mark.parametrize(
    "arguments",
    [(A, B, False, True), (A, B, False), (A, B, False, False), (A, B, "no", True)],
    ids=["all", "some", "ValueError", "TypeError"],
)
def test_no_reference_is_kept_or_lost(arguments: tuple[Any, ...]) -> None:
    def counts() -> list[int]:
        gc.collect()
        return [sys.getrefcount(x) for x in (A, B, None, True, False)]

    before = counts()
    for _ in range(1000):
        with contextlib.suppress(TypeError, ValueError):
            y = _core.matmul(*arguments)
            assert sys.getrefcount(y) == 2
    after = counts()
    assert max(abs(a - b) for a, b in zip(after, before, strict=True)) < 100


def test_no_reference_is_lost_by_returning_none() -> None:
    y, before = A.copy(), sys.getrefcount(None)
    for _ in range(1000):
        _core.accumulate(y, A)
    assert abs(sys.getrefcount(None) - before) < 100


def test_a_function_tells_its_name_and_signature() -> None:
    assert _core.matmul.__name__ == "matmul"
    assert _core.matmul.__module__ == "chainrule._core"
    assert "matmul(a: object, b: object, transpose_a: bool = False" in str(_core.matmul.__doc__)
