"""Chunks, barriers, team sizes, several teams at once."""

from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from chainrule import _core, kernels
from tests.runtime import output


def healthy(report: dict[str, int]) -> bool:
    """Threads join as they come: those that did are between 1 and the team's size."""
    return (
        report["not_taken_once"] == 0
        and report["barrier_passed_early"] == 0
        and report["strangers"] == 0
        and 1 <= report["ranks"] <= report["size"]
    )


@pytest.mark.parametrize("size", [1, 2, 3, 5])
@pytest.mark.parametrize("chunks", [0, 1, 4, 50, 1000])
def test_every_chunk_is_taken_once_and_barriers_hold(size: int, chunks: int) -> None:
    report = _core.testing_team(size, 300, chunks, 0)
    assert healthy(report), report
    assert report["size"] == size


@pytest.mark.parametrize("size", [2, 5])
def test_chunks_and_barriers_with_threads_that_are_late(size: int) -> None:
    """Naps make the others steal, and sleep in the barrier."""
    report = _core.testing_team(size, 60, 40, 97)
    assert healthy(report), report
    assert report["ranks"] > 1  # the naps leave the others time to come


def test_a_worker_joins_a_region_of_its_size_once() -> None:
    """What breaks it shows in builds with sanitizers (held_up.h) within seconds, in others hardly ever."""
    for i in range(10_000):
        report = _core.testing_team((5, 2, 3)[i % 3], 1, 1 + i % 2, 0)  # no barrier: one that came early isn't kept
        assert healthy(report), (i, report)


def busy_threads(size: int) -> int:
    """How many of this process's threads run while regions of this size follow each other."""

    def seconds() -> dict[str, int]:
        stat = {p.name: (p / "stat").read_text().rpartition(")")[2].split() for p in Path("/proc/self/task").iterdir()}
        return {name: int(fields[11]) + int(fields[12]) for name, fields in stat.items()}  # 10 ms of user, of system

    before = seconds()
    end = time.perf_counter() + 0.5
    while time.perf_counter() < end:
        assert healthy(_core.testing_team(size, 3, 10, 0))
    return sum(now - before.get(name, 0) > 2 for name, now in seconds().items())


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_workers_that_are_no_longer_wanted_sleep() -> None:
    code = """
        from chainrule import _core
        from tests.runtime.test_team import busy_threads
        for size in (6, 2, 6):  # beside other processes it may take a while
            print(any((busy_threads(size) > 2) == (size > 2) for _ in range(20)))
    """
    assert output(code, PYTHONPATH=os.pathsep.join(sys.path)).split() == ["True"] * 3


def test_a_team_of_more_than_256() -> None:
    report = _core.testing_team(300, 30, 1000, 0)
    assert report["size"] == 300
    assert report["ranks"] > 1
    assert healthy(report), report


@pytest.mark.parametrize("before", [2**39 - 100, 2**39 - 1, 2**39, 2**40 - 400])
def test_loop_numbers_start_over_before_they_overflow(before: int) -> None:
    _core.testing_set_loop_number(before)
    for _ in range(3):
        report = _core.testing_team(2, 300, 20, 0)
        assert healthy(report), report


@pytest.mark.parametrize("before", [2**31 - 3, 2**31, 2**32 - 3])
def test_workers_that_come_after_billions_of_regions(before: int) -> None:
    code = f"""
        from chainrule import _core
        _core.testing_set_region_number({before})
        for i in range(9):
            print(_core.testing_team(2 + i // 6, 60, 40, 97)["ranks"])  # naps give the others time to come
    """
    assert output(code).split() == ["2"] * 6 + ["3"] * 3


def test_more_threads_than_cpus_meet_in_good_time() -> None:
    """1,000 barriers of 5 threads: 0.1 s when the waiting sleep, minutes when they spin for whole time slices."""
    start = time.perf_counter()
    _core.testing_team(5, 3000, 10, 0)
    assert time.perf_counter() - start < 20


@pytest.mark.parametrize("env", [{"OMP_THREAD_LIMIT": "1"}, {"OMP_THREAD_LIMIT": "3"}, {"OMP_DYNAMIC": "true"}])
def test_a_region_that_gets_fewer_threads_than_it_asked_for(env: dict[str, str]) -> None:
    """Threads that never come hold nobody up."""
    code = """
        from chainrule import _core
        r = _core.testing_team(8, 300, 20, 0)
        print(r["size"], r["ranks"], r["not_taken_once"], r["barrier_passed_early"])
    """
    size, ranks, *wrong = map(int, output(code, **env).split())
    assert size == 8
    assert 1 <= ranks <= 8
    assert wrong == [0, 0]
    if "OMP_THREAD_LIMIT" in env:  # OpenMP's limit counts the threads that it made, and their leader: not the caller
        assert ranks <= int(env["OMP_THREAD_LIMIT"]) + 1


