"""Interleaved timing: every contender in every round, medians over the rounds.

Another library's idle OpenMP workers spin for some 12 ms after a call and take a core from the next contender, so
each waits until they sleep.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

SETTLE = 0.04  # seconds between contenders


@dataclass(frozen=True)
class Timing:
    """Seconds for one call."""

    median: float
    low: float
    high: float


def once(run: Callable[[], Any], calls: int) -> float:
    start = time.perf_counter()
    for _ in range(calls):
        run()
    return (time.perf_counter() - start) / calls


def interleaved(runs: dict[str, Callable[[], Any]], rounds: int = 7, spend: float = 0.02) -> dict[str, Timing]:
    """Times each contender `rounds` times, for about `spend` seconds each time."""
    calls = {}
    for name, run in runs.items():
        time.sleep(SETTLE)
        run()
        calls[name] = max(1, min(10_000, int(spend / max(once(run, 2), 1e-7))))
    samples: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            time.sleep(SETTLE)
            run()  # the first call after a pause wakes the threads
            samples[name].append(once(run, calls[name]))
    return {name: Timing(statistics.median(s), min(s), max(s)) for name, s in samples.items()}
