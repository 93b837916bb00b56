"""The generator: published answers, the element's own coordinates, statistics, bad input."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from chainrule import _core, kernels, random, reference

# Random123's kat_vectors for philox4x32-10: counter, key, block.
ONES = 0xFFFFFFFF
KNOWN = [
    ([0, 0, 0, 0], [0, 0], [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
    ([ONES] * 4, [ONES] * 2, [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
    (
        [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
        [0xA4093822, 0x299F31D0],
        [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1],
    ),
]


@pytest.mark.parametrize(("counter", "key", "block"), KNOWN)
def test_published_answers(counter: list[int], key: list[int], block: list[int]) -> None:
    np.testing.assert_array_equal(reference.philox(np.array(counter), np.array(key)), block)
    assert list(_core.philox_block(counter, key)) == block


def test_kernels_give_the_published_bits(isa: str) -> None:
    """Block 0 of seed 0, offset 0 is the first published answer: its words 0 and 1 are float32 elements 0 and 1."""
    first = kernels.uniform((32,), 0, 0)
    words = [KNOWN[0][2][i] for i in (0, 1)] + [KNOWN[0][2][i] for i in (2, 3)]
    np.testing.assert_array_equal(first[[0, 1, 16, 17]], [(w >> 8) * 2.0**-24 for w in words])


def test_an_element_depends_on_its_index_alone(isa: str, threads: int) -> None:
    for dtype in (np.float32, np.float64):
        long = kernels.uniform((20011,), 7, 9, dtype=dtype)
        for n in (1, 31, 33, 4096, 4097):
            np.testing.assert_array_equal(kernels.uniform((n,), 7, 9, dtype=dtype), long[:n])


def test_seed_and_offset_use_all_their_bits() -> None:
    keys = [(0, 0), (1, 0), (1 << 32, 0), (1 << 63, 0), (0, 1), (0, 1 << 32), (0, 1 << 63)]
    draws = {kernels.uniform((64,), *key).tobytes() for key in keys}
    assert len(draws) == len(keys)


def test_dropout_masks_agree_between_dtypes() -> None:
    x = np.ones(1000)
    np.testing.assert_array_equal(kernels.dropout(x, 0.4, 1, 2)[1], kernels.dropout(x.astype(np.float32), 0.4, 1, 2)[1])


@pytest.mark.parametrize("p", [0.0, 1.0])
def test_dropout_at_the_ends(p: float) -> None:
    y, mask = kernels.dropout(np.full(100, 3.0), p, 1, 2)
    np.testing.assert_array_equal(y, np.full(100, 3.0 * (1 - p)))
    np.testing.assert_array_equal(mask, np.full(100, p == 0))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_uniform_moments_and_independence(dtype: Any) -> None:
    n = 1 << 18
    u = kernels.uniform((n,), 11, 0, dtype=dtype).astype(np.float64)
    v = kernels.uniform((n,), 11, 1, dtype=dtype).astype(np.float64)
    assert u.min() >= 0
    assert u.max() < 1
    counts = np.bincount((u * 256).astype(int), minlength=256)
    chi2 = ((counts - n / 256) ** 2 / (n / 256)).sum()
    assert abs(chi2 - 255) < 5 * np.sqrt(2 * 255)
    for a, b in [(u, v), (u[:-1], u[1:]), (u[:-16], u[16:]), (u[:-32], u[32:])]:
        assert abs(np.corrcoef(a, b)[0, 1]) < 5 / np.sqrt(n)


def test_uniform_stays_under_high() -> None:
    """1 + u rounds up to 2 in float32 for u close to 1."""
    u = kernels.uniform((1 << 22,), 5, 0, 1, 1 + 2.0**-20, np.float32)
    assert u.max() < np.float32(1 + 2.0**-20)
    assert u.min() >= 1


def test_bernoulli_and_dropout_rates() -> None:
    n, p = 1 << 18, 0.2
    spread = 5 * np.sqrt(p * (1 - p) / n)
    assert abs(kernels.bernoulli((n,), p, 3, 4).mean() - p) < spread
    y, mask = kernels.dropout(np.ones(n), p, 3, 4)
    assert abs(1 - mask.mean() - p) < spread
    np.testing.assert_array_equal(y, mask / (1 - p))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_normal_moments_and_independence(dtype: Any) -> None:
    n = 1 << 18
    z = (kernels.normal((n,), 5, 1, 2, 3, dtype).astype(np.float64) - 2) / 3
    assert abs(z.mean()) < 5 / np.sqrt(n)
    assert abs((z**2).mean() - 1) < 5 * np.sqrt(2 / n)
    assert abs((z**3).mean()) < 5 * np.sqrt(15 / n)
    assert abs((z**4).mean() - 3) < 5 * np.sqrt(96 / n)
    assert 4 < np.abs(z).max() < 6
    for lag in (1, 8, 16, 32):  # the two numbers of a pair share their radius: their squares must not correlate
        for a, b in [(z[:-lag], z[lag:]), (z[:-lag] ** 2, z[lag:] ** 2)]:
            assert abs(np.corrcoef(a, b)[0, 1]) < 5 / np.sqrt(n)


def test_normal_is_accurate_where_the_sine_is_small() -> None:
    """std 1, mean 0: every element to a few units of its own last place, in all quadrants."""
    for dtype in (np.float32, np.float64):
        expected = reference.normal((1 << 16,), 3, 4, 0, 1, dtype)
        error = np.abs(kernels.normal((1 << 16,), 3, 4, 0, 1, dtype) - expected)
        assert (error / np.abs(expected)).max() < 16 * np.finfo(dtype).eps
    np.testing.assert_array_equal(kernels.normal((50,), 1, 2, 7, 0), np.full(50, 7, np.float32))


def test_randint_is_uniform_and_stays_in_range() -> None:
    g = random.Generator().manual_seed(1)
    y = random.randint_array(-3, 4, (70000,), g)
    assert y.dtype == np.int64
    counts = np.bincount(y + 3, minlength=7)
    assert counts.size == 7
    assert ((counts - 10000) ** 2 / 10000).sum() < 40
    low, high = -(2**63), 2**63 - 1
    wide = random.randint_array(low, high, (1000,), g)
    assert wide.min() < low / 2
    assert wide.max() > high / 2


def test_randperm_is_a_uniform_permutation() -> None:
    g = random.Generator().manual_seed(1)
    np.testing.assert_array_equal(np.sort(random.randperm_array(1000, g)), np.arange(1000))
    counts: dict[bytes, int] = {}
    for _ in range(6000):
        p = random.randperm_array(3, g).tobytes()
        counts[p] = counts.get(p, 0) + 1
    assert len(counts) == 6
    assert sum((c - 1000) ** 2 / 1000 for c in counts.values()) < 30


BAD = [
    (lambda: kernels.uniform((2,), 0, 0, 1, 0), ValueError, "uniform: the range"),
    (lambda: kernels.uniform((2,), 0, 0, 0, np.inf), ValueError, "uniform: the range"),
    (lambda: kernels.uniform((2,), 0, 0, -3e38, 3e38), ValueError, "uniform: high - low overflows float32"),
    (lambda: kernels.uniform((-1,), 0, 0), ValueError, "uniform: the size -1"),
    (lambda: kernels.uniform((2**40, 2**40), 0, 0), ValueError, "uniform: the shape"),
    (lambda: kernels.uniform((2,), 0, 0, dtype=np.int32), TypeError, "uniform: argument 'dtype' is int32"),
    (lambda: kernels.bernoulli((2,), 1.5, 0, 0), ValueError, "bernoulli: argument 'p'"),
    (lambda: kernels.bernoulli((2,), np.nan, 0, 0), ValueError, "bernoulli: argument 'p'"),
    (lambda: kernels.dropout(np.ones(3), -0.1, 0, 0), ValueError, "dropout: argument 'p'"),
    (lambda: kernels.dropout([1.0], 0.1, 0, 0), TypeError, "dropout: argument 'x'"),
    (lambda: kernels.dropout(np.ones(3, int), 0.1, 0, 0), TypeError, "dropout: argument 'x'"),
    (
        lambda: kernels.dropout_backward(np.ones(3), np.ones(4, bool), 0.1),
        ValueError,
        "dropout_backward: argument 'mask'",
    ),
    (lambda: kernels.dropout_backward(np.ones(3), np.ones(3), 0.1), TypeError, "dropout_backward: argument 'mask'"),
    (lambda: kernels.dropout_backward(np.ones(3), np.ones(3, bool), 2), ValueError, "dropout_backward: argument 'p'"),
    (lambda: random.randint_array(3, 3, (2,)), ValueError, "randint: low = 3"),
    (lambda: random.randperm_array(-1), ValueError, "randperm: argument 'n'"),
    (lambda: random.manual_seed(2**64), ValueError, "manual_seed: argument 'seed'"),
    (lambda: random.Generator("cuda"), ValueError, "Generator: argument 'device'"),
    (lambda: random.set_rng_state(np.zeros(3, np.uint8)), ValueError, "set_state: argument 'state'"),
    (lambda: kernels.normal((2,), 0, 0, np.nan, 1), ValueError, "normal: argument 'mean'"),
    (lambda: kernels.normal((2,), 0, 0, 0, np.inf), ValueError, "normal: argument 'std'"),
    (lambda: kernels.normal((2,), 0, 0, dtype="f2"), TypeError, "normal: argument 'dtype'"),
    (lambda: random.normal_array((2,), std=-1), ValueError, "normal: argument 'std'"),
]


@pytest.mark.parametrize(("call", "error", "match"), BAD, ids=range(len(BAD)))
def test_bad_input(call: Any, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        call()
