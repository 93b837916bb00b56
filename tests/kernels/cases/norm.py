from __future__ import annotations

import math
from typing import Any

import numpy as np

from chainrule import reference
from tests.kernels.cases import Array, Case, channels_last


def layer(shape: tuple[int, ...], axes: int, affine: bool, backward: bool = False) -> Any:
    def make(rng: np.random.Generator, dtype: np.dtype) -> tuple[Any, ...]:
        x = (2 * rng.standard_normal(shape) + 1).astype(dtype)
        inner = shape[len(shape) - axes :]
        weight, bias = (rng.standard_normal(inner).astype(dtype) if affine else None for _ in range(2))
        if not backward:
            return x, weight, bias
        _, mean, rstd = reference.layer_norm(x.astype(np.float64), axes=axes)
        return rng.standard_normal(shape).astype(dtype), x, mean.astype(dtype), rstd.astype(dtype), weight

    return make


def batch(shape: tuple[int, ...], affine: bool, training: bool, backward: bool = False) -> Any:
    def make(rng: np.random.Generator, dtype: np.dtype) -> tuple[Any, ...]:
        x = (2 * rng.standard_normal(shape) + 1).astype(dtype)
        c = shape[1]
        weight, bias = (rng.standard_normal(c).astype(dtype) if affine else None for _ in range(2))
        running = rng.standard_normal(c).astype(dtype), (rng.random(c) + 0.5).astype(dtype)
        if not backward:
            return x, weight, bias, *running
        _, mean, rstd = reference.batch_norm(x.astype(np.float64), None, None, *running, training)
        return rng.standard_normal(shape).astype(dtype), x, mean.astype(dtype), rstd.astype(dtype), weight

    return make


def batch_with_residual(shape: tuple[int, ...], training: bool, activation: str) -> Any:
    """(x, weight, bias, running_mean, running_var, training, momentum, eps, residual, activation)."""

    def make(rng: np.random.Generator, dtype: np.dtype) -> tuple[Any, ...]:
        args = batch(shape, True, training)(rng, dtype)
        return *args, training, 0.1, 1e-5, rng.standard_normal(shape).astype(dtype), activation

    return make


def batch_behind_relu(shape: tuple[int, ...], affine: bool, training: bool) -> Any:
    """(dy, x, mean, rstd, weight, training, needs, bias, activation)."""

    def make(rng: np.random.Generator, dtype: np.dtype) -> tuple[Any, ...]:
        dy, x, mean, rstd, weight = batch(shape, affine, training, True)(rng, dtype)
        bias = rng.standard_normal(shape[1]).astype(dtype) if affine else None
        mu, r, w, b = wide_channels(x, mean, rstd, 1 if weight is None else weight, 0 if bias is None else bias)
        dy[np.abs((x.astype(np.float64) - mu) * r * w + b) < 1e-3] = 0  # which side of 0 those are depends on roundings
        return dy, x, mean, rstd, weight, training, (True, True, True), bias, "relu"

    return make


def conditions(
    x: Array, w: Any, b: Any, mean: Array, rstd: Array, axes: tuple[int, ...], own: bool
) -> tuple[Array, ...]:
    """Of y, mean, rstd. A deviation carries the rounding of the mean; rstd half the relative error of the variance."""
    m = np.mean(np.abs(x), axes, keepdims=True) if own else np.abs(mean)
    d = np.abs(x - mean)
    relative = 1 + (np.mean(d * (np.abs(mean) + d), axes, keepdims=True) * rstd**2 if own else 0)
    return np.abs(w) * rstd * (np.abs(x) + m + d * relative) + np.abs(b), m, rstd * relative


def layer_condition(x: Array, w: Any = None, b: Any = None, eps: float = 1e-5, axes: int = 1) -> Any:
    _, mean, rstd = reference.layer_norm(x, w, b, eps, axes)
    wide = (*mean.shape, *(1,) * axes)
    inner = tuple(range(x.ndim - axes, x.ndim))
    y, m, r = conditions(
        x, 1 if w is None else w, 0 if b is None else b, mean.reshape(wide), rstd.reshape(wide), inner, True
    )
    return y, m.reshape(mean.shape), r.reshape(mean.shape)


def layer_backward_condition(
    dy: Array, x: Array, mean: Array, rstd: Array, w: Any = None, axes: int = 1, needs: Any = (True, True, True)
) -> Any:
    inner, outer = tuple(range(x.ndim - axes, x.ndim)), tuple(range(x.ndim - axes))
    wide = (*mean.shape, *(1,) * axes)
    mean, rstd = mean.reshape(wide), rstd.reshape(wide)
    h, g = (np.abs(x) + np.abs(mean)) * rstd, np.abs(dy if w is None else dy * w)
    n = math.prod(x.shape[a] for a in inner)
    dx = rstd * (g + np.sum(g, inner, keepdims=True) / n + h * np.sum(g * h, inner, keepdims=True) / n)
    grads = dx, np.sum(np.abs(dy) * h, outer), np.sum(np.abs(dy), outer)
    return tuple(d for d, need in zip(grads, needs, strict=True) if need)


def wide_channels(x: Array, *p: Any) -> list[Any]:
    return [np.asarray(a).reshape([-1 if i == 1 else 1 for i in range(x.ndim)]) for a in p]


