"""Differentiable ops: pooling."""

__all__: list[str] = []
