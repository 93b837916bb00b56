from __future__ import annotations

from typing import Any

import numpy as np

from tests.kernels.cases import LENGTHS, Case
from tests.kernels.cases.elementwise import BROADCASTS, special_pairs

KINDS = ["f4", "f8", "i4", "i8", "u1", "?"]
NAMES = ["eq", "ge", "gt", "le", "logical_and", "logical_or", "logical_xor", "lt", "ne"]


def small(*shapes: tuple[int, ...], kind: str | None = None) -> Any:
    """Few values, so that many are equal."""
    return lambda rng, dtype: tuple(rng.integers(0, 4, s).astype(kind or dtype) for s in shapes)


def extremes(kind: str) -> Any:
    """What a cast rounds, and what is out of an integer's range."""
    edges = [0.0, -0.0, 0.5, -0.9, 1.5, 255.0, 256.0, -1.0, 2.0**31 - 128, 2.0**31, -(2.0**31), 2.0**63, -(2.0**63)]
    edges += [np.inf, -np.inf, np.nan, 1e30, -1e30, 2.0**24 + 1, 1e-40]
    return lambda rng, dtype: (np.array(edges * 2, dtype), kind)


CASES = [
    *(Case(name, key, small(*BROADCASTS[key])) for name in NAMES for key in BROADCASTS),
    *(Case(name, kind, small((300,), (7, 1), kind=kind)) for name in NAMES for kind in KINDS),
    *(Case(name, f"{kind}-first", small((7, 1), (300,), kind=kind)) for name in NAMES for kind in KINDS),
    *(Case(name, f"{n}-long", small((n,), (n,))) for name in ("lt", "eq") for n in LENGTHS),
    *(Case(name, "special", special_pairs) for name in NAMES),
    *(Case(name, "number", lambda rng, dtype: (rng.integers(0, 4, 50).astype(dtype), 2)) for name in NAMES),
    *(
        Case("cast", f"{a}-{b}", lambda rng, dtype, a=a, b=b: (rng.integers(-300, 300, (41, 9)).astype(a).T, b))
        for a in KINDS
        for b in KINDS
        if b[0] != "f"
    ),
    *(Case("cast", f"floats-{b}", extremes(b)) for b in KINDS if b[0] != "f"),
]
