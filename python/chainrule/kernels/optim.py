"""Kernels: optimizer updates."""

__all__: list[str] = []
