"""The line over every table: when, on which machine and with which versions its figures were taken."""

from __future__ import annotations

import datetime
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import chainrule


def taken(threads: int) -> str:
    """Today's date, the processor, the threads and instruction set, and the versions of Python and the peers."""
    where = f"{processor()}, {threads} threads, {chainrule.isa_in_use()}; {platform.system()}"
    return f"{datetime.date.today().isoformat()}; {where}, Python {platform.python_version()}, {versions()}."


def processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(s.split(":", 1)[1].strip() for s in lines if s.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def versions() -> str:
    found = []
    for package in ("numpy", "torch", "jax"):
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            found.append(f"{package} not installed")
    return ", ".join(found)
