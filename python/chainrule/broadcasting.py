"""Broadcasting of shapes, with errors that name the operation."""

from __future__ import annotations

import numpy as np

__all__: list[str] = []

Shape = tuple[int, ...]


def common_shape(op: str, *shapes: Shape) -> Shape:
    """What these shapes broadcast to; RuntimeError where they don't."""
    if all(shape == shapes[0] for shape in shapes):
        return shapes[0] if shapes else ()
    try:
        return np.broadcast_shapes(*shapes)
    except ValueError:
        listed = [str(list(shape)) for shape in shapes]
        raise RuntimeError(f"{op}: shapes {', '.join(listed[:-1])} and {listed[-1]} don't broadcast") from None


def broadcasts_to(shape: Shape, wanted: Shape) -> bool:
    """Whether broadcasting makes this shape the wanted one."""
    try:
        return np.broadcast_shapes(shape, wanted) == wanted
    except ValueError:
        return False
