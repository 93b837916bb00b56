"""THE table of bench cases: each kernel of kernels.def at sizes that people train, and its peers.

A peer is the library's own function of the same arguments; NumPy's is the twin in chainrule.reference unless the
case names a better one. All float32.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Args = Callable[[np.random.Generator], tuple[Any, ...]]


@dataclass(frozen=True)
class Case:
    kernel: str
    label: str
    args: Args
    kwargs: dict[str, Any] = field(default_factory=dict)
    peers: dict[str, Callable[..., Any]] = field(default_factory=dict)  # (library, *args) -> result
    flops: float = 0
    bytes: float = 0
    tolerance: float = 1e-5  # of the largest magnitude in the result

    def __str__(self) -> str:
        return f"{self.kernel} {self.label}"


def normal(*shapes: tuple[int, ...]) -> Args:
    return lambda rng: tuple(rng.standard_normal(s).astype(np.float32) for s in shapes)


FLAT = (1 << 20,)

CASES = [
    Case(
        "relu",
        "1M",
        normal(FLAT),
        peers={"torch": lambda t, x: t.relu(x), "jax": lambda j, x: j.nn.relu(x)},
        bytes=8 << 20,
    ),
    Case(
        "relu_backward",
        "1M",
        normal(FLAT, FLAT),
        peers={"torch": lambda t, dy, y: t.ops.aten.threshold_backward(dy, y, 0)},
        bytes=12 << 20,
    ),
]
