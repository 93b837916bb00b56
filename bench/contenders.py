"""Who takes part: chainrule, and those of NumPy, PyTorch and JAX that are installed."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from typing import Any

import numpy as np

from chainrule import kernels, reference

Run = Callable[[], Any]


def available() -> list[str]:
    return ["chainrule", "numpy", *(name for name in ("torch", "jax") if importlib.util.find_spec(name))]


def contenders(case: Any) -> list[str]:
    """Who computes this case: a library may take part twice, with another memory layout of its images."""
    names = [n for n in available() if n in ("chainrule", "numpy", *case.peers)]
    return names + [n for n in case.peers if n not in names and n.split()[0] in names]


def module(name: str) -> Any:
    """The library as a peer's function takes it: torch itself, jax itself."""
    library = importlib.import_module(name.split()[0])
    if name == "jax":
        library.config.update("jax_enable_x64", False)
    return library


def convert(name: str, value: Any) -> Any:
    """NumPy arrays as the library's own, inside lists and tuples too; everything else as it is."""
    if isinstance(value, (list, tuple)):
        return type(value)(convert(name, v) for v in value)
    if not isinstance(value, np.ndarray):
        return value
    if name.split()[0] == "torch":
        tensor = module("torch").from_numpy(value.copy(order="K"))
        if name == "torch channels_last" and value.ndim == 4:
            return tensor.contiguous(memory_format=module("torch").channels_last)
        # A 0-d count is an optimizer's step: torch keeps it in float32.
        return tensor.float() if value.ndim == 0 and value.dtype == np.int64 else tensor
    if name == "jax":
        return module("jax").numpy.asarray(value)
    return value.copy(order="K")  # with the order of its axes


def arrays(result: Any) -> list[np.ndarray]:
    """A result of any library as a flat list of NumPy arrays, outputs that weren't computed (None) left out."""
    if isinstance(result, (list, tuple)):
        return [a for r in result for a in arrays(r)]
    return [] if result is None else [np.asarray(result)]


def prepare(name: str, case: Any) -> Run | None:
    """A call without arguments that computes the case's result in this library; None where it has no such function."""
    args = convert(name, case.args(np.random.default_rng(0)))
    kwargs = case.kwargs
    if name == "chainrule":
        kernel = getattr(kernels, case.kernel)
        return lambda: kernel(*args, **kwargs)
    if name == "numpy":
        twin = case.peers.get("numpy") or getattr(reference, case.kernel)
        return lambda: twin(*args, **kwargs)
    peer = case.peers.get(name)
    if peer is None:
        return None
    library = module(name)
    if name in case.prepared:
        args = case.prepared[name](library, *args)
    if name == "jax":
        jitted = library.jit(lambda *a: peer(library, *a), static_argnums=static(args))
        return lambda: library.block_until_ready(jitted(*args))

    def run() -> Any:
        with library.no_grad():
            return peer(library, *args)

    return run


def static(args: tuple[Any, ...]) -> tuple[int, ...]:
    """The positions of arguments that hold no arrays: shapes and options, fixed when JAX compiles."""
    holds = (list, tuple)
    return tuple(i for i, a in enumerate(args) if not (hasattr(a, "shape") or isinstance(a, holds) or callable(a)))
