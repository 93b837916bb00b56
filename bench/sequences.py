"""Bench cases of what works on sequences: attention, recurrences."""

from __future__ import annotations

from typing import Any

import numpy as np

from bench.case import Args, Case, shaped, tensors
from chainrule import kernels


def attentions() -> list[Case]:
    """Causal attention; nanoGPT's shape first. JAX has the heads behind the positions, prepared so."""

    def torch_attention(t: Any, q: Any, k: Any, v: Any, is_causal: bool) -> Any:
        return t.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=is_causal)

    def jax_attention(j: Any, q: Any, k: Any, v: Any, is_causal: bool) -> Any:
        return j.nn.dot_product_attention(q, k, v, is_causal=is_causal)

    def turned(j: Any, *args: Any) -> tuple[Any, ...]:
        return tuple(j.block_until_ready(x.swapaxes(1, 2).copy()) if hasattr(x, "shape") else x for x in args)

    def jax_saved(j: Any, *args: Any) -> tuple[Any, ...]:
        """The backward function with what forward saved in it, and dout."""
        dout, q, k, v = turned(j, *args[:4])
        forward = j.jit(lambda q, k, v: jax_attention(j, q, k, v, True))
        return j.block_until_ready(j.vjp(forward, q, k, v)[1]), dout

    def torch_gradients(t: Any, dout: Any, q: Any, k: Any, v: Any, out: Any, lse: Any, is_causal: bool) -> Any:
        backward = t.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward
        return list(backward(dout, q, k, v, out, lse, 0.0, is_causal))

    def jax_gradients(j: Any, backward: Any, dout: Any) -> Any:
        return backward(dout)

    def back(x: np.ndarray) -> np.ndarray:
        return x.swapaxes(1, 2)

    def saved(shape: tuple[int, ...]) -> Args:
        def make(rng: np.random.Generator) -> tuple[Any, ...]:
            dout, q, k, v = shaped(*4 * [shape])(rng)
            return dout, q, k, v, *kernels.attention(q, k, v, True), True

        return make

    found = []
    for shape in ((12, 4, 64, 32), (4, 8, 512, 64)):
        b, h, n, d = shape
        work, label = 2.0 * b * h * n * n * d, f"{b}x{h}x{n}x{d}, causal"  # half of the scores are masked
        forward, backward = (
            {"torch": torch_attention, "jax": jax_attention},
            {"torch": torch_gradients, "jax": jax_gradients},
        )
        restored = {"jax": back}
        found += [
            Case(
                "attention",
                label,
                shaped(*3 * [shape], True),
                peers=forward,
                flops=work,
                results=1,
                prepared={"jax": turned},
                restored=restored,
            ),
            Case(
                "attention_backward",
                label,
                saved(shape),
                peers=backward,
                flops=2.5 * work,
                prepared={"jax": jax_saved},
                restored=restored,
            ),
        ]
    return found


def recurrences() -> list[Case]:
    """A character LSTM's layer; PyTorch has no entry to the recurrence alone, so its gates' product counts as ours."""
    steps, batch, hidden = 64, 32, 256
    start = (batch, hidden)
    x, w = (steps, batch, 4 * hidden), (4 * hidden, hidden)
    small = tensors([w], hidden**-0.5)

    def saved(rng: np.random.Generator) -> tuple[Any, ...]:
        gates, h0, c0, dout = shaped(x, start, start, (steps, batch, hidden))(rng)
        (weight,) = small(rng)
        _, cells, gates = kernels.lstm(gates, weight, h0, c0)
        return dout, gates, cells, c0, weight

    def weight(rng: np.random.Generator) -> Any:
        return small(rng)[0]

    work, label = 8.0 * steps * batch * hidden**2, f"{steps} steps of {batch}x{hidden}"
    return [
        Case(
            "lstm", label, shaped(x, weight, start, start), {}, {"torch": torch_lstm, "jax": jax_lstm}, work, results=1
        ),
        Case("lstm_backward", label, saved, flops=work, tolerance=1e-4),
    ]


def torch_lstm(t: Any, x: Any, w: Any, h0: Any, c0: Any) -> Any:
    """One cell after another, as x is given."""
    h, c, out = h0, c0, []
    for step in x:
        i, f, g, o = t.addmm(step, h, w.T).chunk(4, 1)
        c = f.sigmoid_() * c + i.sigmoid_() * g.tanh_()
        h = o.sigmoid_() * c.tanh()
        out.append(h)
    return t.stack(out)


def jax_lstm(j: Any, x: Any, w: Any, h0: Any, c0: Any) -> Any:
    def step(state: Any, x: Any) -> Any:
        h, c = state
        i, f, g, o = j.numpy.split(x + h @ w.T, 4, 1)
        c = j.nn.sigmoid(f) * c + j.nn.sigmoid(i) * j.numpy.tanh(g)
        h = j.nn.sigmoid(o) * j.numpy.tanh(c)
        return (h, c), h

    return j.lax.scan(step, (h0, c0), x)[1]
