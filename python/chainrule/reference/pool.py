"""Twins: pooling."""

__all__: list[str] = []
