"""How many threads a process starts with."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from chainrule import _core
from tests.runtime import output, python

COUNT = "from chainrule import _core; print(_core.get_num_threads())"


@pytest.mark.parametrize(
    ("env", "count"),
    [
        ({"CHAINRULE_NUM_THREADS": "3"}, 3),
        ({"OMP_NUM_THREADS": "4"}, 4),
        ({"OMP_NUM_THREADS": "5,2"}, 5),
        ({"CHAINRULE_NUM_THREADS": "3", "OMP_NUM_THREADS": "4"}, 3),
        ({"CHAINRULE_NUM_THREADS": ""}, None),
        ({}, None),
    ],
)
def test_environment(env: dict[str, str], count: int | None) -> None:
    expected = count or _core.testing_usable_cpus("")
    assert int(output(COUNT, **env)) == expected


@pytest.mark.parametrize("bad", ["0", "-2", "two", "2x", "1.5", "99999999999999999999", "1025"])
def test_a_bad_value_is_passed_over_with_a_warning(bad: str) -> None:
    done = python(COUNT, CHAINRULE_NUM_THREADS=bad, OMP_NUM_THREADS="3")
    assert done.returncode == 0
    assert done.stdout.strip() == "3"
    assert f"RuntimeWarning: CHAINRULE_NUM_THREADS is '{bad}'" in done.stderr


def test_a_bad_isa_is_an_error_at_import() -> None:
    done = python(COUNT, CHAINRULE_ISA="sse9")
    assert done.returncode != 0
    assert "CHAINRULE_ISA is 'sse9'" in done.stderr


def test_affinity() -> None:
    code = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); " + COUNT
    assert output(code) == "1"


def tree(root: Path, files: dict[str, str]) -> str:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return str(root)


V1 = "2:cpuset:/\n4:cpu,cpuacct:/docker/1f\n"
CGROUPS = {
    "none": ({}, None),
    "v2 in its own namespace": ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "50000 100000\n"}, 0.5),
    "v2 without a limit": ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "max 100000\n"}, None),
    "v2 limit on a parent": (
        {
            "proc/self/cgroup": "0::/a/b\n",
            "sys/fs/cgroup/a/cpu.max": "100000 100000\n",
            "sys/fs/cgroup/a/b/cpu.max": "max 100000\n",
        },
        1,
    ),
    "v2 least of two": (
        {
            "proc/self/cgroup": "0::/a/b\n",
            "sys/fs/cgroup/a/cpu.max": "9900000 100000\n",
            "sys/fs/cgroup/a/b/cpu.max": "90000 100000\n",
        },
        0.9,
    ),
    "v1": (
        {
            "proc/self/cgroup": V1,
            "sys/fs/cgroup/cpu,cpuacct/docker/1f/cpu.cfs_quota_us": "100000\n",
            "sys/fs/cgroup/cpu,cpuacct/docker/1f/cpu.cfs_period_us": "100000\n",
        },
        1,
    ),
    "v1 mounted at the container's root": (
        {
            "proc/self/cgroup": V1,
            "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "30000\n",
            "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
        },
        0.3,
    ),
    "v1 without a limit": (
        {
            "proc/self/cgroup": V1,
            "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
            "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
        },
        None,
    ),
    "rounded up": ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "110000 100000\n"}, 2),
    "nonsense": ({"proc/self/cgroup": "0:\n::\n0::/\n", "sys/fs/cgroup/cpu.max": "0 x\n"}, None),
}


@pytest.mark.parametrize("name", CGROUPS)
def test_cgroup_quota(name: str, tmp_path: Path) -> None:
    files, quota = CGROUPS[name]
    cpus = len(os.sched_getaffinity(0))
    expected = cpus if quota is None else min(cpus, max(1, -int(-quota // 1)))
    assert _core.testing_usable_cpus(tree(tmp_path, files)) == expected
