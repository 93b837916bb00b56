from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from chainrule.reference import elementwise as reference
from tests.kernels.cases import LENGTHS, Array, Case, integers, normal

Args = Callable[[np.random.Generator, np.dtype], tuple[Any, ...]]

# Shapes that broadcast, and layouts: what each does to the iteration space is in the id.
BROADCASTS: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {
    "scalar": ((), ()),
    "bias": ((37, 130), (130,)),
    "column": ((130, 37), (130, 1)),
    "outer": ((33, 1), (1, 129)),
    "channels": ((3, 5, 6, 7), (5, 1, 1)),
    "narrow": ((700, 3), (3,)),
    "both": ((4, 1, 9, 1), (3, 1, 17)),
    "many-chunks": ((130, 151), (151,)),
    "left": ((17,), (9, 17)),
    "empty": ((0, 3), (3,)),
}


def spread(low: float, high: float, *shapes: tuple[int, ...]) -> Args:
    """Uniform on [low, high)."""
    return lambda rng, dtype: tuple(rng.uniform(low, high, s).astype(dtype) for s in shapes)


def special(*, others: tuple[float, ...] = ()) -> Args:
    """Every special value, twice over so that they meet vector and tail."""
    values = (0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, 0.5, -0.5, 2.0, -3.0, 1e30, -1e30, *others)
    return lambda rng, dtype: (np.array(values * 2, dtype),)


def special_pairs(rng: np.random.Generator, dtype: np.dtype) -> tuple[Array, Array]:
    """Every special value against every other."""
    (x,) = special(others=(3.0, -2.0, 1e-30))(rng, dtype)
    return x[:, None], x


def view(make: Callable[[Array], Array], shape: tuple[int, ...]) -> Args:
    """Two operands, the first a view."""

    def args(rng: np.random.Generator, dtype: np.dtype) -> tuple[Array, ...]:
        a = make(rng.standard_normal(shape).astype(dtype))
        return a, rng.standard_normal(a.shape).astype(dtype)

    return args


def with_condition(args: Args) -> Args:
    """Puts a random bool array before two operands."""

    def made(rng: np.random.Generator, dtype: np.dtype) -> tuple[Any, ...]:
        a, b = args(rng, dtype)
        return rng.random(np.broadcast_shapes(a.shape, b.shape)) < 0.5, a, b

    return made


VIEWS = {
    "reversed": view(lambda a: a[::-1, ::-1], (33, 70)),
    "strided": view(lambda a: a[::2, ::3], (33, 70)),
    "transposed": view(lambda a: a.T, (33, 70)),
    "permuted": view(lambda a: a.transpose(2, 0, 1), (5, 6, 70)),
    "repeated": view(lambda a: np.broadcast_to(a[0], a.shape), (33, 70)),
}

CASES: list[Case] = []

for name in ("add", "sub", "mul", "div", "maximum", "minimum"):
    exact = name != "div"
    for n in LENGTHS:
        CASES.append(Case(name, f"{n}", normal((n,), (n,)), ulps=0.5, integers=integers((n,), (n,)) if exact else None))
    for id, shapes in BROADCASTS.items():
        CASES.append(Case(name, id, normal(*shapes), ulps=0.5, integers=integers(*shapes) if exact else None))
    for id, args in VIEWS.items():
        CASES.append(Case(name, id, args, ulps=0.5))
    CASES.append(Case(name, "special", special_pairs, ulps=0.5))

for id, shapes in BROADCASTS.items():
    CASES.append(
        Case("pow", id, lambda rng, dtype, s=shapes: (*spread(0, 9, s[0])(rng, dtype), *normal(s[1])(rng, dtype)))
    )
    CASES.append(Case("where", id, with_condition(normal(*shapes)), ulps=0, integers=with_condition(integers(*shapes))))
for n in LENGTHS:
    CASES.append(
        Case("pow", f"{n}", lambda rng, dtype, n=n: (*spread(0, 4, (n,))(rng, dtype), *normal((n,))(rng, dtype)))
    )
for id, args in VIEWS.items():
    CASES.append(Case("where", id, with_condition(args), ulps=0))
CASES.append(Case("pow", "special", special_pairs))
CASES.append(
    Case(
        "pow",
        "integers",
        lambda rng, dtype: (rng.standard_normal((9, 40)).astype(dtype), rng.integers(-9, 10, 40).astype(dtype)),
    )
)

