"""chainrule: backpropagation for CPUs."""

from __future__ import annotations

from math import e, inf, nan, pi
from typing import Any

from chainrule import _core, dtypes, random  # isort: skip
from chainrule.tensor import Tensor  # isort: skip  (the operations need it)

from chainrule import autograd, creation, kernels, ops
from chainrule._core import empty_cache, get_num_threads, memory_stats, set_num_threads
from chainrule.autograd import (
    enable_grad,
    inference_mode,
    is_grad_enabled,
    is_inference_mode_enabled,
    no_grad,
    set_grad_enabled,
)
from chainrule.creation import *  # noqa: F403
from chainrule.dtypes import *  # noqa: F403
from chainrule.ops import *  # noqa: F403
from chainrule.random import Generator, get_rng_state, initial_seed, manual_seed, seed, set_rng_state
from chainrule.tensor_repr import set_printoptions

__version__: str = _core.build_info()["version"]
Size = tuple
newaxis = None
isa_available = _core.isa_available
isa_in_use = _core.isa_in_use
set_isa = _core.set_isa

__all__ = [
    "Generator",
    "Size",
    "Tensor",
    "__version__",
    "autograd",
    "e",
    "empty_cache",
    "enable_grad",
    "get_num_threads",
    "get_rng_state",
    "inf",
    "inference_mode",
    "initial_seed",
    "is_grad_enabled",
    "is_inference_mode_enabled",
    "isa_available",
    "isa_in_use",
    "kernels",
    "manual_seed",
    "memory_stats",
    "nan",
    "newaxis",
    "no_grad",
    "ops",
    "pi",
    "random",
    "seed",
    "set_grad_enabled",
    "set_isa",
    "set_num_threads",
    "set_printoptions",
    "set_rng_state",
]
__all__ += creation.__all__
__all__ += dtypes.__all__
__all__ += ops.__all__

_LAZY = ("cli", "nn", "optim", "reference", "serialization", "testing", "utils")


def __getattr__(name: str) -> Any:
    """Parts of the package that are imported when first used."""
    if name in _LAZY:
        import importlib

        return importlib.import_module(f"chainrule.{name}")
    raise AttributeError(f"module 'chainrule' has no attribute {name!r}")
