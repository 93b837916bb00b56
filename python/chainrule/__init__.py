"""chainrule: backpropagation for CPUs."""

from chainrule.tensor import Tensor  # isort: skip  (the operations need it)

from chainrule import autograd, kernels, ops
from chainrule.autograd import (
    enable_grad,
    inference_mode,
    is_grad_enabled,
    no_grad,
    set_grad_enabled,
)

__all__ = [
    "Tensor",
    "autograd",
    "enable_grad",
    "inference_mode",
    "is_grad_enabled",
    "kernels",
    "no_grad",
    "ops",
    "set_grad_enabled",
]
