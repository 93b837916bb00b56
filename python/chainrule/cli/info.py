"""``chainrule info``."""

import platform

import numpy as np

import chainrule
from chainrule import _core


def show(peaks: bool = False) -> None:
    build = _core.build_info()
    rows = {
        "chainrule": build["version"],
        "python": f"{platform.python_version()}, numpy {np.__version__}",
        "machine": f"{platform.machine()}, {platform.system()}",
        "instruction set": f"{_core.isa_in_use()} (available: {', '.join(_core.isa_available())})",
        "threads": chainrule.get_num_threads(),
        "compiler": f"{build['compiler']}, OpenMP {build['openmp']}",
        "build": f"{build['build_type']} {build['flags']}".strip(),
        "kernel flags": build["isas"][_core.isa_in_use()],
    }
    for name, value in rows.items():
        print(f"{name:16} {value}")
    if peaks:
        for name, rate in chainrule.peaks().items():
            kind, unit = name.rsplit("_", 1)
            print(f"{'peak ' + kind.replace('_', ' '):16} {rate / 1e9:.1f} {'GFLOP/s' if unit == 'flops' else 'GB/s'}")
