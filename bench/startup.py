"""``python -m bench.startup``: what a process costs before it trains, and the memory that two nets take to train.

Each figure is the median of fresh processes: the import after NumPy's, the time from a process's start to the end of
the first step of the MNIST MLP, and the peak resident memory of training nanoGPT and ResNet-20 (10 compiled steps).
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

PROCESSES = 7

IMPORT = """
import time, numpy
start = time.perf_counter()
import chainrule, chainrule.nn, chainrule.optim
print(time.perf_counter() - start)
"""

FIRST_STEP = """
import numpy as np, chainrule
from chainrule import nn, optim
from chainrule.nn import functional as F
model = nn.Sequential(nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 256), nn.ReLU(), nn.Linear(256, 10))
optimizer = optim.Adam(model.parameters(), lr=1e-3)
x, y = chainrule.randn(128, 784), chainrule.randint(0, 10, (128,))
F.cross_entropy(model(x), y).backward()
optimizer.step()
"""

TRAINING = """
import resource, sys
import numpy as np, chainrule
from bench.nets import NETS
net = next(n for n in NETS if n.name.startswith(sys.argv[1]))
model = net.model(chainrule)
optimizer = chainrule.optim.Adam(model.parameters(), lr=1e-3)

@chainrule.compile
def step(*batch):
    optimizer.zero_grad()
    loss = net.loss(chainrule, model, *batch)
    loss.backward()
    optimizer.step()
    return loss

for _ in range(10):
    step(*map(chainrule.from_numpy, net.batch(np.random.default_rng(1))))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def fresh(code: str, *args: str) -> str:
    # With compiled modules kept, as an installed wheel has them.
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    command = [sys.executable, "-c", code, *args]
    return subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout


def median_of(sample: Callable[[], float]) -> float:
    return statistics.median(sample() for _ in range(PROCESSES))


def duration(code: str) -> float:
    start = time.perf_counter()
    fresh(code)
    return time.perf_counter() - start


def main() -> None:
    fresh(FIRST_STEP)  # the files are in memory from here on
    print(f"import after NumPy          {median_of(lambda: float(fresh(IMPORT))) * 1e3:8.1f} ms")
    print(f"NumPy's own import          {median_of(lambda: duration('import numpy')) * 1e3:8.1f} ms with the process")
    print(f"start to first step's end   {median_of(lambda: duration(FIRST_STEP)) * 1e3:8.1f} ms")
    for net in ("nanoGPT", "ResNet-20"):
        peak = statistics.median(float(fresh(TRAINING, net)) for _ in range(3))
        print(f"{net + ', peak memory':27} {peak:8.1f} MB")


if __name__ == "__main__":
    main()
