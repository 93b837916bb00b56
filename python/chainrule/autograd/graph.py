"""Hooks on what the tape keeps, as in ``torch.autograd.graph``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from chainrule.autograd.grad_mode import state
from chainrule.tensor import Tensor

__all__ = ["saved_tensors_hooks"]


class saved_tensors_hooks:
    """Inside of the block, what operations save for backward goes through ``pack_hook(tensor)``, and what it returned
    through ``unpack_hook`` when backward asks for the tensor: to keep it elsewhere, smaller, or not at all.

    Of nested blocks the innermost acts. As in ``torch.autograd.graph.saved_tensors_hooks``.
    """

    def __init__(self, pack_hook: Callable[[Tensor], Any], unpack_hook: Callable[[Any], Tensor]) -> None:
        self._hooks = pack_hook, unpack_hook

    def __enter__(self) -> None:
        self._before = state.saving
        state.saving = self._hooks

    def __exit__(self, *exc: object) -> None:
        state.saving = self._before
