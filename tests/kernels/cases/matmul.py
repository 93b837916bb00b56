from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from chainrule import reference
from tests.kernels.cases import Array, Case, integers, normal


def condition(a: Array, b: Array, **transposes: bool) -> Array:
    """The sum of the magnitudes of each element's terms."""
    return reference.matmul(np.abs(a), np.abs(b), **transposes)


# The terms' signs are random, so partial sums stay far below the sum of magnitudes that the bound scales with: a few
# eps of that hold for any length.
ULPS = 4

# (m, n, k) around the register tiles (14 x 32, 6 x 16, 14 x 16, 6 x 8), the block of k (256) and its span (4096).
SIZES = [
    (1, 1, 1),
    (1, 33, 7),
    (13, 1, 300),
    (5, 15, 16),
    (6, 16, 17),
    (7, 17, 1),
    (14, 32, 255),
    (15, 33, 256),
    (29, 31, 257),
    (64, 64, 64),
    (31, 65, 515),
    (300, 270, 40),
    (3, 5, 4096),
    (9, 40, 9000),
    (300, 3, 520),
    (40, 4, 9000),
    (40, 37, 300),
    (50, 18, 70),
    (0, 4, 3),
    (4, 0, 3),
    (4, 3, 0),
]


def matrix(rows: int, columns: int, transposed: bool) -> tuple[int, int]:
    return (columns, rows) if transposed else (rows, columns)


def products() -> list[Case]:
    cases = []
    for m, n, k in SIZES:
        for ta in (False, True):
            for tb in (False, True):
                shapes = matrix(m, k, ta), matrix(k, n, tb)
                cases.append(
                    Case(
                        "matmul",
                        f"{m}x{n}x{k}-{'t' if ta else 'n'}{'t' if tb else 'n'}",
                        normal(*shapes),
                        {"transpose_a": ta, "transpose_b": tb},
                        ulps=ULPS,
                        scale=condition,
                        integers=integers(*shapes),
                    )
                )
    return cases


BATCHES: list[tuple[tuple[int, ...], tuple[int, ...]]] = [
    ((5, 3, 4), (5, 4, 6)),
    ((3, 7, 33), (33, 5)),
    ((7, 33), (4, 33, 5)),
    ((2, 1, 9, 20), (3, 20, 17)),
    ((2, 3, 1, 8), (2, 1, 8, 40)),
    ((40, 16, 16), (40, 16, 16)),
    ((3, 2, 5000), (3, 5000, 2)),
    ((0, 3, 4), (4, 5)),
    ((2, 3, 0), (2, 0, 5)),
]


def view(
    make: Callable[..., tuple[Any, ...]], change: Callable[[Array, Array], tuple[Array, Array]]
) -> Callable[..., Any]:
    return lambda rng, dtype: change(*make(rng, dtype))


VIEWS: dict[str, Callable[[Array, Array], tuple[Array, Array]]] = {
    "rows-apart": lambda a, b: (a[:, 3:23], b[2:22, 1:18]),
    "transposed": lambda a, b: (a.T[3:23, :20], b.T[1:21, 2:10]),
    "reversed": lambda a, b: (a[::-1, 4:24], b[:20, ::-1]),
    "every-other": lambda a, b: (a[::2, ::2], b[::2, ::3]),
    "repeated": lambda a, b: (np.broadcast_to(a[0, :8], (5, 8)), np.broadcast_to(b[:8, :1], (8, 9))),
}


def linear_condition(x: Array, weight: Array, bias: Array | None = None, **options: Any) -> Any:
    z = reference.linear(np.abs(x), np.abs(weight), None if bias is None else np.abs(bias))
    return (z, z) if options.get("return_preactivation") else z


def residual_condition(x: Array, weight: Array, bias: Array | None, *rest: Any) -> Any:
    b = None if bias is None else abs(bias)
    return reference.linear(abs(x), abs(weight), b, "none", True, abs(rest[-1]))


def without_bias(make: Callable[..., tuple[Any, ...]]) -> Callable[..., tuple[Any, ...]]:
    return lambda rng, dtype: make(rng, dtype)[:2]


def with_saved(make: Callable[..., tuple[Any, ...]], activation: str) -> Callable[..., tuple[Any, ...]]:
    """(dy, x, weight, activation, saved): saved in the range of what the forward pass saves."""
    saves: dict[str, Callable[[Array], Array | None]] = {
        "none": lambda s: None,
        "sigmoid": lambda s: 1 / (1 + np.exp(-s)),
        "tanh": np.tanh,
    }

    def args(rng: np.random.Generator, dtype: np.dtype) -> tuple[Any, ...]:
        dy, x, weight = make(rng, dtype)
        return dy, x, weight, activation, saves.get(activation, np.copy)(dy[..., ::-1])

    return args


# (leading dimensions of x, n, k), around the tiles, the block of k, the block and the span of rows (256, 4096).
LAYERS: list[tuple[tuple[int, ...], int, int]] = [
    ((), 3, 5),
    ((1,), 10, 64),
    ((33,), 15, 16),
    ((2, 7), 17, 33),
    ((64,), 64, 17),
    ((257,), 31, 300),
    ((3, 300), 70, 40),
    ((9000,), 4, 3),
    ((0,), 4, 3),
    ((5,), 0, 3),
    ((5,), 4, 0),
    ((90,), 1, 300),
    ((600,), 2, 40),
    ((100,), 200, 300),  # by columns of the weight, several chunks both ways
]


