"""``python -m bench.report``: times everything interleaved, writes bench/RESULTS.md and bench/results.png.

Options: --threads N (default 2), --rounds N, --step-rounds N (of training steps, if others), --only TEXT (cases whose
name contains it; nothing is written then).
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import chainrule
from bench import steps
from bench.cases import CASES
from bench.contenders import available, contenders, prepare
from bench.machine import taken
from bench.test_bench import prove_equal
from bench.timing import Timing, interleaved

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Row:
    name: str
    times: dict[str, Timing]
    rate: str  # GFLOP/s or GB/s of chainrule, where the case says how much work it is
    ours: str = "chainrule"

    @property
    def best(self) -> tuple[str, Timing]:
        peers = ((n, t) for n, t in self.times.items() if not n.startswith("chainrule"))
        return min(peers, key=lambda peer: peer[1].median)

    @property
    def ratio(self) -> float:
        return self.best[1].median / self.times[self.ours].median


def limit_threads(threads: int) -> None:
    chainrule.set_num_threads(threads)
    if "torch" in available():
        import torch

        torch.set_num_threads(threads)


def kernel_rows(only: str, rounds: int) -> list[Row]:
    rows = []
    for case in CASES:
        if only not in str(case):
            continue
        names = contenders(case)
        for name in names[1:]:
            prove_equal(case, name)
        times = interleaved({n: r for n in names if (r := prepare(n, case))}, rounds)
        ours = times["chainrule"].median
        rate = f"{case.flops / ours / 1e9:.0f} GFLOP/s" if case.flops else ""
        rate = rate or (f"{case.bytes / ours / 1e9:.0f} GB/s" if case.bytes else "")
        rows.append(Row(str(case), times, rate))
        print(line(rows[-1]), flush=True)
    return rows


def step_rows(only: str, rounds: int) -> list[Row]:
    rows = []
    for step in steps.STEPS:
        if only not in step.name:
            continue
        names = [*steps.contenders(), *steps.slow_to_begin()]
        runs: dict[str, Callable[[], Any]] = {n: r for n in names if (r := steps.prepare(n, step))}
        losses = {n: [run() for _ in range(3)] for n, run in runs.items()}
        for name, found in losses.items():
            if any(abs(a - b) > step.tolerance * abs(b) for a, b in zip(found, losses["chainrule"], strict=True)):
                raise SystemExit(f"{step.name}: losses of {name} {found} differ from {losses['chainrule']}")
        times = interleaved(runs, rounds, spend=0.1)
        rows.append(Row(step.name, times, ""))
        rows.append(Row(f"{step.name}, compiled", times, "", steps.COMPILED))
        print(line(rows[-2]), line(rows[-1]), sep="\n", flush=True)
    return rows


def microseconds(t: Timing) -> str:
    return f"{t.median * 1e6:.1f} ({t.low * 1e6:.1f} to {t.high * 1e6:.1f})"


def line(row: Row) -> str:
    name, best = row.best
    ours = row.times[row.ours]
    return f"| {row.name} | {microseconds(ours)} | {row.rate} | {name} {microseconds(best)} | {row.ratio:.2f} |"


def markdown(kernel: list[Row], step: list[Row], command: str, threads: int) -> str:
    head = "| case | chainrule, us | rate | best peer, us | ratio |\n|---|---|---|---|---|\n"
    median = statistics.median(r.ratio for r in kernel)
    return f"""# Results

{taken(threads)}
Command: `{command}`.

Medians (lowest to highest) of interleaved rounds, float32, results proved equal first. The ratio is the best peer's
time by ours: above 1, chainrule is faster. Shared machines are noisy: ratios hold, absolute times drift.

## Whole training steps (forward, backward, Adam; eager, and by `chainrule.compile`)

{head}{"".join(line(r) + chr(10) for r in step)}
## Kernels (median ratio {median:.2f})

{head}{"".join(line(r) + chr(10) for r in kernel)}
![ratio to the best peer, per case](results.png)
"""


def plot(rows: list[Row], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    rows = sorted(rows, key=lambda r: r.ratio)
    figure, axes = plt.subplots(figsize=(9, 0.22 * len(rows) + 1), layout="constrained")
    axes.barh([r.name for r in rows], [r.ratio for r in rows], color=["C0" if r.ratio >= 1 else "C3" for r in rows])
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_xscale("log")
    axes.set_xlabel("best peer's time / chainrule's time (right of 1: chainrule is faster)")
    axes.tick_params(axis="y", labelsize=7)
    axes.margins(y=0.005)
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--step-rounds", type=int)
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    limit_threads(options.threads)
    step_rounds = options.step_rounds or options.rounds
    step = step_rows(options.only, step_rounds)
    kernel = kernel_rows(options.only, options.rounds)
    if not options.only:
        command = f"python -m bench.report --threads {options.threads} --rounds {options.rounds}"
        if step_rounds != options.rounds:
            command += f" --step-rounds {step_rounds}"
        (HERE / "RESULTS.md").write_text(markdown(kernel, step, command, options.threads))
        plot(step + kernel, HERE / "results.png")


if __name__ == "__main__":
    main()
