"""Interleaved timing: every contender in every round, medians over the rounds.

Another library's idle workers spin after a call and take a core from the next contender: OpenMP's for some 12 ms,
OpenBLAS's for 80 to 100. So each waits until they sleep, and then runs for a while until its own are awake.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

SETTLE = 0.13  # seconds between contenders
WARM = 0.01  # seconds of each before it is timed


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


def warm(run: Callable[[], Any]) -> None:
    end = time.perf_counter() + WARM
    run()
    while time.perf_counter() < end:
        run()


def interleaved(
    runs: dict[str, Callable[[], Any]], rounds: int = 7, spend: float = 0.02, settle: float = SETTLE
) -> dict[str, Timing]:
    """Times each contender `rounds` times, for about `spend` seconds each time, `settle` after the one before."""
    calls = {}
    for name, run in runs.items():
        time.sleep(settle)
        warm(run)
        calls[name] = max(1, min(10_000, int(spend / max(once(run, 2), 1e-7))))
    samples: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            time.sleep(settle)
            warm(run)
            samples[name].append(once(run, calls[name]))
    return {name: Timing(statistics.median(s), min(s), max(s)) for name, s in samples.items()}
