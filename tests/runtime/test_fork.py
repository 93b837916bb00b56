"""Children of fork, and several processes."""

from __future__ import annotations

import pytest

from tests.runtime import output

PREPARE = """
    import multiprocessing, os, threading
    import numpy as np
    from chainrule import _core, kernels
    _core.set_num_threads(2)
    x = np.linspace(-1, 1, 10**6, dtype=np.float32)
    def total(_=None):
        return float(kernels.relu(x).sum()), _core.get_num_threads()
"""


def test_a_forked_child_computes_after_its_parent_used_threads() -> None:
    code = (
        PREPARE
        + """
    before = total()
    with multiprocessing.get_context("fork").Pool(2) as pool:
        children = pool.map(total, range(4), chunksize=1)
    print(before[1], {c == (before[0], 1) for c in children}, total() == before)
    """
    )
    assert output(code) == "2 {True} True"


def test_a_child_of_a_parent_without_threads_has_its_own() -> None:
    code = (
        PREPARE
        + """
    with multiprocessing.get_context("fork").Pool(1) as pool:
        print(pool.map(total, [0])[0][1])
    """
    )
    assert output(code) == "2"


def test_fork_while_other_threads_use_the_pool_and_kernels() -> None:
    """The child must not inherit a locked pool."""
    code = (
        PREPARE
        + """
    import time
    stop = threading.Event()
    def use_kernels():
        while not stop.is_set():
            kernels.relu(x[:5000])
            kernels.relu(x)
    def use_pool():  # holds its lock much of the time
        while not stop.is_set():
            _core.testing_pool(100)
    threads = [threading.Thread(target=f) for f in (use_kernels, use_pool, use_pool)]
    [t.start() for t in threads]
    for _ in range(60):
        time.sleep(0.002)
        child = os.fork()
        if child == 0:
            good = total()[0] == float(np.maximum(x, 0).sum())
            os._exit(0 if good else 1)
        assert os.waitpid(child, 0)[1] == 0
    stop.set()
    [t.join() for t in threads]
    print("done")
    """
    )
    assert output(code) == "done"


def test_a_child_answers_interrupts() -> None:
    code = (
        PREPARE
        + """
    import signal, time
    def in_thread():
        child = os.fork()  # not from the main thread
        if child == 0:
            signal.setitimer(signal.ITIMER_REAL, 0.2)
            start = time.perf_counter()
            try:
                _core.testing_work(5000, 1, True)
            except KeyboardInterrupt:
                os._exit(7 if time.perf_counter() - start < 3 else 8)
            os._exit(1)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    signal.signal(signal.SIGALRM, signal.default_int_handler)
    t = threading.Thread(target=in_thread)
    t.start()
    t.join()
    """
    )
    assert output(code) == "7"


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_other_start_methods(method: str, tmp_path) -> None:
    script = tmp_path / "job.py"
    script.write_text(
        "import numpy as np\nfrom chainrule import kernels\n"
        "def total(n): return float(kernels.relu(np.ones(n, np.float32)).sum())\n"
    )
    code = f"""
    import multiprocessing, sys
    sys.path.insert(0, {str(tmp_path)!r})
    import job
    if __name__ == "__main__":
        with multiprocessing.get_context({method!r}).Pool(2) as pool:
            print(pool.map(job.total, [10, 10**6]))
    """
    assert output(code) == "[10.0, 1000000.0]"
