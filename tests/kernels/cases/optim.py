from collections.abc import Callable
from typing import Any

import numpy as np

from tests.kernels.cases import Case

Array = np.ndarray
Lists = list[list[Array]]

# Lists of shapes: none, one, empty and 0-d arrays among others, tails around a vector, several chunks of 8192.
SHAPES: dict[str, list[tuple[int, ...]]] = {
    "none": [],
    "empty": [(0,), (3, 0)],
    "one": [(1,)],
    "small": [(), (7,), (0,), (8,), (9,), (3, 5), (16,), (17,), (2, 3, 11)],
    "chunks": [(8191,), (1,), (8192,), (33,), (130, 127), (20011,)],
    "groups": [(5,), (300, 230), (9,), (41003,), (3,)],  # large ones are shared out by themselves, also among two
}
Random = np.random.Generator


def real(rng: Random, shape: tuple[int, ...], dtype: np.dtype) -> Array:
    return np.asarray(rng.standard_normal(shape), dtype)


def whole(rng: Random, shape: tuple[int, ...], dtype: np.dtype) -> Array:
    return np.asarray(rng.integers(-4, 5, shape), dtype)


def steps(rng: Random, count: int) -> list[Array]:
    return [np.array(rng.integers(0, 4)) for _ in range(count)]


def sgd_args(shapes: list[tuple[int, ...]], momentum: bool, draw: Callable[..., Array] = real) -> Callable[..., Any]:
    def make(rng: Random, dtype: np.dtype) -> tuple[Any, ...]:
        lists = [[draw(rng, s, dtype) for s in shapes] for _ in range(3 if momentum else 2)]
        return (*lists, steps(rng, len(shapes))) if momentum else tuple(lists)

    return make


def adam_args(shapes: list[tuple[int, ...]], amsgrad: bool) -> Callable[..., Any]:
    def make(rng: Random, dtype: np.dtype) -> tuple[Any, ...]:
        params, grads, m, v, largest = ([real(rng, s, dtype) for s in shapes] for _ in range(5))
        v = [np.asarray(np.abs(x)) for x in v]
        return (
            params,
            grads,
            m,
            v,
            [np.asarray(np.abs(x)) for x in largest] if amsgrad else None,
            steps(rng, len(shapes)),
        )

    return make


def sgd_scale(params: Any, grads: Any, buffers: Any = None, counters: Any = None, **settings: Any) -> list[Array]:
    """The same sum with every term's magnitude."""
    lr, momentum = settings["lr"], settings.get("momentum", 0)
    moved, kept = [], []
    for i, (p, g) in enumerate(zip(params, grads, strict=True)):
        size = np.abs(g) + settings.get("weight_decay", 0) * np.abs(p)
        if buffers is not None:
            b = size if counters[i] == 0 else momentum * np.abs(buffers[i]) + abs(1 - settings["dampening"]) * size
            kept.append(b)
            size = size + momentum * b if settings.get("nesterov") else b
        moved.append(np.abs(p) + lr * size)
    return [*moved, *kept, *(counters or ())]


def adam_scale(params: Any, grads: Any, m: Any, v: Any, largest: Any, counters: Any, **settings: Any) -> list[Array]:
    """Magnitudes of the terms of m and v; the error of each reaches p through the update's derivative."""
    lr, beta1, beta2 = settings["lr"], settings["beta1"], settings["beta2"]
    moved, firsts, seconds, largests = [], [], [], []
    for i, p in enumerate(params):
        t = int(counters[i]) + 1
        size = np.abs(grads[i])
        if not settings.get("decoupled"):
            size = size + settings.get("weight_decay", 0) * np.abs(p)
        first = np.abs(m[i]) + size
        second = beta2 * v[i] + (1 - beta2) * size**2
        g = -grads[i] if settings.get("maximize") else grads[i]
        if not settings.get("decoupled"):
            g = g + settings.get("weight_decay", 0) * p
        exact = beta2 * v[i] + (1 - beta2) * g**2
        if largest is not None:
            exact = np.maximum(exact, largest[i])
            largests.append(np.maximum(second, largest[i]))
        denominator = np.sqrt(exact / (1 - beta2**t)) + settings["eps"]
        moved.append(np.abs(p) + lr / (1 - beta1**t) * first / denominator * (1 + second / exact))
        firsts.append(first)
        seconds.append(second)
    return [*moved, *firsts, *seconds, *largests, *counters]


def sgd_cases() -> list[Case]:
    variants: dict[str, dict[str, Any]] = {
        "plain": {"lr": 0.1},
        "decay-maximize": {"lr": 0.1, "weight_decay": 0.01, "maximize": True},
        "momentum": {"lr": 0.1, "momentum": 0.9, "dampening": 0.3, "weight_decay": 0.01},
        "nesterov": {"lr": 0.1, "momentum": 0.9, "dampening": 0.0, "nesterov": True, "maximize": True},
    }
    exact: dict[str, dict[str, Any]] = {
        "plain": {"lr": 0.5, "weight_decay": 2.0},
        "momentum": {"lr": 0.5, "momentum": 0.5, "dampening": 0.25, "weight_decay": 1.0},
        "nesterov": {"lr": 0.25, "momentum": 0.5, "dampening": 0.0, "nesterov": True},
    }
    cases = []
    for shape, shapes in SHAPES.items():
        for variant, settings in variants.items():
            args = sgd_args(shapes, "momentum" in settings)
            cases.append(Case("sgd", f"{shape}-{variant}", args, settings, scale=sgd_scale))
        for variant, settings in exact.items():
            args = sgd_args(shapes, "momentum" in settings, whole)
            cases.append(Case("sgd", f"{shape}-{variant}-whole", args, settings, scale=sgd_scale, integers=args))
    return cases


def adam_cases() -> list[Case]:
    base = {"lr": 1e-2, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8}
    variants: dict[str, dict[str, Any]] = {
        "adam": base,
        "adam-decay-maximize": {**base, "weight_decay": 0.1, "maximize": True},
        "adamw": {**base, "weight_decay": 0.1, "decoupled": True},
        "small-betas": {**base, "beta1": 0.25, "beta2": 0.5},
        "no-betas": {**base, "beta1": 0.0, "beta2": 0.0},
    }
    return [
        Case(
            "adam",
            f"{shape}-{variant}{'-amsgrad' * amsgrad}",
            adam_args(shapes, amsgrad),
            settings,
            scale=adam_scale,
            ulps=6,
        )
        for shape, shapes in SHAPES.items()
        for variant, settings in variants.items()
        for amsgrad in (False, True)
    ]


def one_list(shapes: list[tuple[int, ...]], *more: Any, draw: Callable[..., Array] = real) -> Callable[..., Any]:
    return lambda rng, dtype: ([draw(rng, s, dtype) for s in shapes], *more)


def list_cases() -> list[Case]:
    cases = []
    for name, shapes in SHAPES.items():
        cases += [
            Case("clip_grad_norm", f"{name}-scaled", one_list(shapes, 0.5), ulps=6),
            Case("clip_grad_norm", f"{name}-kept", one_list(shapes, 1e6), ulps=2),
            Case("clip_grad_value", name, one_list(shapes, 0.5), ulps=1, integers=one_list(shapes, 2.0, draw=whole)),
        ]
        if shapes:  # an empty list has no dtype: its norm is float32
            cases.append(Case("total_norm", name, one_list(shapes), ulps=2))
    return [c for c in cases if not (c.name == "clip_grad_norm" and c.id.startswith("none"))]


CASES = [*sgd_cases(), *adam_cases(), *list_cases()]
