"""What a bench case is, and what its arguments are made of.

A peer is the library's own function of the same arguments; NumPy's is the twin in chainrule.reference unless the
case names a better one. All float32.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
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
    results: int | None = None  # how many of the leading results PyTorch and JAX share with the kernel; None: all
    # (library, args) -> what its peer takes instead, made before it is timed, and its results as the kernel's
    prepared: dict[str, Callable[..., tuple[Any, ...]]] = field(default_factory=dict)
    restored: dict[str, Callable[[np.ndarray], np.ndarray]] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.kernel} {self.label}"


def shaped(*specs: Any) -> Args:
    """Arguments in order: a shape makes a normal float32 array, anything else is passed on (a function is called)."""

    def make(rng: np.random.Generator) -> tuple[Any, ...]:
        found = []
        for spec in specs:
            if isinstance(spec, tuple) and all(isinstance(n, int) for n in spec):
                found.append(rng.standard_normal(spec).astype(np.float32))
            else:
                found.append(spec(rng) if callable(spec) else spec)
        return tuple(found)

    return make


def channels_last(case: Case) -> Case:
    """The case with images, arrays of four dimensions, whose channels lie together; torch gets them as they lie."""

    def args(rng: np.random.Generator) -> tuple[Any, ...]:
        return tuple(_last(a) for a in case.args(rng))

    return replace(case, label=f"{case.label}, channels_last", args=args)


def _last(a: Any) -> Any:
    if not isinstance(a, np.ndarray) or a.ndim != 4:
        return a
    return np.ascontiguousarray(a.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)


def positive(shape: tuple[int, ...]) -> Callable[[np.random.Generator], Any]:
    return lambda rng: rng.uniform(0.5, 2, shape).astype(np.float32)


def labels(count: int, classes: int) -> Callable[[np.random.Generator], Any]:
    return lambda rng: rng.integers(0, classes, count)


def tensors(shapes: list[tuple[int, ...]], scale: float = 1) -> Callable[[np.random.Generator], Any]:
    return lambda rng: [(scale * rng.standard_normal(s)).astype(np.float32) for s in shapes]
