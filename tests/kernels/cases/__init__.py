"""The cases on which every kernel of kernels.def is held against its twin: one file per family, gathered here.

A family's file has a list ``CASES``. test_twins.py runs them all and fails for a kernel that has none.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

Array = np.ndarray


@dataclass(frozen=True)
class Case:
    """One call of one kernel.

    ``args(rng, dtype)`` makes the arguments. The kernel may differ from its twin in float64 by
    ``ulps * eps(dtype) * scale`` where ``scale(*args, **kwargs)`` is the condition of each output element: the sum of
    the magnitudes of its terms (default: the magnitude of the expected output). ``integers(rng, dtype)``, where a
    kernel is exact on small integers, makes such arguments: the result must then be equal to the last bit. Where the
    twin's own rounding in float64 would be as large as the kernel's, ``extended`` runs it in long double for float64.
    """

    name: str
    id: str
    args: Callable[[np.random.Generator, np.dtype], tuple[Any, ...]]
    kwargs: dict[str, Any] = field(default_factory=dict)
    ulps: float = 4
    scale: Callable[..., Any] | None = None
    integers: Callable[[np.random.Generator, np.dtype], tuple[Any, ...]] | None = None
    extended: bool = False


# Lengths around the vector (16 float32, 8 float64) and the chunk of a flat pass (4096).
LENGTHS = [0, 1, 7, 8, 9, 15, 16, 17, 33, 100, 4095, 4097, 20011]


def normal(*shapes: tuple[int, ...]) -> Callable[[np.random.Generator, np.dtype], tuple[Array, ...]]:
    """Arguments that are standard normal arrays of these shapes."""
    return lambda rng, dtype: tuple(rng.standard_normal(s).astype(dtype) for s in shapes)


def integers(*shapes: tuple[int, ...], low: int = -4, high: int = 5) -> Callable[..., tuple[Array, ...]]:
    """Arguments that are integer-valued arrays of these shapes."""
    return lambda rng, dtype: tuple(rng.integers(low, high, s).astype(dtype) for s in shapes)


def channels_last(case: Case, **changes: Any) -> Case:
    """The case with its images, arrays of four dimensions, in that format."""

    def last(make: Callable[..., tuple[Any, ...]]) -> Callable[..., tuple[Any, ...]]:
        def args(rng: np.random.Generator, dtype: np.dtype) -> tuple[Any, ...]:
            return tuple(laid_out(x) for x in make(rng, dtype))

        return args

    exact = None if case.integers is None else last(case.integers)
    return replace(case, id=f"{case.id}-last", args=last(case.args), integers=exact, **changes)


def laid_out(x: Any) -> Any:
    if not isinstance(x, np.ndarray) or x.ndim != 4:
        return x
    return np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)


CASES: list[Case] = []
for _module in pkgutil.iter_modules(__path__):
    CASES += importlib.import_module(f"{__name__}.{_module.name}").CASES


def spread(cases: list[Case], most: int) -> list[Case]:
    """At most this many cases of each kernel, evenly spread over its list: for builds too slow to run them all."""
    of_kernel: dict[str, list[Case]] = {}
    for case in cases:
        of_kernel.setdefault(case.name, []).append(case)
    return [c for some in of_kernel.values() for c in some[:: max(1, -(-len(some) // most))]]
