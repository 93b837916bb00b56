from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from chainrule import reference
from tests.kernels.cases import Array, Case

# (steps, batch, hidden) around the vector (16, 8), its four gates, the tile's rows (14, 6) and the block of a product
# (256, which the backward's 4 hidden reach sooner). Few rows and many, for both ways to share the work.
SHAPES = [
    (1, 1, 1),
    (3, 1, 7),
    (2, 5, 8),
    (4, 3, 16),
    (3, 17, 15),
    (5, 2, 33),
    (2, 33, 64),
    (3, 45, 65),
    (2, 90, 20),
    (2, 3, 260),
    (2, 40, 70),
    (0, 2, 3),
    (2, 0, 3),
]


def arguments(shape: tuple[int, int, int]) -> Callable[[np.random.Generator, np.dtype], tuple[Any, ...]]:
    steps, batch, hidden = shape

    def make(rng: np.random.Generator, dtype: np.dtype) -> tuple[Any, ...]:
        sizes = (steps, batch, 4 * hidden), (4 * hidden, hidden), (batch, hidden), (batch, hidden)
        x, w, h0, c0 = (rng.standard_normal(s).astype(dtype) for s in sizes)
        return x, w * dtype.type(hidden**-0.5), h0, c0

    return make


def table_arguments(
    shape: tuple[int, int, int], reverse: bool
) -> Callable[[np.random.Generator, np.dtype], tuple[Any, ...]]:
    """x is a table of 5 rows."""

    def make(rng: np.random.Generator, dtype: np.dtype) -> tuple[Any, ...]:
        x, w, h0, c0 = arguments(shape)(rng, dtype)
        table = rng.standard_normal((5, x.shape[-1])).astype(dtype)
        return table, w, h0, c0, reverse, rng.integers(0, 5, x.shape[:2])

    return make


def backward_arguments(
    shape: tuple[int, int, int], reverse: bool, given: tuple[bool, bool, bool]
) -> Callable[[np.random.Generator, np.dtype], tuple[Any, ...]]:
    """``given``: whether there are dout, dhn and dcn."""

    def make(rng: np.random.Generator, dtype: np.dtype) -> tuple[Any, ...]:
        x, w, h0, c0 = arguments(shape)(rng, dtype)
        _, cells, gates = (a.astype(dtype) for a in reference.lstm(x, w, h0, c0, reverse))
        sizes = cells.shape, h0.shape, c0.shape
        dout, dhn, dcn = (
            rng.standard_normal(s).astype(dtype) if g else None for s, g in zip(sizes, given, strict=True)
        )
        return dout, gates, cells, c0, w, dhn, dcn

    return make


FUNCTION = 3  # units in the last place of a sigmoid or a tanh, at most


def condition(x: Array, w: Array, h0: Array, c0: Array, reverse: bool = False, index: Any = None) -> Any:
    """Rounding errors in units of eps, carried from step to step."""
    x = x if index is None else x[index]
    out, cells, gates = reference.lstm(x, w, h0, c0, reverse)
    errors = [np.empty_like(a) for a in (out, cells, gates)]
    h, c, eh, ec = h0, c0, np.zeros_like(h0), np.zeros_like(c0)
    for t in range(len(x))[:: -1 if reverse else 1]:
        ez = 2 * (np.abs(x[t]) + np.abs(h) @ np.abs(w.T)) + eh @ np.abs(w.T)
        i, f, g, o = np.split(gates[t], 4, -1)
        slopes = np.concatenate([i * (1 - i), f * (1 - f), 1 - g * g, o * (1 - o)], -1)
        errors[2][t] = slopes * ez + FUNCTION * np.abs(gates[t])
        ei, ef, eg, eo = np.split(errors[2][t], 4, -1)
        ec = f * ec + np.abs(c) * ef + i * eg + np.abs(g) * ei + np.abs(i * g) + np.abs(cells[t])
        h, c = out[t], cells[t]
        r = np.tanh(c)
        eh = eo * np.abs(r) + o * ((1 - r * r) * ec + FUNCTION * np.abs(r)) + np.abs(h)
        errors[0][t], errors[1][t] = eh, ec
    return tuple(errors)


def backward_condition(
    dout: Any, gates: Array, cells: Array, c0: Array, w: Array, dhn: Any, dcn: Any, reverse: bool = False
) -> Any:
    magnitudes = reference.lstm_backward(dout, gates, cells, c0, w, dhn, dcn, reverse)
    dx = magnitudes[0]
    errors = np.empty_like(dx)
    order = list(range(len(gates)))[:: -1 if reverse else 1]
    zero = np.zeros_like(c0)
    dh, dc, edh, edc = (zero if dhn is None else dhn), (zero if dcn is None else dcn), zero, zero
    for n, t in reversed(list(enumerate(order))):
        i, f, g, o = np.split(gates[t], 4, -1)
        before = cells[order[n - 1]] if n else c0
        r = np.tanh(cells[t])
        given = 0 if dout is None else dout[t]
        edh = edh + np.abs(dh) + np.abs(given)
        dh = dh + given
        edc = edc + np.abs(dc) + o * (edh * (1 - r * r) + np.abs(dh) * (1 + 2 * FUNCTION * r * r))
        dc = dc + dh * o * (1 - r * r)
        factors = np.concatenate([g * i * (1 - i), before * f * (1 - f), i * (1 - g * g)], -1)
        edz = np.abs(factors) * np.tile(edc, 3) + 4 * np.abs(dx[t][..., : factors.shape[-1]])
        edz[..., 2 * c0.shape[-1] :] += np.abs(dc * i)  # without FMA, g^2 is rounded before 1 - g^2
        out_gate = o * (1 - o) * (edh * np.abs(r) + (4 + FUNCTION) * np.abs(dh * r))
        errors[t] = np.concatenate([edz, out_gate], -1)
        edh = errors[t] @ np.abs(w) + 2 * np.abs(dx[t]) @ np.abs(w)
        dh = dx[t] @ w
        edc, dc = edc * f + np.abs(dc * f), dc * f
    return errors, edh + np.abs(dh), edc


GIVEN = [(True, False, False), (True, True, True), (False, True, False), (False, False, True)]

CASES = [
    case
    for n, shape in enumerate(SHAPES)
    for reverse in (False, True)
    for id in [f"{'x'.join(map(str, shape))}{'-reverse' if reverse else ''}"]
    for case in (
        Case("lstm", id, arguments(shape), {"reverse": reverse}, 1, condition),
        Case("lstm", f"{id}-index", table_arguments(shape, reverse), {}, 1, condition),
        Case(
            "lstm_backward",
            id,
            backward_arguments(shape, reverse, GIVEN[(n + reverse) % len(GIVEN)]),
            {"reverse": reverse},
            1,
            backward_condition,
            extended=True,  # the twin rounds g^2 too
        ),
    )
]
