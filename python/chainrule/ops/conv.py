"""Differentiable ops: conv2d."""

__all__: list[str] = []
