"""Differentiable ops: embedding."""

__all__: list[str] = []
