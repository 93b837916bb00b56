"""Differentiable ops: random numbers and dropout."""

__all__: list[str] = []
