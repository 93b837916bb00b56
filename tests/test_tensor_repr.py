"""Printing, to the letter as torch does it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import chainrule as cr

torch = pytest.importorskip("torch")

RNG = np.random.default_rng(0)
ARRAYS: dict[str, Any] = {
    "scalar": np.float32(1.5),
    "int": np.int64(3),
    "whole floats": np.arange(3, dtype=np.float32),
    "floats": RNG.standard_normal((2, 3)).astype(np.float32),
    "double": np.ones(2),
    "ints": np.array([[1, -20], [300, 4]]),
    "int32": np.arange(2, dtype=np.int32),
    "bools": np.array([True, False]),
    "large": np.array([1e9, 1.0], np.float32),
    "range": np.array([1e-3, 50.25], np.float32),
    "tiny": np.array([1e-5, 2e-5], np.float32),
    "whole and wide": np.array([1.0, 1e6], np.float32),
    "nan": np.array([np.nan, 1.0, np.inf, -np.inf], np.float32),
    "nan and fractions": np.array([np.nan, 1.25, -np.inf], np.float32),
    "only nan": np.array([np.nan], np.float32),
    "zeros": np.zeros((2, 2), np.float32),
    "negative": np.array([-1.0, 2.0], np.float32),
    "empty": np.zeros(0, np.float32),
    "empty 2-d": np.zeros((0, 3), np.float32),
    "empty int": np.zeros(0, np.int64),
    "long line": np.arange(40, dtype=np.float32) / 7,
    "long ints": np.arange(100),
    "3-d": RNG.standard_normal((2, 2, 3)).astype(np.float32),
    "4-d": np.arange(16).reshape(2, 2, 2, 2),
    "summary": np.arange(2000, dtype=np.float32),
    "summary 2-d": RNG.standard_normal((50, 40)).astype(np.float32),
    "summary of rows": RNG.standard_normal((1500, 2)).astype(np.float32),
    "half": np.ones(2, np.float16),
    "huge ints": np.array([10**15, 1]),
    "strided": np.arange(12, dtype=np.float32).reshape(3, 4).T,
}


@pytest.mark.parametrize("array", ARRAYS.values(), ids=ARRAYS)
def test_repr(array: Any) -> None:
    array = np.asarray(array)
    assert repr(cr.from_numpy(array)) == repr(torch.from_numpy(array)).replace("torch.", "chainrule.")


def test_what_follows_the_numbers() -> None:
    x = cr.ones(2, requires_grad=True)
    assert repr(x) == "tensor([1., 1.], requires_grad=True)"
    assert repr(x[0]) == "tensor(1., grad_fn=<SliceBackward>)"
    wide = np.arange(10, dtype=np.float64) / 7
    ours, theirs = cr.tensor(wide, requires_grad=True), torch.tensor(wide, requires_grad=True)
    assert repr(ours) == repr(theirs).replace("torch.", "chainrule.")


def test_options() -> None:
    try:
        for lib in (cr, torch):
            lib.set_printoptions(precision=2, threshold=5, edgeitems=1, linewidth=40)
        array = np.arange(12, dtype=np.float32) / 7
        assert repr(cr.from_numpy(array)) == repr(torch.from_numpy(array))
        for lib in (cr, torch):
            lib.set_printoptions(sci_mode=True)
        assert repr(cr.from_numpy(array)) == repr(torch.from_numpy(array))
    finally:
        for lib in (cr, torch):
            lib.set_printoptions(profile="default")