def test_python_threads_run_kernels_at_once(threads: int) -> None:
    """One of them has the workers, the others compute alone; results are those of a single caller."""
    shapes = [(1000 + 977 * i,) for i in range(4)]
    expected = [kernels.uniform(s, 5, i).tobytes() for i, s in enumerate(shapes)]
    wrong = []

    def work(i: int) -> None:
        for _ in range(100):
            if kernels.uniform(shapes[i], 5, i).tobytes() != expected[i]:
                wrong.append(i)

    callers = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for c in callers:
        c.start()
    for c in callers:
        c.join()
    assert wrong == []


def test_python_threads_with_large_work_overlap() -> None:
    """The GIL is dropped: while one thread is in a kernel, another runs Python."""
    ticks = []
    done = threading.Event()

    def tick() -> None:
        while not done.is_set():
            ticks.append(time.perf_counter())
            time.sleep(0.01)

    ticker = threading.Thread(target=tick)
    ticker.start()
    start = time.perf_counter()
    _core.testing_work(500, 1, True)
    end = time.perf_counter()
    done.set()
    ticker.join()
    assert sum(start < t < end for t in ticks) >= 5


def test_a_signal_handler_may_run_kernels_inside_a_kernel() -> None:
    """The handler runs in the launching thread, in the middle of its region."""
    code = """
        import signal
        import numpy as np
        from chainrule import _core, kernels
        _core.set_serial_cost(0)
        _core.set_num_threads(2)
        expected = kernels.uniform((100000,), 1, 2)
        seen = []
        def handler(*_):
            seen.append(np.array_equal(kernels.uniform((100000,), 1, 2), expected))
        signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, 0.05, 0.05)
        begun = _core.testing_work(400, 2, True)
        inside = len(seen)
        signal.setitimer(signal.ITIMER_REAL, 0)
        print(begun, inside > 0, all(seen))
    """
    assert output(code, OMP_MAX_ACTIVE_LEVELS="2") == "800 True True"


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_workers_leave_signals_to_the_callers_but_faults_are_heard() -> None:
    """A blocked fault would end the process before Python's faulthandler could say where."""
    code = """
        import os, re, signal, time
        import numpy as np
        from chainrule import _core, kernels
        _core.set_num_threads(2)
        before = set(os.listdir("/proc/self/task"))
        kernels.relu(np.ones(10**6, np.float32))
        (worker,) = set(os.listdir("/proc/self/task")) - before
        faults = [signal.SIGSEGV, signal.SIGBUS, signal.SIGILL, signal.SIGFPE]
        others = [signal.SIGINT, signal.SIGTERM, signal.SIGALRM, signal.SIGCHLD]
        for _ in range(1000):
            mask = int(re.search("SigBlk:\\s*(.*)", open(f"/proc/self/task/{worker}/status").read())[1], 16)
            blocked = [[mask >> (s - 1) & 1 for s in some] for some in (faults, others)]
            if 1 not in blocked[0]:
                break
            time.sleep(0.01)  # until it has begun, everything is blocked
        print(blocked)
    """
    assert output(code, OPENBLAS_NUM_THREADS="1") == "[[0, 0, 0, 0], [1, 1, 1, 1]]"


def test_thread_number_bounds() -> None:
    before = _core.get_num_threads()
    for n in (0, -1, 1025, 2**31 - 1):
        with pytest.raises(ValueError, match="set_num_threads: argument 'n'"):
            _core.set_num_threads(n)
    assert _core.get_num_threads() == before


def test_small_work_stays_on_one_thread() -> None:
    """In a process that computes little, no second thread comes to be."""
    code = """
        import os
        import numpy as np
        from chainrule import _core, kernels
        _core.set_num_threads(2)
        kernels.relu(np.ones(100, np.float32))
        small = len(os.listdir("/proc/self/task"))
        kernels.relu(np.ones(10**6, np.float32))
        print(len(os.listdir("/proc/self/task")) - small)
    """
    assert output(code, OPENBLAS_NUM_THREADS="1") == "1"


def test_results_do_not_depend_on_who_called_before() -> None:
    x = np.linspace(-1, 1, 50001, dtype=np.float32)
    first = kernels.relu(x)
    _core.testing_team(5, 30, 100, 0)
    np.testing.assert_array_equal(kernels.relu(x), first)


def test_a_thread_leaves_the_cpu_that_it_shares() -> None:
    allowed = os.sched_getaffinity(0)
    moves = [_core.testing_leave_cpu() for _ in range(5)]  # the system may take it back at once
    assert {cpu for move in moves for cpu in move} <= allowed
    assert any(before != after for before, after in moves) == (len(allowed) > 1)
    assert os.sched_getaffinity(0) == allowed


def test_a_thread_with_one_cpu_stays() -> None:
    code = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\nfrom chainrule import _core\n"
    assert output(code + "a, b = _core.testing_leave_cpu(); print(a == b)") == "True"
