"""Kernels compute in one floating-point environment, and leave the caller's as it was."""

from __future__ import annotations

import ctypes
import ctypes.util
import os
import platform
from pathlib import Path

import numpy as np
import pytest

from chainrule import kernels
from tests.runtime import output

libm = ctypes.CDLL(ctypes.util.find_library("m"))
FE_DOWNWARD, FE_UPWARD, FE_TOWARDZERO = 0x400, 0x800, 0xC00
X86 = pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="the numbers below are x86's")
FLUSH = 0x8040  # flush to zero, denormals are zero


def get_mxcsr() -> int:
    env = (ctypes.c_uint32 * 8)()
    libm.fegetenv(env)
    return env[7]


def set_mxcsr(word: int) -> None:
    env = (ctypes.c_uint32 * 8)()
    libm.fegetenv(env)
    env[7] = word
    libm.fesetenv(env)


# Exact in float32, as is their difference: what Python and NumPy compute is subject to the caller's environment.
LOW, HIGH = 0.125, float(np.float32(0.7))
DENORMALS = np.full(50000, 1e-40, np.float32)


def bits() -> bytes:
    """Sums and products that round, and results that are denormal, in several chunks."""
    return kernels.uniform((50000,), 1, 2, LOW, HIGH).tobytes() + kernels.dropout(DENORMALS, 0.5, 1, 2)[0].tobytes()


@X86
@pytest.mark.parametrize("mode", [FE_DOWNWARD, FE_UPWARD, FE_TOWARDZERO])
def test_rounding_mode_of_the_caller(mode: int, threads: int, isa: str) -> None:
    expected = bits()
    try:
        libm.fesetround(mode)
        got = bits()
        after = libm.fegetround()
    finally:
        libm.fesetround(0)
    assert got == expected
    assert after == mode


@X86
def test_flush_to_zero_of_the_caller(threads: int, isa: str) -> None:
    expected = bits()
    assert np.any(np.frombuffer(expected[200000:], np.float32) > 0), "denormals are kept"
    before = get_mxcsr()
    try:
        set_mxcsr(before | FLUSH)
        got = bits()
        after = get_mxcsr()
    finally:
        set_mxcsr(before)
    assert got == expected
    assert after & FLUSH == FLUSH


@X86
def test_status_flags_of_the_caller_are_kept(threads: int) -> None:
    """Rounding raises "inexact" inside; the caller must not find it."""
    before = get_mxcsr()
    try:
        set_mxcsr(before & ~0x3F)
        kernels.uniform((10000,), 1, 2, LOW, HIGH)
        after = get_mxcsr()
    finally:
        set_mxcsr(before)
    assert after & 0x3F == 0


@X86
def test_threads_that_were_made_while_the_caller_flushed() -> None:
    """A new thread inherits its maker's environment."""
    code = """
        import ctypes, ctypes.util, hashlib
        import numpy as np
        from chainrule import _core
        from tests.runtime import test_float_environment as t
        if {flush}:
            t.set_mxcsr(t.get_mxcsr() | t.FLUSH | (3 << 13))
        _core.set_num_threads(3)
        _core.set_serial_cost(0)
        print(hashlib.sha256(t.bits()).hexdigest())
    """
    path = os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")])
    digests = {output(code.format(flush=flush), PYTHONPATH=path) for flush in (False, True)}
    assert len(digests) == 1
