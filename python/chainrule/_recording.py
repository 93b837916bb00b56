"""What the operations tell a recording (:func:`chainrule.compile`) about work that it can't see."""

from __future__ import annotations

__all__ = ["numpy_path"]


def numpy_path(op: str) -> None:
    """Called by an operation that is about to compute with NumPy, which launches no kernel: it can't be replayed."""
