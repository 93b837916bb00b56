"""``python -m bench.crowded``: kernels alone, and beside a busy process pinned to one of this process's CPUs."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

import chainrule
from bench.timing import interleaved
from chainrule import kernels


def cases() -> dict[str, Callable[[], Any]]:
    rng = np.random.default_rng(0)
    normal = lambda *shape: rng.standard_normal(shape, dtype=np.float32)  # noqa: E731
    x, w, square, flat = normal(128, 256), normal(256, 256), normal(512, 512), normal(1 << 20)
    image, filters = normal(128, 16, 32, 32), normal(16, 16, 3, 3)
    return {
        "linear 128x256x256": lambda: kernels.linear(x, w),
        "linear 512x512x512": lambda: kernels.linear(square, square),
        "relu 1M": lambda: kernels.relu(flat),
        "conv2d 128x16x32x32, 3x3": lambda: kernels.conv2d(image, filters, None, 1, 1),
    }


def main() -> None:
    cpus = sorted(os.sched_getaffinity(0))
    chainrule.set_num_threads(len(cpus))
    alone = interleaved(cases(), spend=0.3)
    busy = subprocess.Popen(
        [sys.executable, "-c", f"import os; os.sched_setaffinity(0, {{{cpus[-1]}}})\nwhile True: pass"]
    )
    try:
        time.sleep(0.5)
        crowded = interleaved(cases(), spend=0.3)
    finally:
        busy.kill()
        busy.wait()
    for name, timing in alone.items():
        ratio = crowded[name].median / timing.median
        microseconds = timing.median * 1e6, crowded[name].median * 1e6
        print(f"{name:26} alone {microseconds[0]:8.1f} us, crowded {microseconds[1]:8.1f}: {ratio:.2f} times")


if __name__ == "__main__":
    main()
