"""Tests of csrc/runtime. Much of it needs a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import chainrule

PACKAGE = str(Path(chainrule.__file__).parents[1])


def python(code: str, timeout: float = 60, **env: str) -> subprocess.CompletedProcess[str]:
    """Runs code in a fresh interpreter with these environment variables beside the usual ones."""
    variables = {k: v for k, v in os.environ.items() if not k.startswith(("OMP_", "CHAINRULE_"))}
    variables |= {"PYTHONPATH": PACKAGE, **env}
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], env=variables, capture_output=True, text=True, timeout=timeout
    )


def output(code: str, timeout: float = 60, **env: str) -> str:
    """What the code prints; the test fails if the process fails or writes to its stderr."""
    done = python(code, timeout, **env)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout.strip()
