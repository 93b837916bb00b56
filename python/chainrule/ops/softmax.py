"""Differentiable ops: softmax, log-softmax and cross-entropy."""

__all__: list[str] = []