UNARY: dict[str, Args] = {
    "abs": special(),
    **dict.fromkeys(
        ("ceil", "floor", "round", "trunc"), special(others=(1.5, -2.5, 0.7, -0.3, 2.0**22 + 0.5, 2.0**51 + 0.5))
    ),
    **dict.fromkeys(("cos", "sin"), special(others=(1e5, -1048577.0, 3.14159265, 1e-30, 3e38))),
    "sign": special(),
    "erf": special(others=(3.0, 5.0, -7.0)),
    "erfc": special(others=(3.0, 9.0, -7.0)),
    "exp": special(others=(88.0, -87.0)),
    "expm1": special(others=(88.0, -87.0)),
    "gelu": special(others=(-5.0, -9.0, 9.0)),
    "gelu_tanh": special(others=(-5.0, 9.0)),
    "leaky_relu": special(),
    "log": special(others=(1e-30,)),
    "log1p": special(others=(-1.5, 1e-30)),
    "neg": special(),
    "reciprocal": special(),
    "relu": special(),
    "rsqrt": special(),
    "sigmoid": special(others=(88.0, -87.0)),
    "silu": special(others=(88.0, -87.0)),
    "sqrt": special(),
    "square": special(),
    "tanh": special(others=(5.0, 20.0)),
}
EXACT = {"abs", "ceil", "floor", "round", "sign", "trunc", "neg", "relu", "square"}
POSITIVE = {"log", "rsqrt", "sqrt"}
# Where a cancellation inside is part of the function's own definition, errors are those of its terms.
ULPS = {"erf": 2.5, "erfc": 6, "gelu": 8, "gelu_tanh": 6, "rsqrt": 2, "silu": 5}


def gelu_tanh_condition(x: Array) -> Array:
    """An error of sigmoid's argument 2 u is magnified by 2 u (1 - sigmoid(2 u))."""
    u2 = 2 * reference.GELU_SCALE * x * (1 + reference.GELU_CUBIC * x * x)
    return np.abs(reference.gelu_tanh(x)) * (1 + np.maximum(-u2, 0))


SCALES = {"gelu_tanh": gelu_tanh_condition}
BACKWARD_ULPS = {"gelu": 10, "gelu_tanh": 30, "silu": 8, "sigmoid": 4, "tanh": 8}

for name, args in UNARY.items():
    make = (
        (lambda *s: spread(0, 9, *s))
        if name in POSITIVE
        else (lambda *s: spread(-0.9, 9, *s))
        if name == "log1p"
        else normal
    )
    for n in LENGTHS:
        CASES.append(
            Case(
                name,
                f"{n}",
                make((n,)),
                ulps=ULPS.get(name, 4),
                scale=SCALES.get(name),
                integers=integers((n,)) if name in EXACT else None,
            )
        )
    CASES.append(Case(name, "special", args, ulps=ULPS.get(name, 4), scale=SCALES.get(name)))
    CASES.append(Case(name, "0d", make(()), ulps=ULPS.get(name, 4), scale=SCALES.get(name)))
CASES.append(Case("leaky_relu", "slope", normal((100,)), kwargs={"slope": 0.3}))


# The condition of a derivative that is a sum of terms of either sign: the sum of their magnitudes, at least dy's share.
def gelu_terms(dy: Array, x: Array) -> Array:
    density = np.exp(-0.5 * np.clip(x, -40, 40) ** 2)
    return np.abs(dy) * (density * (1 + np.abs(x)) + (x > 0))


def sigmoid_terms(dy: Array, x: Array) -> Array:
    e = np.exp(-np.abs(x))
    return np.abs(dy) * (e * (1 + np.abs(x)) * 2 + (x > 0))


BACKWARD: dict[str, Any] = {
    "gelu": gelu_terms,
    "gelu_tanh": sigmoid_terms,
    "leaky_relu": None,
    "relu": None,
    "sigmoid": None,
    "silu": sigmoid_terms,
    "tanh": lambda dy, y: np.abs(dy),
}
for name, scale in BACKWARD.items():
    exact = name == "relu"
    for n in LENGTHS:
        saved = spread(-1, 1, (n,)) if name in ("sigmoid", "tanh") else normal((n,))
        CASES.append(
            Case(
                f"{name}_backward",
                f"{n}",
                lambda rng, dtype, n=n, saved=saved: (*normal((n,))(rng, dtype), *saved(rng, dtype)),
                ulps=BACKWARD_ULPS.get(name, 1),
                scale=scale,
                integers=integers((n,), (n,)) if exact else None,
            )
        )

for n in LENGTHS:
    bounds = {"low": -0.5, "high": 0.75}
    CASES.append(Case("clamp", f"{n}", normal((n,)), kwargs=bounds, ulps=0))
    CASES.append(Case("clamp_backward", f"{n}", normal((n,), (n,)), kwargs=bounds, ulps=0))
CASES.append(Case("clamp", "crossed", special(), kwargs={"low": 1.0, "high": -1.0}, ulps=0))
CASES.append(Case("clamp", "one-sided", special(), kwargs={"low": -np.inf, "high": 1.0}, ulps=0))
