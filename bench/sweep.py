"""``python -m bench.sweep``: no shape is special. Each listed shape beside its neighbours, as a share of the FMA peak.

Neighbours of a size n are n - 1, n + 1, the next odd number by 5 % and the next power of two, one dimension at a time.
Writes ``sweep.png``; prints each group's lowest share beside that of the listed shape.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import chainrule
from bench.timing import interleaved
from chainrule import kernels

PRODUCTS = [
    (64, 64, 64),
    (128, 128, 128),
    (100, 300, 300),
    (32, 128, 784),
    (256, 256, 256),
    (128, 512, 784),
    (512, 512, 512),
    (64, 1000, 4096),
]
CONVOLUTIONS = [
    (32, 16, 32, 16),
    (32, 64, 8, 64),
    (64, 6, 12, 16),
]  # batch, channels in, height and width, channels out


@dataclass(frozen=True)
class Group:
    """A listed shape (the first) and its neighbours: shares of the peak, by pass."""

    name: str
    shares: dict[str, list[float]]


def next_power(n: int) -> int:
    return 1 << n.bit_length()


def neighbours(shape: tuple[int, ...]) -> list[tuple[int, ...]]:
    found = [shape]
    for axis, n in enumerate(shape):
        for other in (n - 1, n + 1, n + n // 20 | 1, next_power(n)):
            changed = (*shape[:axis], other, *shape[axis + 1 :])
            if other > 0 and changed not in found:
                found.append(changed)
    return found


def product_passes(shape: tuple[int, ...]) -> tuple[float, dict[str, Callable[[], Any]]]:
    m, n, k = shape
    rng = np.random.default_rng(0)
    x, w, dy = (rng.standard_normal(s, dtype=np.float32) for s in ((m, k), (n, k), (m, n)))
    return 2.0 * m * n * k, {
        "linear": lambda: kernels.linear(x, w),
        "dX": lambda: kernels.linear_backward(dy, x, w, needs=(True, False, False)),
        "dW": lambda: kernels.linear_backward(dy, x, w, needs=(False, True, False)),
    }


def convolution_passes(shape: tuple[int, ...]) -> tuple[float, dict[str, Callable[[], Any]]]:
    batch, inside, size, outside = shape
    rng = np.random.default_rng(0)
    shapes = ((batch, inside, size, size), (outside, inside, 3, 3), (batch, outside, size, size))
    x, w, dy = (rng.standard_normal(s, dtype=np.float32) for s in shapes)
    return 2.0 * batch * inside * outside * size * size * 9, {
        "conv2d": lambda: kernels.conv2d(x, w, None, 1, 1),
        "dX": lambda: kernels.conv2d_backward_input(dy, w, x.shape, 1, 1),
        "dW": lambda: kernels.conv2d_backward_weight(dy, x, w.shape, 1, 1),
    }


def measure(name: str, passes: Callable[[tuple[int, ...]], Any], shape: tuple[int, ...], peak: float) -> Group:
    shares: dict[str, list[float]] = {}
    for other in neighbours(shape):
        work, runs = passes(other)
        for kind, timing in interleaved(runs, rounds=3, spend=0.01).items():
            shares.setdefault(kind, []).append(work / timing.median / peak)
    group = Group(f"{name} {'x'.join(map(str, shape))}", shares)
    for kind, found in shares.items():
        print(f"{group.name:24} {kind:7} {found[0]:.2f} of peak, neighbours {min(found):.2f} to {max(found):.2f}")
    return group


def plot(groups: list[Group], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(9, 0.35 * 3 * len(groups) + 1), layout="constrained")
    labels = []
    for group in groups:
        for kind, shares in group.shares.items():
            row = len(labels)
            axes.plot(shares[1:], [row] * (len(shares) - 1), "o", color="C0", markersize=3)
            axes.plot(shares[:1], [row], "D", color="C3", markersize=5)
            labels.append(f"{group.name} {kind}")
    axes.set_yticks(range(len(labels)), labels, fontsize=7)
    axes.invert_yaxis()
    axes.set_xlim(0, 1)
    axes.set_xlabel("share of the measured FMA peak (diamond: the listed shape; dots: its neighbours)")
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    chainrule.set_num_threads(parser.parse_args().threads)
    peak = chainrule.peaks()["float32_flops"]
    print(f"peak {peak / 1e9:.0f} GFLOP/s")
    groups = [measure("linear", product_passes, shape, peak) for shape in PRODUCTS]
    groups += [measure("conv2d 3x3", convolution_passes, shape, peak) for shape in CONVOLUTIONS]
    plot(groups, Path(__file__).parent / "sweep.png")


if __name__ == "__main__":
    main()
