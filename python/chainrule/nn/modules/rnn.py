"""Recurrent layers."""

from __future__ import annotations

import math
import warnings
from typing import Any

from chainrule import ops
from chainrule.nn import init
from chainrule.nn.modules._factory import empty_parameter
from chainrule.nn.modules.module import Module
from chainrule.nn.parameter import Parameter
from chainrule.tensor import Tensor

__all__ = ["LSTM"]

State = tuple[Tensor, Tensor]


class LSTM(Module):
    """Long short-term memory over whole sequences, several layers deep, in one or both directions.

    Parameters ``weight_ih_l{k}`` (4 hidden, inputs), ``weight_hh_l{k}`` (4 hidden, hidden), ``bias_ih_l{k}`` and
    ``bias_hh_l{k}`` (4 hidden) of layer k, with ``_reverse`` for the second direction; gates in the order i, f, g, o.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.mode = "LSTM"
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.bias = bias
        self.batch_first = batch_first
        self.dropout = float(dropout)
        self.bidirectional = bidirectional
        self.proj_size = proj_size
        self._check_options(dropout)
        for layer in range(num_layers):
            for suffix in ("", "_reverse")[: 1 + bidirectional]:
                width = input_size if layer == 0 else hidden_size * (1 + bidirectional)
                shapes: dict[str, tuple[int, ...]]
                shapes = {"weight_ih": (4 * hidden_size, width), "weight_hh": (4 * hidden_size, hidden_size)}
                if bias:
                    shapes |= {"bias_ih": (4 * hidden_size,), "bias_hh": (4 * hidden_size,)}
                for name, shape in shapes.items():
                    self.register_parameter(f"{name}_l{layer}{suffix}", empty_parameter(shape, device, dtype))
        self.reset_parameters()

    def _check_options(self, dropout: float) -> None:
        if isinstance(dropout, bool) or not 0 <= dropout <= 1:
            raise ValueError(
                "dropout should be a number in range [0, 1] representing the probability of an element being zeroed"
            )
        if dropout > 0 and self.num_layers == 1:
            warnings.warn(
                "dropout option adds dropout after all but last recurrent layer, so non-zero dropout expects "
                f"num_layers greater than 1, but got dropout={dropout} and num_layers={self.num_layers}",
                stacklevel=3,
            )
        if not isinstance(self.hidden_size, int):
            raise TypeError(f"hidden_size should be of type int, got: {type(self.hidden_size).__name__}")
        if self.hidden_size <= 0:
            raise ValueError("hidden_size must be greater than zero")
        if self.num_layers <= 0:
            raise ValueError("num_layers must be greater than zero")
        if self.proj_size != 0:
            raise ValueError(f"LSTM: argument 'proj_size' is {self.proj_size!r}, want 0: there are no projections")

    @property
    def all_weights(self) -> list[list[Parameter]]:
        """The parameters of each layer and direction."""
        each, flat = 4 if self.bias else 2, list(self._parameters.values())
        return [flat[i : i + each] for i in range(0, len(flat), each)]  # type: ignore[misc]

    def flatten_parameters(self) -> None:
        """Nothing: PyTorch needs it on GPUs."""

    def reset_parameters(self) -> None:
        """Everything uniform in +-1/sqrt(hidden_size)."""
        bound = 1 / math.sqrt(self.hidden_size)
        for parameter in self.parameters():
            init.uniform_(parameter, -bound, bound)

    def forward(self, input: Tensor, hx: State | None = None) -> tuple[Tensor, State]:
        if not isinstance(input, Tensor):
            raise TypeError(
                f"LSTM: argument 'input' is a {type(input).__name__}, want a Tensor; there are no packed sequences"
            )
        if input.ndim not in (2, 3):
            raise ValueError(f"LSTM: Expected input to be 2D or 3D, got {input.ndim}D instead")
        batched = input.ndim == 3
        time = 1 if batched and self.batch_first else 0
        if input.shape[-1] != self.input_size:
            raise ValueError(
                f"LSTM: input.size(-1) must be equal to input_size. Expected {self.input_size}, got {input.shape[-1]}"
            )
        if input.shape[time] == 0:
            raise ValueError("LSTM: Expected sequence length to be larger than 0")
        batch = (input.shape[1 - time],) if batched else ()
        x = input if batched else input.unsqueeze(0 if self.batch_first else 1)
        if hx is not None:
            h, c = self._checked_state(hx, batch)
            hx = (h, c) if batched else (h.unsqueeze(1), c.unsqueeze(1))
        weights = [w for group in self.all_weights for w in group]
        options = self.bias, self.num_layers, self.dropout, self.training, self.bidirectional, self.batch_first
        out, h, c = ops.lstm(x, hx, weights, *options)
        if batched:
            return out, (h, c)
        return out.squeeze(0 if self.batch_first else 1), (h.squeeze(1), c.squeeze(1))

    def _checked_state(self, hx: State, batch: tuple[int, ...]) -> State:
        if not isinstance(hx, (tuple, list)) or len(hx) != 2:
            raise TypeError(f"LSTM: argument 'hx' is a {type(hx).__name__}, want a pair of Tensors (h_0, c_0)")
        want = (self.num_layers * (1 + self.bidirectional), *batch, self.hidden_size)
        for i, x in enumerate(hx):
            if x.shape != want:
                raise ValueError(f"LSTM: Expected hidden[{i}] size {want}, got {list(x.shape)}")
        return hx[0], hx[1]

    def extra_repr(self) -> str:
        parts = [f"{self.input_size}, {self.hidden_size}"]
        defaults = {"num_layers": 1, "bias": True, "batch_first": False, "dropout": 0.0, "bidirectional": False}
        parts += [f"{name}={getattr(self, name)}" for name, value in defaults.items() if getattr(self, name) != value]
        return ", ".join(parts)
