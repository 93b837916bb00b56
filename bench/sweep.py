"""``python -m bench.sweep``: no shape is special. Each listed shape beside its neighbours, by its rate of work.

Neighbours of a size n are n - 1, n + 1, the next odd number by 5 % and the next power of two, one dimension at a time.
Writes ``SWEEP.md`` and ``sweep.png``: each neighbour's rate by that of the listed shape, timed in turn with it, and
those that fall more than 15 % below.

Options: --threads N (default 2), --rounds N, --only TEXT (groups whose name contains it; nothing is written then).
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import chainrule
from bench.machine import taken
from bench.timing import interleaved
from chainrule import kernels

HERE = Path(__file__).parent
ENOUGH = 0.85  # of the listed shape's rate

Shape = tuple[int, ...]
Runs = dict[str, Callable[[], Any]]  # by pass


def product(shape: Shape) -> tuple[float, Runs]:
    m, n, k = shape
    x, w, dy = normal((m, k), (n, k), (m, n))
    return 2.0 * m * n * k, {
        "forward": lambda: kernels.linear(x, w),
        "dX": lambda: kernels.linear_backward(dy, x, w, needs=(True, False, False)),
        "dW": lambda: kernels.linear_backward(dy, x, w, needs=(False, True, False)),
    }


def convolution(kernel: int, stride: int, padding: int) -> Callable[[Shape], tuple[float, Runs]]:
    def passes(shape: Shape) -> tuple[float, Runs]:
        batch, inside, size, outside = shape
        out = (size + 2 * padding - kernel) // stride + 1
        shapes = ((batch, inside, size, size), (outside, inside, kernel, kernel), (batch, outside, out, out))
        x, w, dy = normal(*shapes)
        return 2.0 * batch * inside * outside * out * out * kernel**2, {
            "forward": lambda: kernels.conv2d(x, w, None, stride, padding),
            "dX": lambda: kernels.conv2d_backward_input(dy, w, x.shape, stride, padding),
            "dW": lambda: kernels.conv2d_backward_weight(dy, x, w.shape, stride, padding),
        }

    return passes


def depthwise(shape: Shape) -> tuple[float, Runs]:
    batch, channels, size = shape
    x, w, dy = normal((batch, channels, size, size), (channels, 1, 3, 3), (batch, channels, size, size))
    return 18.0 * x.size, {
        "forward": lambda: kernels.conv2d(x, w, None, 1, 1, 1, channels),
        "dX": lambda: kernels.conv2d_backward_input(dy, w, x.shape, 1, 1, 1, channels),
        "dW": lambda: kernels.conv2d_backward_weight(dy, x, w.shape, 1, 1, 1, channels),
    }


def attention(shape: Shape) -> tuple[float, Runs]:
    batch, heads, length, depth = shape
    q, k, v, dout = normal(*4 * [shape])
    out, lse = kernels.attention(q, k, v, True)
    return 2.0 * batch * heads * length * length * depth, {
        "forward": lambda: kernels.attention(q, k, v, True),
        "backward": lambda: kernels.attention_backward(dout, q, k, v, out, lse, True),
    }


def layer_norm(shape: Shape) -> tuple[float, Runs]:
    x, dy, w = normal(shape, shape, shape[1:])
    _, mean, rstd = kernels.layer_norm(x, w, w)
    return 1.0 * x.size, {
        "forward": lambda: kernels.layer_norm(x, w, w),
        "backward": lambda: kernels.layer_norm_backward(dy, x, mean, rstd, w),
    }


def cross_entropy(shape: Shape) -> tuple[float, Runs]:
    (x,) = normal(shape)
    target = np.random.default_rng(0).integers(0, shape[1], shape[0])
    _, stats, total = kernels.cross_entropy(x, target)
    one = np.ones((), np.float32)
    return 1.0 * x.size, {
        "forward": lambda: kernels.cross_entropy(x, target),
        "backward": lambda: kernels.cross_entropy_backward(one, x, target, stats, total),
    }


def max_pool(kernel: int, stride: int) -> Callable[[Shape], tuple[float, Runs]]:
    def passes(shape: Shape) -> tuple[float, Runs]:
        batch, channels, size = shape
        (x,) = normal((batch, channels, size, size))
        return 1.0 * x.size, {"forward": lambda: kernels.max_pool2d(x, kernel, stride)}

    return passes


def adamw(shape: Shape) -> tuple[float, Runs]:
    p, g, m, v = (np.zeros(shape, np.float32) for _ in range(4))
    step = np.zeros((), np.int64)
    return 1.0 * p.size, {"step": lambda: kernels.adam([p], [g], [m], [v], None, [step], lr=1e-3, decoupled=True)}


def gelu(shape: Shape) -> tuple[float, Runs]:
    x, dy = normal(shape, shape)
    return 1.0 * x.size, {"forward": lambda: kernels.gelu(x), "backward": lambda: kernels.gelu_backward(dy, x)}


def normal(*shapes: Shape) -> list[Any]:
    rng = np.random.default_rng(0)
    return [rng.standard_normal(s, dtype=np.float32) for s in shapes]


# What the listed shapes' numbers are, and the shapes.
LISTED: list[tuple[str, Callable[[Shape], tuple[float, Runs]], list[Shape]]] = [
    (
        "linear",  # rows, outputs, inputs
        product,
        [
            *[(64, 64, 64), (128, 128, 128), (100, 300, 300), (32, 128, 784), (1, 512, 512), (256, 256, 256)],
            *[(512, 512, 512), (128, 512, 784), (512, 512, 128), (64, 1000, 4096), (1024, 1024, 1024)],
            *[(1024, 3072, 768), (2048, 2048, 2048), (8192, 256, 256)],
        ],
    ),
    (
        "conv2d 3x3",  # batch, channels in, height and width, channels out
        convolution(3, 1, 1),
        [(128, 16, 32, 16), (128, 32, 16, 32), (128, 64, 8, 64), (16, 64, 56, 64)],
    ),
    ("conv2d 3x3 stride 2", convolution(3, 2, 1), [(16, 128, 28, 128)]),
    ("conv2d 5x5", convolution(5, 1, 0), [(64, 1, 28, 6), (64, 6, 12, 16)]),
    ("conv2d 1x1", convolution(1, 1, 0), [(16, 256, 28, 64), (16, 256, 56, 64)]),
    ("conv2d 7x7 stride 2", convolution(7, 2, 3), [(8, 3, 224, 64)]),
    ("depthwise 3x3", depthwise, [(8, 96, 28), (32, 96, 56)]),  # batch, channels, height and width
    ("max_pool2d 2x2", max_pool(2, 2), [(64, 32, 28)]),
    ("max_pool2d 3x3 stride 2", max_pool(3, 2), [(64, 32, 28)]),
    ("attention", attention, [(12, 4, 64, 32), (4, 8, 512, 64)]),  # batch, heads, positions, depth
    ("layer_norm", layer_norm, [(768, 768), (768, 128)]),
    ("cross_entropy", cross_entropy, [(768, 65)]),
    ("gelu", gelu, [(768, 512)]),
    ("AdamW", adamw, [(1000,), (100_000,), (1_000_000,)]),
]


@dataclass(frozen=True)
class Group:
    """A listed shape and its neighbours in one pass."""

    name: str
    rate: float  # units of work per second of the listed shape
    others: dict[Shape, float]  # neighbours: their rate by that

    @property
    def behind(self) -> dict[Shape, float]:
        return {s: r for s, r in sorted(self.others.items(), key=lambda item: item[1]) if r < ENOUGH}


def next_power(n: int) -> int:
    return 1 << n.bit_length()


def neighbours(shape: Shape) -> list[Shape]:
    found = [shape]
    for axis, n in enumerate(shape):
        for other in (n - 1, n + 1, n + n // 20 | 1, next_power(n)):
            changed = (*shape[:axis], other, *shape[axis + 1 :])
            if other > 0 and changed not in found:
                found.append(changed)
    return found


def text(shape: Shape) -> str:
    return "x".join(map(str, shape))


def measure(name: str, passes: Callable[[Shape], tuple[float, Runs]], shape: Shape, rounds: int) -> Iterator[Group]:
    """A listed shape and its neighbours in turn, pass by pass."""
    made = {other: passes(other) for other in neighbours(shape)}
    for kind in made[shape][1]:
        times = interleaved({text(s): runs[kind] for s, (_, runs) in made.items()}, rounds, spend=0.006, settle=0)
        # The fastest round: another program may have had a core in some of them.
        rates = {s: work / times[text(s)].low for s, (work, _) in made.items()}
        yield Group(
            f"{name} {text(shape)} {kind}", rates[shape], {s: r / rates[shape] for s, r in rates.items() if s != shape}
        )


def row(group: Group) -> str:
    rates = group.others.values()
    behind = ", ".join(f"{text(s)} {r:.2f}" for s, r in group.behind.items())
    return (
        f"| {group.name} | {group.rate / 1e9:.3g} | {min(rates):.2f} to {max(rates):.2f}, "
        f"median {statistics.median(rates):.2f} | {behind} |"
    )


def write(groups: list[Group], threads: int) -> None:
    inside = sum(len(g.others) - len(g.behind) for g in groups)
    count = sum(len(g.others) for g in groups)
    table = "\n".join(map(row, groups))
    (HERE / "SWEEP.md").write_text(
        f"""# The neighbours of the listed shapes

