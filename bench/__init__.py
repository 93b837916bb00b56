"""Comparisons with NumPy, PyTorch and JAX: ``pytest bench/``, or ``python -m bench.report`` for the table."""