ACTIVATIONS = ["none", "relu", "leaky_relu", "gelu", "gelu_tanh", "silu", "sigmoid", "tanh"]
EXACT = {"none", "relu"}  # on integers


def linear_case(name: str, shapes: tuple[tuple[int, ...], ...], activation: str) -> Case:
    return Case(
        "linear",
        name,
        normal(*shapes),
        {"activation": activation, "return_preactivation": activation != "relu"},
        ulps=ULPS,
        scale=linear_condition,
        integers=integers(*shapes) if activation in EXACT else None,
    )


def backward_condition(dy: Array, x: Array, weight: Array, *rest: Any) -> Any:
    return reference.linear_backward(*map(np.abs, (dy, x, weight)))


def linear_backward_case(name: str, shapes: tuple[tuple[int, ...], ...], activation: str) -> Case:
    return Case(
        "linear_backward",
        name,
        with_saved(normal(*shapes), activation),
        ulps=ULPS,
        scale=backward_condition,
        integers=with_saved(integers(*shapes), activation) if activation in EXACT else None,
    )


def behind_activation(make: Callable[..., tuple[Any, ...]], activation: str) -> Callable[..., tuple[Any, ...]]:
    """(dy, x, weight, "none", None, needs, into, input_activation, input_saved)."""

    def args(rng: np.random.Generator, dtype: np.dtype) -> tuple[Any, ...]:
        dy, x, weight = make(rng, dtype)
        saved = with_saved(lambda *_: (x, dy, weight), activation)(rng, dtype)[-1]
        return dy, x, weight, "none", None, (True, True, True), (None, None), activation, saved

    return args


def with_residual(make: Callable[..., tuple[Any, ...]], bias: bool) -> Callable[..., tuple[Any, ...]]:
    """(x, weight, bias or None, activation, return_preactivation, residual)."""

    def args(rng: np.random.Generator, dtype: np.dtype) -> tuple[Any, ...]:
        x, weight, b, residual = make(rng, dtype)
        return x, weight, b if bias else None, "relu", True, residual

    return args


def added(make: Callable[..., tuple[Any, ...]], both: bool) -> Callable[..., tuple[Any, ...]]:
    """(dy, x, weight, activation, saved, needs, into)."""

    def args(rng: np.random.Generator, dtype: np.dtype) -> tuple[Any, ...]:
        dy, x, weight, dw, db = make(rng, dtype)
        return dy, x, weight, "none", None, (False, True, True), (dw, db if both else None)

    return args


def added_condition(dy: Array, x: Array, weight: Array, *rest: Any) -> Any:
    dw, db = rest[-1]
    into = abs(dw), None if db is None else abs(db)
    return reference.linear_backward(abs(dy), abs(x), weight, "none", None, (False, True, True), into)


def sums() -> list[Case]:
    """With a residual; with gradients that are added to what is there."""
    cases = []
    for i, (lead, n, k) in enumerate(LAYERS):
        name, even = f"{'x'.join(map(str, lead))}-{n}-{k}", i % 2 == 0
        shapes = ((*lead, k), (n, k), (n,), (*lead, n))
        made, exact = (with_residual(f(*shapes), even) for f in (normal, integers))
        cases.append(Case("linear", f"{name}-residual", made, {}, ULPS, residual_condition, exact))
        shapes = ((*lead, n), (*lead, k), (n, k), (n, k), (n,))
        made, exact = (added(f(*shapes), even) for f in (normal, integers))
        cases.append(Case("linear_backward", f"{name}-into", made, {}, ULPS, added_condition, exact))
    return cases


def layers() -> list[Case]:
    cases = []
    for lead, n, k in LAYERS:
        name = f"{'x'.join(map(str, lead))}-{n}-{k}"
        for activation in ACTIVATIONS[:2]:
            cases.append(linear_case(f"{name}-{activation}", ((*lead, k), (n, k), (n,)), activation))
            cases.append(linear_backward_case(f"{name}-{activation}", ((*lead, n), (*lead, k), (n, k)), activation))
        shapes = ((*lead, n), (*lead, k), (n, k))
        made, exact = (behind_activation(f(*shapes), "relu") for f in (normal, integers))
        cases.append(Case("linear_backward", f"{name}-behind-relu", made, {}, ULPS, backward_condition, exact))
        made, exact = (without_bias(f((*lead, k), (n, k), (n,))) for f in (normal, integers))
        cases.append(Case("linear", f"{name}-no-bias", made, {}, ULPS, linear_condition, exact))
    for activation in ACTIVATIONS[2:]:
        cases.append(linear_case(activation, ((29, 20), (33, 20), (33,)), activation))
        shapes = ((300, 33), (300, 20), (33, 20))
        cases.append(linear_backward_case(activation, shapes, activation))
        made = behind_activation(normal(*shapes), activation)
        cases.append(Case("linear_backward", f"behind-{activation}", made, {}, ULPS, backward_condition))
    return cases


CASES = [
    *layers(),
    *sums(),
    *products(),
    *(
        Case("matmul", f"{a}@{b}", normal(a, b), ulps=ULPS, scale=condition, integers=integers(a, b))
        for a, b in BATCHES
    ),
    *(
        Case(
            "matmul",
            name,
            view(normal((25, 25), (25, 25)), change),
            ulps=ULPS,
            scale=condition,
            integers=view(integers((25, 25), (25, 25)), change),
        )
        for name, change in VIEWS.items()
    ),
]
