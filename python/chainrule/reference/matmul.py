"""Twins: matrix products and linear layers."""

__all__: list[str] = []
