"""Optimizer updates and gradient clipping over whole lists of arrays, in place.

A list holds writeable arrays of one dtype (float32 or float64) whose elements lie together, in whatever order of the
dimensions; a parameter's state in another order than its own is copied there and back. Gradients, which are only read,
may be any views. Arrays that are written may share no memory with another. Everything is checked before anything is
written, and an update is done for all of the list or, after an error, for none of it. Formulas: PyTorch's documentation
of ``torch.optim`` and ``torch.nn.utils.clip_grad_norm_``.
"""

from collections.abc import Sequence

import numpy as np

from chainrule import _core

__all__ = ["adam", "clip_grad_norm", "clip_grad_value", "sgd", "total_norm"]

Array = np.ndarray
Arrays = list[Array]


def sgd(
    params: Arrays,
    grads: Arrays,
    buffers: Arrays | None = None,
    steps: Arrays | None = None,
    *,
    lr: float,
    momentum: float = 0.0,
    dampening: float = 0.0,
    weight_decay: float = 0.0,
    nesterov: bool = False,
    maximize: bool = False,
) -> Arrays:
    """One step of gradient descent.

    ``g = grad + weight_decay * p`` (grad negated if ``maximize``); with momentum, ``b = g`` in a parameter's first step
    and ``momentum * b + (1 - dampening) * g`` later, and g becomes ``g + momentum * b`` (``nesterov``) or ``b``; then
    ``p -= lr * g``.

    ``buffers`` (b, shaped as params) and ``steps`` (one int64 per parameter, advanced by the call; 0 marks a first
    step) are needed with momentum. Returns the arrays that were updated: params, buffers, steps.
    """
    _core.sgd(params, grads, buffers, steps, lr, momentum, dampening, weight_decay, nesterov, maximize)
    return [*params, *(buffers or ()), *(steps or ())]


def adam(
    params: Arrays,
    grads: Arrays,
    exp_avgs: Arrays,
    exp_avg_sqs: Arrays,
    max_exp_avg_sqs: Arrays | None,
    steps: Arrays,
    *,
    lr: float,
    beta1: float = 0.9,
    beta2: float = 0.999,
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    decoupled: bool = False,
    maximize: bool = False,
) -> Arrays:
    """One step of Adam, or of AdamW if ``decoupled``; with ``max_exp_avg_sqs`` its AMSGrad variant.

    With t the parameter's step, counted from 1 in ``steps`` (one int64 per parameter, advanced by the call):
    ``g = grad + weight_decay * p``, or decoupled ``p *= 1 - lr * weight_decay``; ``m += (1 - beta1) * (g - m)``;
    ``v = beta2 * v + (1 - beta2) * g * g``; ``p -= lr / (1 - beta1**t) * m / (sqrt(v / (1 - beta2**t)) + eps)``,
    where AMSGrad takes the largest v so far. The corrections are computed in double precision from the whole counter.

    Returns the arrays that were updated: params, exp_avgs, exp_avg_sqs, max_exp_avg_sqs, steps.
    """
    _core.adam(
        params,
        grads,
        exp_avgs,
        exp_avg_sqs,
        max_exp_avg_sqs,
        steps,
        lr,
        beta1,
        beta2,
        eps,
        weight_decay,
        decoupled,
        maximize,
    )
    return [*params, *exp_avgs, *exp_avg_sqs, *(max_exp_avg_sqs or ()), *steps]


def total_norm(arrays: Sequence[Array]) -> Array:
    """The 2-norm of all elements of all arrays together, as a 0-d array of their dtype (float32 for an empty list).

    Neither large nor small elements overflow or vanish on the way: it is inf only if the norm itself is out of range.
    """
    return _core.total_norm(arrays)


def clip_grad_norm(grads: Arrays, max_norm: float) -> Arrays:
    """Scales the gradients by ``min(max_norm / (total_norm(grads) + 1e-6), 1)``, in place.

    Returns ``[norm, *grads]``, norm being the 2-norm before the scaling, a 0-d array.
    """
    return [_core.clip_grad_norm(grads, max_norm), *grads]


def clip_grad_value(grads: Arrays, limit: float) -> Arrays:
    """Clamps every element to [-limit, limit], in place; NaN stays NaN. Returns the gradients."""
    _core.clip_grad_value(grads, limit)
    return [*grads]
