"""Bench cases of matrix products and linear layers."""

from __future__ import annotations

from typing import Any

import numpy as np

from bench.case import Case, shaped

# Matrix products: rows, inputs, outputs of a linear layer.
PRODUCTS = [
    (64, 64, 64),
    (128, 128, 128),
    (100, 300, 300),
    (32, 784, 128),
    (1, 512, 512),
    (256, 256, 256),
    (512, 512, 512),
    (1024, 1024, 1024),
    (2048, 2048, 2048),
    (128, 784, 512),
    (512, 128, 512),
    (1024, 768, 3072),
    (64, 4096, 1000),
    (8192, 256, 256),
    (1024, 512, 1),
    (128, 256, 10),
]


def products() -> list[Case]:
    found = []
    for m, k, n in PRODUCTS:
        work, label = 2.0 * m * n * k, f"{m}x{n}x{k}"
        found += [
            *passes(m, k, n),
            Case(
                "matmul",
                label,
                shaped((m, k), (k, n)),
                peers={"numpy": np.matmul, "torch": lambda t, a, b: a @ b, "jax": lambda j, a, b: a @ b},
                flops=work,
            ),
            Case(
                "linear",
                f"{label} + bias, relu",
                shaped((m, k), (n, k), (n,)),
                {"activation": "relu"},
                {
                    "numpy": lambda x, w, b, activation: np.maximum(x @ w.T + b, 0),
                    "torch": lambda t, x, w, b: t.nn.functional.linear(x, w, b).relu_(),
                    "jax": lambda j, x, w, b: j.nn.relu(x @ w.T + b),
                },
                work,
            ),
            Case(
                "linear_backward",
                f"{label}: dx, dw, db",
                shaped((m, n), (m, k), (n, k)),
                peers={
                    "numpy": lambda dy, x, w: (dy @ w, dy.T @ x, dy.sum(0)),
                    "torch": lambda t, dy, x, w: (dy @ w, dy.T @ x, dy.sum(0)),
                    "jax": lambda j, dy, x, w: (dy @ w, dy.T @ x, dy.sum(0)),
                },
                flops=2 * work,
            ),
            Case(
                "linear_backward",
                f"{label}, relu: dx, dw, db",
                shaped((m, n), (m, k), (n, k), "relu", (m, n)),
                peers={
                    "numpy": lambda dy, x, w, _, y: after_relu(dy * (y > 0), x, w),
                    "torch": lambda t, dy, x, w, _, y: after_relu(t.ops.aten.threshold_backward(dy, y, 0), x, w),
                    "jax": lambda j, dy, x, w, _, y: after_relu(dy * (y > 0), x, w),
                },
                flops=2 * work,
            ),
        ]
    return [*found, *(case for m, k, n in SUMS for case in sums(m, k, n))]


def passes(m: int, k: int, n: int) -> list[Case]:
    """A linear layer's three products, each by itself."""
    work, label = 2.0 * m * n * k, f"{m}x{n}x{k}"
    return [
        Case(
            "linear",
            label,
            shaped((m, k), (n, k)),
            peers={
                "numpy": lambda x, w: x @ w.T,
                "torch": lambda t, x, w: t.nn.functional.linear(x, w),
                "jax": lambda j, x, w: x @ w.T,
            },
            flops=work,
        ),
        Case(
            "linear_backward",
            f"{label}: dx",
            shaped((m, n), (m, k), (n, k), "none", None, lambda rng: (True, False, False)),
            peers={
                "numpy": lambda dy, x, w, *_: (dy @ w,),
                "torch": lambda t, dy, x, w, *_: (dy @ w,),
                "jax": lambda j, dy, x, w, *_: (dy @ w,),
            },
            flops=work,
        ),
        Case(
            "linear_backward",
            f"{label}: dw",
            shaped((m, n), (m, k), (n, k), "none", None, lambda rng: (False, True, False)),
            peers={
                "numpy": lambda dy, x, w, *_: (dy.T @ x,),
                "torch": lambda t, dy, x, w, *_: (dy.T @ x,),
                "jax": lambda j, dy, x, w, *_: (dy.T @ x,),
            },
            flops=work,
        ),
    ]


SUMS = [(100, 300, 300), (128, 784, 512), (512, 128, 512), (1024, 768, 3072)]


def sums(m: int, k: int, n: int) -> list[Case]:
    """Products that add to what is there: a residual, gradients that are kept."""
    work, label = 2.0 * m * n * k, f"{m}x{n}x{k}"

    def kept(rng: np.random.Generator) -> Any:
        return tuple(rng.standard_normal(s).astype(np.float32) for s in ((n, k), (n,)))

    def numpy_gradients(dy: Any, x: Any, w: Any, _f: Any, _y: Any, _n: Any, into: Any) -> Any:
        return dy @ w, np.add(into[0], dy.T @ x, out=into[0]), np.add(into[1], dy.sum(0), out=into[1])

    def torch_gradients(t: Any, dy: Any, x: Any, w: Any, _f: Any, _y: Any, _n: Any, into: Any) -> Any:
        return dy @ w, into[0].addmm_(dy.T, x), into[1].add_(dy.sum(0))

    def jax_gradients(j: Any, dy: Any, x: Any, w: Any, _f: Any, _y: Any, _n: Any, into: Any) -> Any:
        return dy @ w, into[0] + dy.T @ x, into[1] + dy.sum(0)

    return [
        Case(
            "linear",
            f"{label} + bias + residual",
            shaped((m, k), (n, k), (n,), "none", False, (m, n)),
            peers={
                "numpy": lambda x, w, b, _f, _z, r: x @ w.T + b + r,
                "torch": lambda t, x, w, b, _f, _z, r: t.nn.functional.linear(x, w, b).add_(r),
                "jax": lambda j, x, w, b, _f, _z, r: x @ w.T + b + r,
            },
            flops=work,
        ),
        Case(
            "linear_backward",
            f"{label}: dx, dw and db added to what is there",
            shaped((m, n), (m, k), (n, k), "none", None, lambda rng: (True, True, True), kept),
            peers={"numpy": numpy_gradients, "torch": torch_gradients, "jax": jax_gradients},
            flops=2 * work,
        ),
        Case(
            "linear_backward",
            f"{label} behind relu: dx, dw, db",
            shaped((m, n), (m, k), (n, k), "none", None, lambda rng: (True, True, True), no_sums, "relu", (m, k)),
            peers={
                "numpy": lambda dy, x, w, *rest: behind_relu(dy, x, w, rest[-1]),
                "torch": lambda t, dy, x, w, *rest: (
                    t.ops.aten.threshold_backward(dy @ w, rest[-1], 0),
                    dy.T @ x,
                    dy.sum(0),
                ),
                "jax": lambda j, dy, x, w, *rest: behind_relu(dy, x, w, rest[-1]),
            },
            flops=2 * work,
        ),
    ]


def no_sums(rng: np.random.Generator) -> Any:
    return None, None


def behind_relu(dy: Any, x: Any, w: Any, y: Any) -> tuple[Any, Any, Any]:
    return (dy @ w) * (y > 0), dy.T @ x, dy.sum(0)


def after_relu(dz: Any, x: Any, w: Any) -> tuple[Any, Any, Any]:
    return dz @ w, dz.T @ x, dz.sum(0)
