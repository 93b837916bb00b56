"""Twins of the recurrences."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["lstm", "lstm_backward"]

Array = Any  # NumPy arrays; NumPy annotates what its functions return as Any


def _order(steps: int, reverse: bool) -> range:
    return range(steps - 1, -1, -1) if reverse else range(steps)


def _sigmoid(z: Array) -> Array:
    return 1 / (1 + np.exp(-z))


def lstm(
    x: Array, weight_hh: Array, h0: Array, c0: Array, reverse: bool = False, index: Array | None = None
) -> tuple[Array, Array, Array]:
    x = x if index is None else x[index]
    steps, batch, hidden = x.shape[0], x.shape[1], weight_hh.shape[1]
    out, cells = np.empty((2, steps, batch, hidden), x.dtype)
    gates = np.empty_like(x)
    h, c = h0, c0
    for t in _order(steps, reverse):
        zi, zf, zg, zo = np.split(x[t] + h @ weight_hh.T, 4, -1)
        i, f, g, o = _sigmoid(zi), _sigmoid(zf), np.tanh(zg), _sigmoid(zo)
        c = f * c + i * g
        h = o * np.tanh(c)
        out[t], cells[t], gates[t] = h, c, np.concatenate([i, f, g, o], -1)
    return out, cells, gates


def lstm_backward(
    dout: Array | None,
    gates: Array,
    cells: Array,
    c0: Array,
    weight_hh: Array,
    dhn: Array | None = None,
    dcn: Array | None = None,
    reverse: bool = False,
) -> tuple[Array, Array, Array]:
    order = list(_order(len(gates), reverse))
    dx = np.empty_like(gates)
    dh = np.zeros_like(c0) if dhn is None else dhn
    dc = np.zeros_like(c0) if dcn is None else dcn
    for n, t in reversed(list(enumerate(order))):
        i, f, g, o = np.split(gates[t], 4, -1)
        dh = dh if dout is None else dh + dout[t]
        tanh_c = np.tanh(cells[t])
        dc = dc + dh * o * (1 - tanh_c**2)
        before = cells[order[n - 1]] if n else c0
        dz = dc * g * i * (1 - i), dc * before * f * (1 - f), dc * i * (1 - g * g), dh * tanh_c * o * (1 - o)
        dx[t] = np.concatenate(dz, -1)
        dh, dc = dx[t] @ weight_hh, dc * f
    return dx, dh, dc
