from __future__ import annotations

from typing import Any

from tests.kernels.cases import LENGTHS, Case, integers, normal

# The tests copy their arguments, which keeps the order of the axes but no gaps: other views are in test_copy.py.


def permuted(shape: tuple[int, ...], axes: tuple[int, ...]) -> Any:
    return lambda rng, dtype: (rng.standard_normal(shape).astype(dtype).transpose(axes),)


def of_dtype(kind: str, shape: tuple[int, ...]) -> Any:
    return lambda rng, dtype: (rng.integers(0, 100, shape).astype(kind).T,)


# Around the square tiles (16, 8, 4 wide) and the blocks of them (64 rows, 256 bytes).
SIDES = [(1, 1), (3, 5), (15, 17), (16, 16), (17, 31), (63, 65), (64, 64), (129, 70), (300, 200), (2, 1000), (1000, 3)]
PERMUTED: list[tuple[tuple[int, ...], tuple[int, ...]]] = [
    ((5, 33, 18), (0, 2, 1)),
    ((5, 33, 18), (2, 1, 0)),
    ((4, 6, 5, 20), (0, 2, 1, 3)),
    ((3, 17, 6, 9), (0, 2, 3, 1)),
    ((2, 3, 4, 5, 6), (4, 2, 0, 3, 1)),
    ((40, 3, 40), (1, 2, 0)),
]
CASES = [
    *(Case("copy", str(n), normal((n,)), ulps=0) for n in LENGTHS),
    *(Case("copy", f"{r}x{c}-transposed", permuted((r, c), (1, 0)), ulps=0) for r, c in SIDES),
    *(Case("copy", f"{'x'.join(map(str, s))}-{''.join(map(str, a))}", permuted(s, a), ulps=0) for s, a in PERMUTED),
    *(Case("copy", f"{kind}-transposed", of_dtype(kind, (70, 40))) for kind in ("?", "i1", "i2", "i4", "i8")),
    Case("copy", "scalar", normal(()), ulps=0),
    *(
        Case("fill", str(n), lambda rng, dtype, n=n: (rng.standard_normal(n).astype(dtype), 2.5), ulps=0)
        for n in LENGTHS
    ),
    *(
        Case("fill", f"{kind}-transposed", lambda rng, dtype, kind=kind: (*of_dtype(kind, (70, 40))(rng, dtype), 1))
        for kind in ("?", "u1", "i2", "i4", "i8")
    ),
    Case("fill", "scalar", lambda rng, dtype: (*integers(())(rng, dtype), 7), ulps=0),
]
