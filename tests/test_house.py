"""The rules of the house that a machine can check (CONTRIBUTING.md gives their reasons)."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from chainrule import _core
from tests import stubs

ROOT = Path(__file__).parents[1]
CPP = sorted([*(ROOT / "csrc").rglob("*.cpp"), *(ROOT / "csrc").rglob("*.h")])
PYTHON = sorted(p for folder in ("python", "tests", "bench") for p in (ROOT / folder).rglob("*.py"))
ISA_OWNERS = re.compile(r"^(dispatch\.cpp|simd_\w+\.h|microkernel_\w+\.h)$")
ISA_MARKS = re.compile(
    r"\b_mm\d*_|__m(128|256|512)|__AVX|__SSE|__ARM_NEON|\bv(ld1|st1|fma)q_|immintrin|arm_neon|avx(2|512)|\bneon\b"
)


def rel(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_isa_names_stay_in_the_files_that_own_them() -> None:
    leaks = [
        f"{rel(p)}:{n}: {line.strip()}"
        for p in CPP
        if not ISA_OWNERS.match(p.name)
        for n, line in enumerate(p.read_text().splitlines(), 1)
        if ISA_MARKS.search(line.split("//")[0])
    ]
    assert leaks == []


def test_kernels_use_no_standard_library_and_no_openmp() -> None:
    """An inline function of the library, compiled per ISA under one name, crashes machines that lack the ISA."""
    found = [
        f"{rel(p)}:{n}: {line.strip()}"
        for p in CPP
        if p.parent.name == "kernels"
        for n, line in enumerate(p.read_text().splitlines(), 1)
        if re.search(r"\bstd::|#include <(?!immintrin|arm_neon|stdint)|#pragma omp|\bomp_", line.split("//")[0])
    ]
    assert found == []


def test_openmp_appears_in_the_team_alone() -> None:
    users = [rel(p) for p in CPP if re.search(r"#pragma omp|\bomp_|<omp\.h>", p.read_text())]
    assert users == ["csrc/runtime/workers.cpp"]


def test_no_file_is_longer_than_800_lines() -> None:
    long = {rel(p): n for p in [*CPP, *PYTHON] if (n := len(p.read_text().splitlines())) > 800}
    assert long == {}


def test_the_core_stub_is_up_to_date() -> None:
    """By name and parameters; the types' spelling belongs to the version of pybind11 that wrote them."""
    assert parameters(stubs.STUB.read_text()) == parameters(stubs.stub()), "run: python -m tests.stubs"


def parameters(stub: str) -> dict[str, list[str]]:
    return {
        node.name: [a.arg for a in node.args.args]
        for node in ast.walk(ast.parse(stub))
        if isinstance(node, ast.FunctionDef)
    }


# What a kernel object may take from outside its namespace: the team's four functions, and what compilers emit.
EXTERNAL = re.compile(
    r"^(chainrule::Team::\w+\(.*\)|mem(cpy|set|move|cmp)|__stack_chk_fail|_GLOBAL_OFFSET_TABLE_|__(a|ub)san_\w+)$"
)
OBJECTS = sorted(ROOT.glob("build/*/CMakeFiles/kernels_*.dir/csrc/kernels/*.o"))


@pytest.mark.skipif(not OBJECTS or not shutil.which("nm"), reason="needs the build's objects and nm")
@pytest.mark.parametrize("isa", _core.isa_available())
def test_each_isa_keeps_to_its_namespace(isa: str) -> None:
    objects = [o for o in OBJECTS if f"kernels_{isa}.dir" in str(o)]
    assert objects
    listing = subprocess.run(["nm", "-C", *map(str, objects)], capture_output=True, text=True, check=True).stdout
    symbols = re.findall(r"^(?:[0-9a-f]{8,})? +([A-Za-z]) (.+)$", listing, re.MULTILINE)
    assert len(symbols) > 10
    foreign = {
        name
        for kind, name in symbols
        if f"chainrule::{isa}::" not in name and not (kind == "U" and EXTERNAL.match(name)) and kind not in "rd"
    }
    assert foreign == set()
