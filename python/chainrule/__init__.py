"""chainrule: backpropagation for CPUs."""

from __future__ import annotations

from importlib import import_module
from math import e, inf, nan, pi
from typing import TYPE_CHECKING, Any

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

if TYPE_CHECKING:
    from chainrule import nn, optim, reference

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
    "nn",
    "no_grad",
    "ops",
    "optim",
    "pi",
    "random",
    "reference",
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

# Imported when first used: kernels and tensors alone start faster.
_PARTS = ("nn", "optim", "reference")


def __getattr__(name: str) -> Any:
    if name in _PARTS:
        return import_module(f"chainrule.{name}")
    raise AttributeError(f"module 'chainrule' has no attribute {name!r}")
