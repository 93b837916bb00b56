"""chainrule: backpropagation for CPUs."""
# ruff: noqa: F401  (what is imported here is the package's contents)

from __future__ import annotations

from importlib import import_module
from math import e, inf, nan, pi
from typing import TYPE_CHECKING, Any

from chainrule import _core, dtypes, random  # isort: skip
from chainrule.tensor import Tensor  # isort: skip  (the operations need it)

from chainrule import autograd, creation, kernels, ops
from chainrule._core import RecordingError, empty_cache, get_num_threads, memory_stats, set_num_threads
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
from chainrule.formats import *  # noqa: F403
from chainrule.ops.activation import relu, sigmoid, tanh
from chainrule.ops.comparison import *  # noqa: F403
from chainrule.ops.conv import *  # noqa: F403
from chainrule.ops.elementwise import *  # noqa: F403
from chainrule.ops.embedding import *  # noqa: F403
from chainrule.ops.indexing import *  # noqa: F403
from chainrule.ops.joining import *  # noqa: F403
from chainrule.ops.loss import *  # noqa: F403
from chainrule.ops.matmul import *  # noqa: F403
from chainrule.ops.norm import *  # noqa: F403
from chainrule.ops.pool import *  # noqa: F403
from chainrule.ops.random import *  # noqa: F403
from chainrule.ops.reduce import *  # noqa: F403
from chainrule.ops.softmax import *  # noqa: F403
from chainrule.ops.unary import *  # noqa: F403
from chainrule.ops.view import *  # noqa: F403
from chainrule.random import Generator, get_rng_state, initial_seed, manual_seed, seed, set_rng_state
from chainrule.serialization import load, save
from chainrule.tensor_repr import set_printoptions

if TYPE_CHECKING:
    from chainrule import nn, optim, reference, utils
    from chainrule._peaks import peaks
    from chainrule.recording.step import compile

__version__: str = _core.build_info()["version"]
Size: Any = tuple
newaxis = None
isa_available = _core.isa_available
isa_in_use = _core.isa_in_use
set_isa = _core.set_isa

# Imported when first used: kernels and tensors alone start faster.
_PARTS = ("nn", "optim", "reference", "utils")
_FUNCTIONS = {"compile": "chainrule.recording.step", "peaks": "chainrule._peaks"}


def __getattr__(name: str) -> Any:
    if name in _PARTS:
        return import_module(f"chainrule.{name}")
    if name in _FUNCTIONS:
        return getattr(import_module(_FUNCTIONS[name]), name)
    raise AttributeError(f"module 'chainrule' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_PARTS, *_FUNCTIONS})
