"""LSTM over whole sequences: one Function for each layer and direction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from chainrule import creation, kernels, ops
from chainrule.autograd import Context, Function
from chainrule.autograd.engine import grad_where
from chainrule.autograd.grad_mode import state
from chainrule.ops.elementwise import raw
from chainrule.tensor import Tensor, wrap

__all__ = ["lstm"]


class LSTM(Function):
    """One direction of one layer: (steps, batch, inputs) to outputs and the final h and c.

    ``stateless`` says that h0 is zeros, which then adds nothing to the gradient of the recurrent weight.
    """

    @staticmethod
    def forward(
        ctx: Context,
        input: Tensor,
        h0: Tensor,
        c0: Tensor,
        weight_ih: Tensor,
        weight_hh: Tensor,
        bias_ih: Tensor | None,
        bias_hh: Tensor | None,
        reverse: bool,
        stateless: bool,
    ) -> tuple[Tensor, Tensor, Tensor]:
        bias = None if bias_ih is None or bias_hh is None else kernels.add(bias_ih._array, bias_hh._array)
        x: Any = kernels.linear(input._array, weight_ih._array, bias)
        out, cells, gates = kernels.lstm(x, weight_hh._array, h0._array, c0._array, reverse)
        last = 0 if reverse else len(out) - 1
        y = wrap(out)
        ctx.reverse, ctx.stateless = reverse, stateless
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(input, h0, c0, weight_ih, weight_hh, bias_ih, bias_hh, y, wrap(cells), wrap(gates))
        return y, wrap(kernels.copy(out[last])), wrap(kernels.copy(cells[last]))

    @staticmethod
    def backward(ctx: Context, dout: Tensor | None, dhn: Tensor | None, dcn: Tensor | None) -> Any:
        if state.enabled:
            return _gradients_with_graph(ctx, (dout, dhn, dcn))
        input, h0, c0, weight_ih, weight_hh, _, _, out, cells, gates = (raw(t) for t in ctx.saved_tensors)
        grads = raw(dhn), raw(dcn)
        dx, dh0, dc0 = kernels.lstm_backward(raw(dout), gates, cells, c0, weight_hh, *grads, ctx.reverse)
        needs = ctx.needs_input_grad
        through = needs[0], needs[3], needs[5] or needs[6]
        dinput, dw_ih, db = kernels.linear_backward(dx, input, weight_ih, needs=through)
        dw_hh = _recurrent_weight_gradient(ctx, dx, out, h0, weight_hh) if needs[4] else None
        db_hh = None if db is None else kernels.copy(db)  # two gradients mustn't share memory
        found = dinput, dh0, dc0, dw_ih, dw_hh, db, db_hh
        return (
            *[wrap(g) if need and g is not None else None for g, need in zip(found, needs, strict=False)],
            None,
            None,
        )


def _recurrent_weight_gradient(ctx: Context, dx: Any, out: Any, h0: Any, weight: Any) -> Any:
    """The sum over steps of dx_t^T h_{t-1}."""
    later, earlier, first = (dx[:-1], out[1:], dx[-1]) if ctx.reverse else (dx[1:], out[:-1], dx[0])
    only = False, True, False
    dw = kernels.linear_backward(later, earlier, weight, needs=only)[1]
    if ctx.stateless:
        return dw
    start = kernels.linear_backward(first, h0, weight, needs=only)[1]
    assert dw is not None
    assert start is not None
    return kernels.add(dw, start)


def _gradients_with_graph(ctx: Context, grads: Sequence[Tensor | None]) -> Any:
    """A graph of the gradient is wanted: differentiate the steps, which are differentiable again."""
    inputs, needs = ctx.saved_tensors[:7], ctx.needs_input_grad[:7]
    made = _composed(ctx.reverse, *inputs)
    pairs = [(y, g) for y, g in zip(made, grads, strict=True) if g is not None]
    return (*grad_where(needs, [y for y, _ in pairs], inputs, [g for _, g in pairs]), None, None)


def _composed(
    reverse: bool,
    input: Tensor,
    h: Tensor,
    c: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias_ih: Tensor | None,
    bias_hh: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor]:
    bias = None if bias_ih is None or bias_hh is None else bias_ih + bias_hh
    x = ops.linear(input, weight_ih, bias)
    steps = range(len(x) - 1, -1, -1) if reverse else range(len(x))
    out: list[Tensor] = []
    for t in steps:
        i, f, g, o = ops.chunk(x[t] + ops.linear(h, weight_hh), 4, -1)
        c = ops.sigmoid(f) * c + ops.sigmoid(i) * ops.tanh(g)
        h = ops.sigmoid(o) * ops.tanh(c)
        out.append(h)
    return ops.stack(out[::-1] if reverse else out), h, c


def lstm(
    input: Tensor,
    hx: tuple[Tensor, Tensor] | None,
    params: Sequence[Tensor],
    has_biases: bool,
    num_layers: int,
    dropout: float,
    train: bool,
    bidirectional: bool,
    batch_first: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """The outputs of the last layer for (steps, batch, inputs), and the final h and c of every layer and direction.

    ``params`` are, layer by layer and direction by direction, weight_ih, weight_hh and with ``has_biases`` bias_ih and
    bias_hh. ``hx`` holds the first h and c, (layers times directions, batch, hidden); without it they are zeros.
    """
    # Kernels want contiguous operands, backward as well: copied here, they are copied once.
    x = ops.transpose(input, 0, 1).contiguous() if batch_first else input
    directions, each = 1 + bidirectional, 4 if has_biases else 2
    hidden = params[1].shape[-1]
    stateless = hx is None
    if hx is None:
        zeros = creation.zeros(num_layers * directions, x.shape[1], hidden, dtype=x.dtype)
        hx = zeros, zeros
    finals: list[tuple[Tensor, Tensor]] = []
    for layer in range(num_layers):
        if layer and dropout:
            x = ops.dropout(x, dropout, train)
        outs = []
        for direction in range(directions):
            n = layer * directions + direction
            weights = (*params[n * each : (n + 1) * each], *(() if has_biases else (None, None)))
            out, h, c = LSTM.apply(x, hx[0][n], hx[1][n], *weights, direction == 1, stateless)
            outs.append(out)
            finals.append((h, c))
        x = ops.cat(outs, -1) if bidirectional else outs[0]
    h_n, c_n = (ops.stack([f[k] for f in finals]) for k in (0, 1))
    return ops.transpose(x, 0, 1).contiguous() if batch_first else x, h_n, c_n
