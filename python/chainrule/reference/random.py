"""Twins: random numbers and dropout. :func:`philox` is the specification of the generator."""

from collections.abc import Sequence
from typing import Any

import numpy as np

__all__ = ["bernoulli", "dropout", "dropout_backward", "normal", "philox", "random_words", "uniform"]

Array = np.ndarray
_LOW = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)


def philox(counter: Array, key: Array) -> Array:
    """Philox 4x32-10: counters (..., 4) and keys (..., 2) of 32-bit words to blocks (..., 4)."""
    c = [counter[..., i].astype(np.uint64) for i in range(4)]
    k = [key[..., i].astype(np.uint64) for i in range(2)]
    for _ in range(10):
        p0, p1 = np.uint64(0xD2511F53) * c[0], np.uint64(0xCD9E8D57) * c[2]
        c = [(p1 >> _HALF) ^ c[1] ^ k[0], p1 & _LOW, (p0 >> _HALF) ^ c[3] ^ k[1], p0 & _LOW]
        k = [(k[0] + np.uint64(0x9E3779B9)) & _LOW, (k[1] + np.uint64(0xBB67AE85)) & _LOW]
    return np.stack(c, axis=-1)


def random_words(n: int, seed: int, offset: int, bits: int) -> Array:
    """The random 32- or 64-bit words of elements 0..n-1, as uint64."""
    i = np.arange(n)
    per_vec = 512 // bits
    group, half, lane = i // (2 * per_vec), i % (2 * per_vec) // per_vec, i % per_vec
    block = (8 * group + lane * bits // 64).astype(np.uint64)
    counter = np.stack(
        [block & _LOW, block >> _HALF, *np.broadcast_arrays(offset & 0xFFFFFFFF, offset >> 32, block)[:2]], -1
    )
    words = philox(counter, np.array([seed & 0xFFFFFFFF, seed >> 32]))
    first = 2 * half + (lane % 2 if bits == 32 else 0)
    low: Array = words[i, first]
    return low if bits == 32 else low | (words[i, first + 1] << _HALF)


def _units(n: int, seed: int, offset: int, dtype: Any) -> Array:
    """Uniform in [0, 1), as float64."""
    if np.dtype(dtype) == np.float32:
        return (random_words(n, seed, offset, 32) >> np.uint64(8)) * 2.0**-24
    return (random_words(n, seed, offset, 64) >> np.uint64(12)) * 2.0**-52


def uniform(
    shape: Sequence[int], seed: int, offset: int, low: float = 0, high: float = 1, dtype: Any = np.float32
) -> Array:
    u = _units(int(np.prod(shape)), seed, offset, dtype).reshape(shape)
    return np.asarray(low + u * (high - low))


def normal(
    shape: Sequence[int], seed: int, offset: int, mean: float = 0, std: float = 1, dtype: Any = np.float32
) -> Array:
    n, size = int(np.prod(shape)), 64 // np.dtype(dtype).itemsize
    padded = -(-n // (2 * size)) * 2 * size
    u = _units(padded, seed, offset, dtype).reshape(-1, 2, size)
    r, quarters = np.sqrt(-2 * np.log(1 - u[:, 0])), np.rint(4 * u[:, 1])
    angle = np.pi / 2 * (4 * u[:, 1] - quarters)  # of 2 pi u, less its whole quarter turns: exact near the zeros
    turned = np.exp(1j * angle) * np.array([1, 1j, -1, -1j])[quarters.astype(int) % 4]
    z = np.stack([r * turned.real, r * turned.imag], 1).reshape(-1)[:n]
    return np.asarray(mean + std * z).reshape(shape)


def bernoulli(shape: Sequence[int], p: float, seed: int, offset: int, dtype: Any = np.float32) -> Array:
    return (_units(int(np.prod(shape)), seed, offset, np.float32) < p).astype(dtype).reshape(shape)


def dropout(x: Array, p: float, seed: int, offset: int) -> tuple[Array, Array]:
    mask = (_units(x.size, seed, offset, np.float32) >= p).reshape(x.shape)
    return dropout_backward(x, mask, p), mask


def dropout_backward(dy: Array, mask: Array, p: float) -> Array:
    scale = dy.dtype.type(0 if p == 1 else 1 / (1 - p))
    return np.where(mask, dy * scale, np.zeros((), dy.dtype))
