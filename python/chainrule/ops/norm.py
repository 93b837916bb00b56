"""Differentiable ops: batch norm and layer norm."""

__all__: list[str] = []
