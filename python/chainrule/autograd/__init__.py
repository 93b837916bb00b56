"""The tape: Function, backward, grad, modes, gradcheck."""

from chainrule.autograd import functional, graph
from chainrule.autograd.engine import backward, grad
from chainrule.autograd.function import Context, Function, Node, once_differentiable
from chainrule.autograd.grad_mode import (
    enable_grad,
    inference_mode,
    is_grad_enabled,
    is_inference_mode_enabled,
    no_grad,
    set_grad_enabled,
)
from chainrule.autograd.gradcheck import gradcheck, gradgradcheck

__all__ = [
    "Context",
    "Function",
    "Node",
    "backward",
    "enable_grad",
    "functional",
    "grad",
    "gradcheck",
    "gradgradcheck",
    "graph",
    "inference_mode",
    "is_grad_enabled",
    "is_inference_mode_enabled",
    "no_grad",
    "once_differentiable",
    "set_grad_enabled",
]
