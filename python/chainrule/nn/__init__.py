"""Layers, losses and initialisers under PyTorch's names."""

from chainrule.nn import functional, init, modules, utils
from chainrule.nn.modules import *  # noqa: F403
from chainrule.nn.parameter import Buffer, Parameter

__all__ = ["Buffer", "Parameter", "functional", "init", "modules", "utils"]
