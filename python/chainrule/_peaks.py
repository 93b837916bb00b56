"""What this machine can do at most: the roof that a kernel's speed is held against."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from chainrule import _core, kernels

__all__ = ["peaks"]

MEGABYTE = 2**20


def peaks() -> dict[str, float]:
    """Measures the machine with as many threads as :func:`get_num_threads`, in about a second.

    Returns a dict of rates per second, the best of several runs each:

    ``float32_flops``, ``float64_flops``
        operations of fused multiply-adds in registers (two each), on the instruction set in use.
    ``cache_bytes``
        read and written by an addition of arrays that lie in the cores' caches (3 x 128 KB for each thread).
    ``memory_read_bytes``
        read by a sum over 256 MB, which no cache holds.
    ``memory_bytes``
        read and written by an addition of arrays of 128 MB each. What writing costs beyond that (a line is read
        before it is written) isn't counted, as in the rates of the benchmarks.

    Other processes lower all of them: measure on a quiet machine.
    """
    threads = _core.get_num_threads()
    small, small_too = np.ones((2, threads * MEGABYTE // 8 // 4), np.float32)
    large, large_too = np.ones((2, 128 * MEGABYTE // 4), np.float32)
    total = np.ones(256 * MEGABYTE // 4, np.float32)
    return {
        "float32_flops": _core.multiply_add_rate(False),
        "float64_flops": _core.multiply_add_rate(True),
        "cache_bytes": 3 * small.nbytes / _best(lambda: kernels.add(small, small_too), 2000),
        "memory_read_bytes": total.nbytes / _best(lambda: kernels.sum(total), 5),
        "memory_bytes": 3 * large.nbytes / _best(lambda: kernels.add(large, large_too), 5),
    }


def _best(run: Callable[[], object], times: int) -> float:
    """The least seconds of a call; the first one, which wakes threads and touches memory, doesn't count."""
    run()
    least = float("inf")
    for _ in range(times):
        start = time.perf_counter()
        run()
        least = min(least, time.perf_counter() - start)
    return least