def batch_condition(
    x: Array,
    w: Any = None,
    b: Any = None,
    mean_: Any = None,
    var_: Any = None,
    training: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
    residual: Any = None,
    activation: str = "none",
) -> Any:
    kept = [a if a is None else a.copy() for a in (mean_, var_)]
    made, mean, rstd = reference.batch_norm(x, w, b, *kept, training, momentum, eps, residual, activation)
    mu, r = wide_channels(x, mean, rstd)
    ww, bb = wide_channels(x, np.ones(1) if w is None else w, np.zeros(1) if b is None else b)
    others = tuple(a for a in range(x.ndim) if a != 1)
    y, m, rr = conditions(x, ww, bb, mu, r, others, training)
    if residual is not None:
        y = y + np.abs(residual)
    return y if activation == "none" else y + np.abs(made), m.reshape(-1), rr.reshape(-1)


def batch_backward_condition(
    dy: Array,
    x: Array,
    mean: Array,
    rstd: Array,
    w: Any = None,
    training: bool = True,
    needs: Any = (True, True, True),
    bias: Any = None,
    activation: str = "none",
) -> Any:
    mu, r, ww = wide_channels(x, mean, rstd, np.ones(1) if w is None else w)
    others = tuple(a for a in range(x.ndim) if a != 1)
    h, g = (np.abs(x) + np.abs(mu)) * r, np.abs(dy)
    m = max(1, x.size // x.shape[1])
    db, dw = np.sum(g, others, keepdims=True), np.sum(g * h, others, keepdims=True)
    grads = np.abs(ww) * r * (g + db / m + h * dw / m), dw.reshape(-1), db.reshape(-1)
    return tuple(d for d, need in zip(grads, needs, strict=True) if need)


LAYERS: list[tuple[tuple[int, ...], int]] = [
    *(((5, n), 1) for n in (1, 7, 8, 15, 16, 17, 33, 128, 1000)),
    ((3, 9000), 1),
    ((200, 20), 1),
    ((2, 3, 4, 5), 2),
    ((6,), 1),
    ((0, 5), 1),
]
BATCHES: list[tuple[int, ...]] = [
    (2, 1),
    (33, 7),
    (300, 17),
    (5, 40),
    (2, 3, 1),
    (4, 3, 5),
    (3, 5, 7, 9),
    (2, 2, 70, 70),
    (1, 4, 2),
]
CASES = [
    *(
        case
        for shape, axes in LAYERS
        for affine in (False, True)
        for id in [f"{'x'.join(map(str, shape))}-{axes}-{'affine' if affine else 'plain'}"]
        for case in (
            Case("layer_norm", id, layer(shape, axes, affine), {"axes": axes}, 4, layer_condition),
            Case(
                "layer_norm_backward", id, layer(shape, axes, affine, True), {"axes": axes}, 4, layer_backward_condition
            ),
        )
    ),
    *(
        case
        for shape in BATCHES
        for affine in (False, True)
        for training in (True, False)
        for id in [f"{'x'.join(map(str, shape))}-{'affine' if affine else 'plain'}-{'train' if training else 'eval'}"]
        for kwargs in [{"training": training}]
        for case in (
            Case("batch_norm", id, batch(shape, affine, training), kwargs, 4, batch_condition),
            Case("batch_norm_backward", id, batch(shape, affine, training, True), kwargs, 4, batch_backward_condition),
        )
    ),
    *(
        case
        for needs in ((True, False, False), (False, True, False), (False, False, True))
        for id in ["needs-" + "".join("01"[n] for n in needs)]
        for kwargs in [{"needs": needs}]
        for case in (
            Case(
                "layer_norm_backward", id, layer((70, 9), 1, True, True), {"needs": needs}, 4, layer_backward_condition
            ),
            Case(
                "batch_norm_backward",
                id,
                batch((4, 3, 5), True, True, True),
                {"needs": needs},
                4,
                batch_backward_condition,
            ),
        )
    ),
]
ACTIVATIONS = ["none", "relu", "leaky_relu", "gelu", "gelu_tanh", "silu", "sigmoid", "tanh"]
CASES += [
    laid(Case("batch_norm", f"residual-{id}-{activation}", make, {}, 4, batch_condition))
    for shape, laid in [(s, lambda c: c) for s in BATCHES[1:]] + [((2, 15, 7, 9), channels_last)]
    for training, activation in ((True, "relu"), (False, "relu"), *((True, a) for a in ACTIVATIONS if shape[0] < 6))
    for id in ["x".join(map(str, shape)) + ("-train" if training else "-eval")]
    for make in [batch_with_residual(shape, training, activation)]
]
CASES += [
    laid(Case("batch_norm_backward", f"relu-{id}", make, {}, 4, batch_backward_condition))
    for shape, laid in [(s, lambda c: c) for s in BATCHES] + [((2, 15, 7, 9), channels_last)]
    for affine in (True, False)
    for training in (True, False)
    for id in [f"{'x'.join(map(str, shape))}-{'affine' if affine else 'plain'}-{'train' if training else 'eval'}"]
    for make in [batch_behind_relu(shape, affine, training)]
]
IMAGES = [(3, 2, 4, 5), (2, 15, 7, 9), (1, 16, 1, 2), (2, 17, 24, 23), (5, 65, 9, 30), (2, 130, 3, 5), (3, 3, 30, 40)]
# NumPy adds up the pixels of such images one after the other, which the kernel doesn't.
CASES += [
    channels_last(
        Case(name, id, batch(shape, affine, training, name != "batch_norm"), {"training": training}, 4, condition),
        extended=True,
    )
    for shape in IMAGES
    for affine in (False, True)
    for training in (True, False)
    for id in [f"{'x'.join(map(str, shape))}-{'affine' if affine else 'plain'}-{'train' if training else 'eval'}"]
    for name, condition in (("batch_norm", batch_condition), ("batch_norm_backward", batch_backward_condition))
]
