"""Seeds and generators, as in ``torch``: ``manual_seed``, ``Generator``, ``get_rng_state``.

A generator is a seed and the number of arrays drawn so far (the offset); what an array holds follows from these two
and the element's index, so the same program draws the same numbers with any number of threads and on every machine.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from chainrule import _core, kernels
from chainrule.tensor import Tensor, wrap

__all__ = [
    "Generator",
    "default_generator",
    "get_rng_state",
    "initial_seed",
    "manual_seed",
    "normal_array",
    "randint_array",
    "randperm_array",
    "seed",
    "set_rng_state",
    "uniform_array",
]

_WORD = 2**64


def _new_seed() -> int:
    return secrets.randbits(63)


class KeyTape:
    """The keys that a block of code drew, in order, to be drawn again: :class:`drawing_from`."""

    def __init__(self) -> None:
        self._keys: list[tuple[int, int]] = []
        self._at: int | None = None  # None: while they are noted
        self.outer: KeyTape | None = None  # of the block around the present one

    def next(self, draw: Callable[[], tuple[int, int]]) -> tuple[int, int]:
        if self._at is not None and self._at < len(self._keys):
            self._at += 1
            return self._keys[self._at - 1]
        key = draw() if self.outer is None else self.outer.next(draw)
        if self._at is None:
            self._keys.append(key)
        return key

    def rewind(self) -> None:
        """From here on the keys are given out again, from the first."""
        self._at = 0


class _Drawn(threading.local):
    keys: KeyTape | None = None


_drawn = _Drawn()


class drawing_from:
    """Inside of the block every key comes from the tape, or goes onto it."""

    def __init__(self, keys: KeyTape) -> None:
        self._keys = keys

    def __enter__(self) -> None:
        self._before = self._keys.outer = _drawn.keys
        _drawn.keys = self._keys

    def __exit__(self, *exc: object) -> None:
        _drawn.keys, self._keys.outer = self._before, None


class Generator:
    """A source of random numbers with its own seed. It starts with a random one: call :meth:`manual_seed`."""

    def __init__(self, device: str = "cpu") -> None:
        if str(device) != "cpu":
            raise ValueError(f"Generator: argument 'device' is {device!r}, want 'cpu'")
        self.device = "cpu"
        self._state = _core.Generator(_new_seed())

    def manual_seed(self, seed: int) -> Generator:
        """Starts the sequence of this seed. Negative seeds count from 2^64 downwards, as in torch."""
        try:
            number = int(seed)
        except (TypeError, ValueError):
            raise TypeError(f"manual_seed: argument 'seed' is {seed!r}, want an integer") from None
        if not -(_WORD // 2) <= number < _WORD:
            raise ValueError(f"manual_seed: argument 'seed' is {number}, want an integer in [-2^63, 2^64)")
        self._state.set_state(number % _WORD, 0)
        return self

    def seed(self) -> int:
        """Starts a sequence that nobody knows, and returns its seed."""
        number = _new_seed()
        self.manual_seed(number)
        return number

    def initial_seed(self) -> int:
        return self._state.get_state()[0]

    def get_state(self) -> Tensor:
        """Everything that fixes the numbers to come: 16 bytes (uint8), the seed and the offset."""
        return wrap(np.array(self._state.get_state(), "<u8").view(np.uint8))

    def set_state(self, state: Any) -> None:
        raw = np.ascontiguousarray(state._array if isinstance(state, Tensor) else state)
        if raw.dtype != np.uint8 or raw.shape != (16,):
            raise ValueError(
                f"set_state: argument 'state' is a {raw.dtype} array of shape {raw.shape}, want what get_state gave"
            )
        self._state.set_state(*(int(word) for word in raw.view("<u8")))

    def next_key(self) -> tuple[int, int]:
        """(seed, offset) for one array; no other array gets the same offset."""
        drawn = _drawn.keys
        return self._state.next() if drawn is None else drawn.next(self._state.next)

    def __getstate__(self) -> tuple[int, int]:
        return self._state.get_state()

    def __setstate__(self, state: tuple[int, int]) -> None:
        self.__init__()  # type: ignore[misc]
        self._state.set_state(*state)


default_generator = Generator()


def manual_seed(seed: int) -> Generator:
    """Seeds the default generator, which everything random uses that isn't given its own."""
    return default_generator.manual_seed(seed)


def seed() -> int:
    """Seeds the default generator with a number that nobody knows, and returns it."""
    return default_generator.seed()


def initial_seed() -> int:
    return default_generator.initial_seed()


def get_rng_state() -> Tensor:
    return default_generator.get_state()


def set_rng_state(new_state: Any) -> None:
    default_generator.set_state(new_state)


def _key(generator: Generator | None) -> tuple[int, int]:
    return (generator or default_generator).next_key()


def uniform_array(
    shape: Sequence[int], dtype: Any = np.float32, low: float = 0, high: float = 1, generator: Generator | None = None
) -> np.ndarray:
    """Uniform in [low, high), float32 or float64."""
    return kernels.uniform(shape, *_key(generator), low, high, dtype)


def normal_array(
    shape: Sequence[int], dtype: Any = np.float32, mean: float = 0, std: float = 1, generator: Generator | None = None
) -> np.ndarray:
    """Normal with this mean and standard deviation, float32 or float64."""
    return kernels.normal(shape, *_key(generator), mean, std, dtype)


def randint_array(low: int, high: int, shape: Sequence[int], generator: Generator | None = None) -> np.ndarray:
    """Integers (int64), each value of [low, high) equally likely."""
    return _core.randint(tuple(shape), low, high, *_key(generator))


def randperm_array(n: int, generator: Generator | None = None) -> np.ndarray:
    """A random permutation of 0..n-1 (int64)."""
    return _core.randperm(n, *_key(generator))
