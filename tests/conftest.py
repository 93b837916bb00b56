"""Fixtures for every test: the ISA, the number of threads, a seeded generator."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from chainrule import _core


@pytest.fixture(params=_core.isa_available())
def isa(request: pytest.FixtureRequest) -> Iterator[str]:
    """Runs the test once under each ISA that the machine has."""
    before = _core.isa_in_use()
    _core.set_isa(request.param)
    yield request.param
    _core.set_isa(before)


@pytest.fixture(params=[1, 2, 5])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    """Runs the test with 1, 2 and 5 threads, small shapes included."""
    before = _core.get_num_threads()
    _core.set_num_threads(request.param)
    _core.set_serial_cost(0)
    yield request.param
    _core.set_serial_cost(-1)
    _core.set_num_threads(before)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


_begun: dict[str, dict[str, Any]] = {}


@pytest.fixture(autouse=True)
def numbers_that_no_other_test_moved(request: pytest.FixtureRequest) -> None:
    """A module's own generator starts anew for each test: the same numbers in any order, on any process."""
    for name in ("RNG", "rng"):
        generator = getattr(request.module, name, None)
        if isinstance(generator, np.random.Generator):
            bits = generator.bit_generator
            bits.state = _begun.setdefault(f"{request.module.__name__}.{name}", dict(bits.state))
