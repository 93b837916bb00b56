"""Generators: seeds, states, independence."""

from __future__ import annotations

import copy
import pickle

import numpy as np

from chainrule import random


def test_manual_seed_repeats_the_numbers() -> None:
    draws = []
    for _ in range(2):
        random.manual_seed(42)
        draws.append([random.uniform_array((5,)), random.normal_array((5,)), random.randperm_array(9)])
    for a, b in zip(*draws, strict=True):
        np.testing.assert_array_equal(a, b)
    assert random.initial_seed() == 42
    assert not np.array_equal(random.uniform_array((5,)), random.uniform_array((5,)))


def test_a_generator_is_apart_from_the_default() -> None:
    random.manual_seed(1)
    before = random.get_rng_state().numpy().copy()
    own = random.Generator().manual_seed(1)
    a = random.uniform_array((4,), generator=own)
    np.testing.assert_array_equal(random.get_rng_state().numpy(), before)
    np.testing.assert_array_equal(random.uniform_array((4,)), a)


def test_state_brings_the_numbers_back() -> None:
    g = random.Generator()
    random.uniform_array((4,), generator=g)
    state, twin, pickled = g.get_state(), copy.deepcopy(g), pickle.loads(pickle.dumps(g))
    expected = random.uniform_array((4,), generator=g)
    g.set_state(state)
    for source in (g, twin, pickled):
        np.testing.assert_array_equal(random.uniform_array((4,), generator=source), expected)


def test_seeds() -> None:
    assert random.Generator().initial_seed() != random.Generator().initial_seed()
    g = random.Generator().manual_seed(-1)
    assert g.initial_seed() == 2**64 - 1
    assert g.seed() == g.initial_seed() != 2**64 - 1
