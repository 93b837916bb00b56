"""The interpreter exits while daemon threads are in kernels."""

from __future__ import annotations

import os

import pytest

from tests.runtime import python

CODE = """
    import threading, time
    import numpy as np
    from chainrule import _core, kernels
    _core.set_num_threads(2)
    x = np.ones({n}, np.float32)
    begun = threading.Event()
    def work():
        while True:
            {call}
            begun.set()
    for _ in range(3):
        threading.Thread(target=work, daemon=True).start()
    begun.wait()
    time.sleep({delay})
"""


@pytest.mark.parametrize("call", ["kernels.relu(x)", "kernels.dropout(x, 0.5, 1, 2)", "_core.testing_work(3, 2, True)"])
def test_exit_with_daemon_threads_in_kernels(call: str) -> None:
    for i in range(10):
        done = python(CODE.format(n=200_000 + 3000 * i, call=call, delay=0.003 * i), timeout=30)
        assert (done.returncode, done.stderr) == (0, ""), done.stderr


@pytest.mark.skipif(not os.path.exists("/proc/self/task"), reason="needs /proc")
def test_a_daemon_thread_that_returns_from_a_kernel_too_late_sleeps() -> None:
    """While the interpreter is torn down (here a destructor makes that last), the thread must neither run on nor be
    unwound: its destructors would touch Python objects without the GIL."""
    code = """
        import os, sys, threading, time, types
        from chainrule import _core
        class Last:
            def __init__(self):
                self.tools = os.listdir, os.write, time.sleep, sys.is_finalizing, len
            def __del__(self):
                listdir, write, sleep, finalizing, length = self.tools
                sleep(3)  # the kernels end
                write(1, f"{finalizing()} {length(listdir('/proc/self/task')) - self.before}".encode())
        begun = threading.Barrier(4)
        def work():
            begun.wait()
            _core.testing_work(400, 1, True)
        module = types.ModuleType("torn_down_at_exit")
        module.last = Last()
        module.last.before = len(os.listdir("/proc/self/task"))
        sys.modules["torn_down_at_exit"] = module
        del module
        for _ in range(3):
            threading.Thread(target=work, daemon=True).start()
        begun.wait()
        time.sleep(0.1)
    """
    done = python(code)
    assert (done.returncode, done.stdout, done.stderr) == (0, "True 3", "")


def test_exit_while_a_daemon_thread_stays_in_one_long_kernel() -> None:
    """The process doesn't wait for it."""
    code = """
        import threading, time
        from chainrule import _core
        threading.Thread(target=lambda: _core.testing_work(20000, 2, True), daemon=True).start()
        time.sleep(0.2)
    """
    done = python(code, timeout=10)
    assert (done.returncode, done.stderr) == (0, "")


def test_kernels_run_in_exit_handlers() -> None:
    code = """
        import atexit
        import numpy as np
        from chainrule import kernels
        x = np.ones(10**6, np.float32)
        kernels.relu(x)
        kept = [kernels.relu(x)]  # released after the module's own statics would have been destroyed
        atexit.register(lambda: print(int(kernels.relu(x).sum())))
    """
    done = python(code)
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "1000000", "")
