"""Writes python/chainrule/_core.pyi from the signatures that the compiled module carries.

``python -m tests.stubs`` rewrites the file; tests/test_house.py fails while it is out of date.
"""

from __future__ import annotations

import inspect
import re
import types
from pathlib import Path

from chainrule import _core

STUB = Path(__file__).parents[1] / "python" / "chainrule" / "_core.pyi"

HEADER = '''"""Types of the compiled module. Written by ``python -m tests.stubs``; not to be edited."""

import collections.abc
import typing

import numpy
'''


def signatures(doc: str, name: str) -> list[str]:
    """The typed signatures in a pybind11 docstring: one line, or a numbered list when the function is overloaded."""
    return re.findall(rf"^(?:\d+\. )?({re.escape(name)}\(.*\) -> .*)$", doc, re.MULTILINE)


def clean(signature: str) -> str:
    """pybind11's spelling of types as a type checker reads it."""
    signature = re.sub(r"numpy\.ndarray(?:\[.*?\])?", "numpy.typing.NDArray[typing.Any]", signature)
    signature = re.sub(r"typing\.(?:SupportsInt|SupportsIndex)(?: \| typing\.SupportsIndex)?", "int", signature)
    signature = re.sub(r"typing\.SupportsFloat(?: \| typing\.SupportsIndex)?", "float", signature)
    signature = re.sub(
        r"\b(list|dict|tuple)(?=[,)]| ->|$)",
        lambda m: f"{m[1]}[typing.Any, ...]" if m[1] == "tuple" else m[1],
        signature,
    )
    signature = re.sub(r"-> dict$", "-> dict[str, typing.Any]", signature)
    signature = re.sub(r"\bdict(?=, )", "dict[typing.Any, typing.Any]", signature)
    signature = re.sub(r"-> list$", "-> list[typing.Any]", signature)
    return re.sub(
        r": (list|dict)(?=[,)= ])",
        lambda m: ": list[typing.Any]" if m[1] == "list" else ": dict[typing.Any, typing.Any]",
        signature,
    )


def functions(owner: object, indent: str, method: bool = False) -> list[str]:
    lines = []
    for name, value in sorted(vars(owner).items()):
        if (name.startswith("_") and name != "__init__") or inspect.isclass(value):
            continue
        found = signatures(getattr(value, "__doc__", None) or "", name)
        if isinstance(value, property):
            lines += [f"{indent}@property", f"{indent}def {name}(self) -> typing.Any: ..."]
        for signature in found:
            signature = re.sub(r"\(self: [\w.]+", "(self", clean(signature)) if method else clean(signature)
            lines += [f"{indent}@typing.overload"] * (len(found) > 1) + [f"{indent}def {signature}: ..."]
    return lines


def stub() -> str:
    lines = ["MISSING: object", "", *functions(_core, "")]
    for name, value in sorted(vars(_core).items()):
        if inspect.isclass(value) and not isinstance(value, types.ModuleType):
            base = "(RuntimeError)" if issubclass(value, RuntimeError) else ""
            lines += ["", f"class {name}{base}:", *(functions(value, "    ", method=True) or ["    ..."])]
    text = HEADER + "\n" + "\n".join(lines) + "\n"
    for module in ("collections.abc", "numpy", "typing"):
        if f"{module}." not in text.replace(f"import {module}", ""):
            text = text.replace(f"import {module}\n", "")
    return text.replace("import numpy\n", "import numpy.typing\n")


if __name__ == "__main__":
    STUB.write_text(stub())
