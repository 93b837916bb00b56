"""Recurrences over whole sequences, time first; the input's part of the gates is a product made beforehand.

The gates i, f, g, o are quarters of the last dimension, in this order. The order of every sum is fixed by the shapes
alone: docs/numerics.md. Hochreiter and Schmidhuber 1997, with forget gates (Gers et al. 2000).

Both raise TypeError for dtypes that aren't all float32 or all float64 and ValueError for shapes that don't fit.
"""

from __future__ import annotations

import numpy as np

from chainrule import _core

__all__ = ["lstm", "lstm_backward"]

Array = np.ndarray


def lstm(
    x: Array, weight_hh: Array, h0: Array, c0: Array, reverse: bool = False, index: Array | None = None
) -> tuple[Array, Array, Array]:
    """The outputs h, the cells c and the gates of every step.

    z = x_t + h_{t-1} weight_hh^T; i, f, o = sigmoid(z), g = tanh(z); c_t = f c_{t-1} + i g; h_t = o tanh(c_t).

    x is (steps, batch, 4 hidden), inputs times weight_ih^T plus biases; weight_hh (4 hidden, hidden), h0 and c0
    (batch, hidden). The outputs and cells are (steps, batch, hidden), the gates, after their functions, as x; cells and
    gates are for :func:`lstm_backward`. With ``reverse`` the steps run from the last to the first.

    With ``index``, int64 (steps, batch) or int32, x is a table (rows, 4 hidden) and x_t its rows index[t], as where few
    tokens occur: the products of an embedding's rows, made once. ValueError for an index outside of the table.
    """
    return _core.lstm(x, weight_hh, h0, c0, reverse, index)


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
    """Gradients (dx, dh0, dc0) of :func:`lstm` through all steps; None is a gradient of zeros.

    dhn and dcn are gradients of the final h and c, beside what ``dout`` holds for h. With them come
    dweight_hh = the sum over steps of dx_t^T h_{t-1}, and the gradients of the product that made x, by
    :func:`chainrule.kernels.linear_backward`.
    """
    return _core.lstm_backward(dout, gates, cells, c0, weight_hh, dhn, dcn, reverse)
