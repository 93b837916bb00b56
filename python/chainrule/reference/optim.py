"""Twins of the optimizer kernels: in place, as they are."""

from collections.abc import Sequence

import numpy as np

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
    for i, p in enumerate(params):
        g = (-grads[i] if maximize else grads[i]) + weight_decay * p
        if buffers is not None and steps is not None:
            b = g if steps[i] == 0 else momentum * buffers[i] + (1 - dampening) * g
            buffers[i][...] = b
            steps[i] += 1
            g = g + momentum * b if nesterov else b
        p -= lr * g
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
    for i, (p, m, v) in enumerate(zip(params, exp_avgs, exp_avg_sqs, strict=True)):
        steps[i] += 1
        t = int(steps[i])
        g = -grads[i] if maximize else grads[i]
        if decoupled:
            p *= 1 - lr * weight_decay
        else:
            g = g + weight_decay * p
        m += (1 - beta1) * (g - m)
        v *= beta2
        v += (1 - beta2) * g * g
        largest = v
        if max_exp_avg_sqs is not None:
            largest = np.maximum(max_exp_avg_sqs[i], v, out=max_exp_avg_sqs[i])
        p -= lr / (1 - beta1**t) * m / (np.sqrt(largest) / np.sqrt(1 - beta2**t) + eps)
    return [*params, *exp_avgs, *exp_avg_sqs, *(max_exp_avg_sqs or ()), *steps]


def total_norm(arrays: Sequence[Array]) -> Array:
    if not arrays:
        return np.zeros((), np.float32)
    largest = max((float(np.max(np.abs(a), initial=0)) for a in arrays), default=0.0)
    if not 0 < largest < np.inf:
        return np.asarray(np.sqrt(sum(np.sum(a * a) for a in arrays)), arrays[0].dtype)
    return np.asarray(largest * np.sqrt(sum(np.sum((a / largest) ** 2) for a in arrays)), arrays[0].dtype)


def clip_grad_norm(grads: Arrays, max_norm: float) -> Arrays:
    norm = total_norm(grads)
    scale = np.minimum(max_norm / (norm + 1e-6), 1)
    for g in grads:
        g *= scale
    return [norm, *grads]


def clip_grad_value(grads: Arrays, limit: float) -> Arrays:
    for g in grads:
        np.clip(g, -limit, limit, out=g)
    return [*grads]
