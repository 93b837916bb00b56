"""Memory: alignment, reuse, statistics, limits."""

from __future__ import annotations

import gc
import os
import threading

import numpy as np
import pytest

from chainrule import _core, kernels
from tests.runtime import output

MB = 1 << 20


def stats() -> dict[str, int]:
    gc.collect()
    return _core.memory_stats()


def block(size: int) -> np.ndarray:
    """An array of this many bytes from the pool (of 4 bytes each, rounded up)."""
    return kernels.relu(np.zeros(-(-size // 4), np.float32))


SIZES = [0, 1, 63, 64, 65, 1000, 1024, 1025, 2048, 2049, 4096, 65536, 65537, MB, 2 * MB - 4, 2 * MB, 2 * MB + 4, 5 * MB]


@pytest.mark.parametrize("size", SIZES)
def test_blocks_are_aligned_apart_and_little_larger_than_asked(size: int) -> None:
    before = stats()["allocated_bytes"]
    a, b = block(size), block(size)
    assert a.ctypes.data % 64 == 0
    assert b.ctypes.data % 64 == 0
    a[:], b[:] = 1, 2
    assert np.all(a == 1)
    taken = (stats()["allocated_bytes"] - before) // 2
    assert size <= taken <= max(size * 9 / 8, size + 64) + 64
    del a, b
    assert stats()["allocated_bytes"] == before


def test_powers_of_two_waste_nothing() -> None:
    before = stats()["allocated_bytes"]
    a = block(1 << 16)
    assert stats()["allocated_bytes"] - before == (1 << 16) + 64
    del a


def test_a_block_is_used_again() -> None:
    _core.empty_cache()
    for size in (100, 10_000, 3 * MB):
        a = block(size)
        address = a.ctypes.data
        del a
        before = stats()
        b = block(size)
        after = stats()
        assert b.ctypes.data == address
        assert after["reuses"] - before["reuses"] == 1
        assert after["reserved_bytes"] == before["reserved_bytes"]


def test_empty_cache_gives_back_what_is_not_in_use() -> None:
    _core.empty_cache()
    held = block(MB)
    base = stats()
    assert base["reserved_bytes"] == base["allocated_bytes"]
    for size in SIZES:
        block(size)
    assert stats()["reserved_bytes"] > base["reserved_bytes"] + 5 * MB
    _core.empty_cache()
    now = stats()
    assert now["reserved_bytes"] == now["allocated_bytes"] == base["allocated_bytes"]
    assert held[0] == 0


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="needs /proc")
def test_given_back_means_given_back_to_the_system() -> None:
    def resident() -> int:
        with open("/proc/self/statm") as f:
            return int(f.read().split()[1]) * os.sysconf("SC_PAGESIZE")

    a = block(200 * MB)
    a[:] = 1
    high = resident()
    del a
    _core.empty_cache()
    assert high - resident() > 150 * MB


def test_peak() -> None:
    peak = stats()["peak_allocated_bytes"]
    size = peak - stats()["allocated_bytes"] + 10 * MB
    a = block(size)
    assert stats()["peak_allocated_bytes"] >= peak + 10 * MB
    del a
    assert stats()["peak_allocated_bytes"] >= peak + 10 * MB


def test_ever_new_sizes_do_not_pile_up() -> None:
    """Each of 150 size classes is used once: kept blocks stay under a quarter of the peak and 64 MB."""
    code = """
        import numpy as np
        from chainrule import _core, kernels
        size = 2000
        x = np.zeros(5_000_000, np.float32)
        for _ in range(3):
            for n in range(10_000, x.size, 60_000):
                kernels.relu(x[:n])
        s = _core.memory_stats()
        print(s["reserved_bytes"] <= 1.25 * s["peak_allocated_bytes"] + 64 * 2**20, s["reserved_bytes"] > 0)
    """
    assert output(code) == "True True"


def test_a_block_that_memory_cannot_hold() -> None:
    before = stats()["allocated_bytes"]
    for shape in [(1 << 45,), (1 << 60,)]:
        with pytest.raises(MemoryError):
            kernels.uniform(shape, 0, 0)
    assert stats()["allocated_bytes"] == before


def test_threads_share_the_pool() -> None:
    before = stats()["allocated_bytes"]
    wrong = []

    def churn(seed: int) -> None:
        rng = np.random.default_rng(seed)
        held: list[tuple[float, np.ndarray]] = []
        for i in range(2000):
            a = block(int(rng.integers(0, 30_000)))
            a[:] = seed * 10_000 + i
            held.append((seed * 10_000 + i, a))
            if len(held) > 8:
                value, old = held.pop(int(rng.integers(8)))
                if not np.all(old == value):
                    wrong.append(seed)

    threads = [threading.Thread(target=churn, args=(i,)) for i in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert wrong == []
    assert stats()["allocated_bytes"] == before
