"""One source, run by us and by PyTorch: outputs, gradients and buffers compared.

The oracle is PyTorch in float64 on the same float32 values. Our float64 must agree to rounding; our float32 may
err by a small multiple of what PyTorch's float32 errs (that is the computation's condition, measured), plus ulps.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import chainrule
from chainrule import nn

torch = pytest.importorskip("torch")

OURS = SimpleNamespace(nn=nn, F=nn.functional, tensor=chainrule.tensor, no_grad=chainrule.no_grad)
THEIRS = SimpleNamespace(nn=torch.nn, F=torch.nn.functional, tensor=torch.tensor, no_grad=torch.no_grad)

Numbers = dict[str, np.ndarray]


def model_with(lib: Any, make: Any, state: Any, dtype: str, train: bool) -> Any:
    """The model that ``make(lib)`` describes, with these parameters, in this dtype and mode."""
    model = make(lib)
    model.load_state_dict(state)
    return (model.double() if dtype == "float64" else model.float()).train(train)


def step(lib: Any, model: Any, inputs: Sequence[np.ndarray], seed: int = 0) -> Numbers:
    """Forward, a weighted sum as the loss, and backward; every number that comes out, as float64 arrays."""
    xs = [lib.tensor(x) for x in inputs]
    for x in xs:
        if "float" in str(x.dtype):
            x.requires_grad_()
    out = model(*xs)
    outs = out if isinstance(out, tuple) else (out,)
    numbers: dict[str, Any] = {f"output {i}": y for i, y in enumerate(outs)}
    if outs[0].requires_grad:
        weights = np.random.default_rng(seed).standard_normal(tuple(outs[0].shape)).astype(np.float32)
        (outs[0] * lib.tensor(weights.astype(str(outs[0].dtype).removeprefix("torch.")))).sum().backward()
    numbers.update((f"input {i} grad", x.grad) for i, x in enumerate(xs) if x.requires_grad)
    numbers.update((f"{name} grad", p.grad) for name, p in model.named_parameters())
    numbers.update(model.named_buffers())
    return {k: np.asarray(v.detach().numpy(), np.float64) for k, v in numbers.items() if v is not None}


def assert_same(make: Any, inputs: Sequence[np.ndarray], train: bool = True) -> None:
    """Floating ``inputs`` must be float32; they are widened for the float64 runs."""
    torch.manual_seed(4)
    state = make(THEIRS).state_dict()
    for key, value in state.items():  # statistics other than a fresh model's
        if "running" in key:
            value += torch.rand_like(value)
    wide = [x.astype(np.float64) if x.dtype == np.float32 else x for x in inputs]
    oracle, ours64 = (step(lib, model_with(lib, make, state, "float64", train), wide) for lib in (THEIRS, OURS))
    theirs32, ours32 = (step(lib, model_with(lib, make, state, "float32", train), inputs) for lib in (THEIRS, OURS))
    assert list(ours64) == list(oracle)
    for key, expected in oracle.items():
        scale = np.abs(expected).max(initial=0)
        assert ours64[key].shape == ours32[key].shape == expected.shape, key
        np.testing.assert_allclose(ours64[key], expected, rtol=0, atol=1e-12 * (scale + 1), err_msg=key)
        error, their_error = (np.abs(r[key] - expected).max(initial=0) for r in (ours32, theirs32))
        allowed = 4 * their_error + 4 * np.finfo(np.float32).eps * scale
        assert error <= allowed, f"{key}: error {error:.3g}, PyTorch's {their_error:.3g}, values up to {scale:.3g}"
