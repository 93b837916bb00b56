"""Twins: losses."""

__all__: list[str] = []
