import numpy as np

from chainrule import reference
from tests.kernels.cases import LENGTHS, Case

SEED, OFFSET = 0x123456789ABCDEF0, 3


def dropout(n: int):
    return lambda rng, dtype: (rng.standard_normal(n).astype(dtype), 0.3, SEED, OFFSET)


def dropout_backward(n: int):
    return lambda rng, dtype: (rng.standard_normal(n).astype(dtype), rng.random(n) < 0.7, 0.3)


def magnitude(shape, seed, offset, low, high, dtype):
    return np.full(shape, abs(low) + abs(high - low))


def spread(shape, seed, offset, mean, std, dtype):
    """Of mean + std z: |mean| + std |z|."""
    return abs(mean) + np.abs(reference.normal(shape, seed, offset, 0, std, dtype))


CASES = [
    case
    for n in LENGTHS
    for case in (
        Case("uniform", f"{n}", lambda rng, dtype, n=n: ((n,), SEED, OFFSET, -2.5, 3, dtype), scale=magnitude),
        Case("normal", f"{n}", lambda rng, dtype, n=n: ((n,), SEED, OFFSET, 0.75, 1.5, dtype), scale=spread, ulps=6),
        Case("bernoulli", f"{n}", lambda rng, dtype, n=n: ((n,), 0.3, SEED, OFFSET, dtype)),
        Case("dropout", f"{n}", dropout(n)),
        Case("dropout_backward", f"{n}", dropout_backward(n)),
    )
]
