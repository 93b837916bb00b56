"""chainrule.peaks: rates of this machine, for each instruction set."""

from __future__ import annotations

import math

import pytest

import chainrule
from chainrule.cli import main


def test_rates_are_those_of_a_machine(isa: str) -> None:
    """Bounds that any CPU keeps: from a tenth of a GFLOP/s or GB/s to a thousand of them per thread."""
    rates = chainrule.peaks()
    assert set(rates) == {"float32_flops", "float64_flops", "cache_bytes", "memory_read_bytes", "memory_bytes"}
    most = 1e12 * chainrule.get_num_threads()
    assert all(math.isfinite(rate) and 1e8 < rate < most for rate in rates.values()), rates


def test_info_prints_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", "--peaks"]) == 0
    printed = capsys.readouterr().out
    assert printed.count("GFLOP/s") == 2
    assert printed.count("GB/s") == 3
    assert main(["info"]) == 0
    assert "GFLOP/s" not in capsys.readouterr().out
