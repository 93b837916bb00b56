"""Clipping of gradients, in place; as ``torch.nn.utils``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from chainrule import kernels
from chainrule.formats import is_dense
from chainrule.tensor import Tensor, listed, wrap

__all__ = ["clip_grad_norm_", "clip_grad_value_", "clip_grads_with_norm_", "get_total_norm"]

Array = np.ndarray[Any, Any]
Tensors = Tensor | Iterable[Tensor]


def get_total_norm(
    tensors: Tensors, norm_type: float = 2.0, error_if_nonfinite: bool = False, foreach: bool | None = None
) -> Tensor:
    """The ``norm_type``-norm of all elements of all tensors together (``inf``: the largest magnitude)."""
    return wrap(_total([t._array for t in listed(tensors)], float(norm_type), error_if_nonfinite))


def clip_grads_with_norm_(
    parameters: Tensors, max_norm: float, total_norm: Tensor, foreach: bool | None = None
) -> None:
    """Scales the parameters' gradients by ``min(max_norm / (total_norm + 1e-6), 1)``."""
    _scale(_gradients(parameters), float(max_norm), total_norm._array)


def clip_grad_norm_(
    parameters: Tensors,
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """Scales the parameters' gradients so that their total norm is at most ``max_norm``; returns the norm before."""
    grads, order = _gradients(parameters), float(norm_type)
    arrays = [g._array for g in grads]
    if order == 2 and grads and not error_if_nonfinite and _one_list(arrays):
        norm: Array = kernels.clip_grad_norm(arrays, float(max_norm))[0]
        for g in grads:
            g._bump()
        return wrap(norm)
    norm = _total(arrays, order, error_if_nonfinite)
    _scale(grads, float(max_norm), norm)
    return wrap(norm)


def clip_grad_value_(parameters: Tensors, clip_value: float, foreach: bool | None = None) -> None:
    """Clamps every element of the parameters' gradients to [-clip_value, clip_value]."""
    grads, limit = _gradients(parameters), float(clip_value)
    arrays = [g._array for g in grads]
    if _one_list(arrays):
        kernels.clip_grad_value(arrays, limit)
    else:
        for a in arrays:
            np.clip(a, -limit, limit, out=a)
    for g in grads:
        g._bump()


def _gradients(parameters: Tensors) -> list[Tensor]:
    return [p._grad for p in listed(parameters) if p._grad is not None]


def _one_list(arrays: list[Array]) -> bool:
    """Whether a kernel can write them all in one call."""
    return len({a.dtype for a in arrays}) == 1 and all(is_dense(a) and a.flags.behaved for a in arrays)


def _total(arrays: list[Array], order: float, error_if_nonfinite: bool) -> Array:
    if not arrays:
        return np.zeros((), np.float32)
    if order == 2:
        by_dtype = [[a for a in arrays if a.dtype == d] for d in dict.fromkeys(a.dtype for a in arrays)]
        norms = [kernels.total_norm(group) for group in by_dtype]
        total = norms[0] if len(norms) == 1 else np.asarray(np.linalg.norm(norms), np.result_type(*norms))
    else:
        each = [np.linalg.norm(a.reshape(-1), order) if a.size else a.dtype.type(0) for a in arrays]
        total = np.asarray(np.linalg.norm(np.stack(each), order))
    if error_if_nonfinite and not np.isfinite(total):
        raise RuntimeError(
            f"The total norm of order {order} for gradients from `parameters` is non-finite, so it cannot be clipped. "
            "To disable this error and scale the gradients by the non-finite norm anyway, set "
            "`error_if_nonfinite=False`"
        )
    return total


def _scale(grads: list[Tensor], max_norm: float, total: Array) -> None:
    scale = np.minimum(max_norm / (total + total.dtype.type(1e-6)), 1)
    for g in grads:
        np.multiply(g._array, scale, out=g._array, casting="same_kind")
        g._bump()
