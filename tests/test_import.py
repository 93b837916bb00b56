"""What ``import chainrule`` costs and offers."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

import chainrule as cr
from chainrule import _core


def test_import_takes_nothing_heavy_along() -> None:
    code = "import sys, numpy; before = set(sys.modules); import chainrule; print(*(set(sys.modules) - before))"
    modules = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    heavy = {"torch", "jax", "scipy", "sklearn", "safetensors", "tqdm", "matplotlib", "inspect", "asyncio"}
    assert heavy & {name.partition(".")[0] for name in modules} == set()
    assert not {"chainrule.nn", "chainrule.optim", "chainrule.reference"} & set(modules)


def test_parts_are_imported_when_used() -> None:
    code = "import chainrule as cr; print(cr.nn.__name__, cr.optim.__name__, cr.reference.__name__)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.split() == ["chainrule.nn", "chainrule.optim", "chainrule.reference"]
    assert not hasattr(cr, "no_such_part")
    assert {"nn", "optim", "reference", "utils", "compile", "peaks", "Tensor", "relu"} <= set(dir(cr))


def test_functions_are_where_torch_has_them() -> None:
    torch = pytest.importorskip("torch")
    own = {name for name in dir(cr.ops) if not name.startswith("_") and callable(getattr(cr.ops, name))}
    assert {name for name in own - {"lstm"} if callable(getattr(torch, name, None)) and not hasattr(cr, name)} == set()
    methods = {name for name in dir(cr.Tensor) if not name.startswith("_") and not name.endswith("_")}
    there = {name for name in methods if callable(getattr(torch, name, None))}
    assert {name for name in there if not hasattr(cr, name)} == set()
    assert {name for name in own if hasattr(torch.Tensor, name) and not hasattr(cr.Tensor, name)} == {"bernoulli"}
    np.testing.assert_array_equal(cr.tanh(cr.zeros(2)).numpy(), [0, 0])


def test_facts() -> None:
    assert cr.__version__ == _core.build_info()["version"]
    assert cr.isa_in_use() in cr.isa_available()
    before = cr.get_num_threads()
    cr.set_num_threads(1)
    assert cr.get_num_threads() == 1
    cr.set_num_threads(before)
    assert cr.memory_stats()["reserved_bytes"] >= 0
    cr.empty_cache()
    assert callable(cr.tensor)  # the function, although a module has that name as well
    assert cr.float32 == "float32"