{taken(threads)}
Command: `python -m bench.sweep --threads {threads}`.

Float32, the fastest of some rounds, each listed shape in turn with its neighbours: every size one less, one more, an
odd number 5 % larger, and the next power of two, one at a time. Rates are work by time: of products 10^9 operations a
second, of the rest 10^9 elements. A neighbour is behind if its rate is under {ENOUGH} of the listed shape's: {inside}
of {count} are not.

| listed shape, pass | rate | neighbours' rates by that | behind |
|---|---|---|---|
{table}

![each neighbour's rate by that of the listed shape](sweep.png)
"""
    )


def plot(groups: list[Group], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(9, 0.16 * len(groups) + 1), layout="constrained")
    for place, group in enumerate(groups):
        rates = [min(r, 2.0) for r in group.others.values()]
        colors = ["C0" if r >= ENOUGH else "C3" for r in rates]
        axes.scatter(rates, [place] * len(rates), c=colors, s=8)
    axes.axvline(1, color="0.3", linewidth=0.8)
    axes.axvline(ENOUGH, color="0.6", linewidth=0.8, linestyle="--")
    axes.set_yticks(range(len(groups)), [g.name for g in groups], fontsize=6)
    axes.set_ylim(len(groups) - 0.3, -0.7)
    axes.set_xlim(0, 2.05)
    axes.set_xlabel("rate of work by that of the listed shape (2 and more at the edge; red: more than 15 % behind)")
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    chainrule.set_num_threads(options.threads)
    groups = []
    for name, passes, shapes in LISTED:
        for shape in shapes:
            if options.only not in f"{name} {text(shape)}":
                continue
            for group in measure(name, passes, shape, options.rounds):
                print(row(group), flush=True)
                groups.append(group)
    if not options.only:
        write(groups, options.threads)
        plot(groups, HERE / "sweep.png")


if __name__ == "__main__":
    main()
