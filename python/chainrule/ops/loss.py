"""Differentiable ops: losses."""

__all__: list[str] = []
