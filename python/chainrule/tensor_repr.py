"""How a tensor prints: as in PyTorch, to four decimals, long ones summarised."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from chainrule import dtypes

if TYPE_CHECKING:
    from chainrule.tensor import Tensor

__all__ = ["describe", "set_printoptions"]

Array = np.ndarray[Any, Any]


class _Options:
    precision = 4
    threshold = 1000.0
    edgeitems = 3
    linewidth = 80
    sci_mode: bool | None = None


def set_printoptions(
    precision: int | None = None,
    threshold: float | None = None,
    edgeitems: int | None = None,
    linewidth: int | None = None,
    profile: str | None = None,
    sci_mode: bool | None = None,
) -> None:
    """Decimals, elements from which a tensor is summarised, entries kept at each edge, width of a line."""
    profiles = {"default": (4, 1000.0, 3, 80), "short": (2, 1000.0, 2, 80), "full": (4, math.inf, 3, 80)}
    if profile is not None:
        if profile not in profiles:
            raise ValueError(f"set_printoptions: argument 'profile' is {profile!r}, want one of {sorted(profiles)}")
        _Options.precision, _Options.threshold, _Options.edgeitems, _Options.linewidth = profiles[profile]
    for name, value in (
        ("precision", precision),
        ("threshold", threshold),
        ("edgeitems", edgeitems),
        ("linewidth", linewidth),
    ):
        if value is not None:
            setattr(_Options, name, value)
    _Options.sci_mode = sci_mode


class _Formatter:
    """One width for all the elements: whole numbers as ``1.``, fixed point, or scientific where the range wants it."""

    def __init__(self, shown: Array) -> None:
        self.floating = shown.dtype.kind == "f"
        self.integers, self.scientific = True, False
        self.width = 1
        if not self.floating:
            self.width = max((len(str(v)) for v in shown.ravel().tolist()), default=1)
            return
        values = shown.astype(np.float64, copy=False).ravel()
        finite = np.abs(values[np.isfinite(values) & (values != 0)])
        if finite.size:
            # As PyTorch measures them: doubles of the tensor's own values.
            low, high = float(finite.min()), float(finite.max())
            self.integers = bool((finite == np.ceil(finite)).all())
            wide = high / low > 1000.0 or high > 1.0e8
            self.scientific = wide if self.integers else wide or low < 1.0e-4
            if _Options.sci_mode is not None:
                self.scientific = _Options.sci_mode
            self.width = max(len(self._number(v)) for v in values[np.isfinite(values) & (values != 0)])

    def _number(self, value: float) -> str:
        if self.scientific:
            return f"{value:.{_Options.precision}e}"
        if self.integers:
            return f"{value:.0f}." if math.isfinite(value) else f"{value:.0f}"
        return f"{value:.{_Options.precision}f}"

    def __call__(self, value: Any) -> str:
        text = self._number(value) if self.floating else str(value)
        return text.rjust(self.width)


def _edges(array: Array) -> Array:
    """What a summary shows of it."""
    n = _Options.edgeitems
    for axis in range(array.ndim):
        if array.shape[axis] > 2 * n:
            array = np.take(array, [*range(n), *range(-n, 0)], axis)
    return array


def _text(array: Array, indent: int, summarize: bool, number: _Formatter) -> str:
    if not array.ndim:
        return number(array.item())
    n, edge = array.shape[0], _Options.edgeitems
    cut = summarize and n > 2 * edge
    if array.ndim == 1:
        per_line = max(1, math.floor((_Options.linewidth - indent) / (number.width + 2)))
        items = array.tolist()
        words = [number(v) for v in (items[:edge] + items[-edge:] if cut else items)]
        if cut:
            words = [*words[:edge], " ...", *words[edge:]]
        lines = [words[i : i + per_line] for i in range(0, len(words), per_line)]
        return "[" + (",\n" + " " * (indent + 1)).join(", ".join(line) for line in lines) + "]"
    rows = [*range(edge), *range(n - edge, n)] if cut else range(n)
    blocks = [_text(array[i], indent + 1, summarize, number) for i in rows]
    if cut:
        blocks = [*blocks[:edge], "...", *blocks[edge:]]
    return "[" + ("," + "\n" * (array.ndim - 1) + " " * (indent + 1)).join(blocks) + "]"


def describe(tensor: Tensor, name: str = "tensor(") -> str:
    """``tensor([...], dtype=..., grad_fn=...)``."""
    array = tensor._array
    suffixes = []
    default = array.dtype in (dtypes.get_default_dtype(), dtypes.int64, dtypes.bool)
    if array.size == 0:
        if array.ndim != 1:
            suffixes.append(f"size={tuple(array.shape)}")
        default = array.dtype == dtypes.get_default_dtype()
        text = "[]"
    else:
        summarize = array.size > _Options.threshold
        text = _text(array, len(name), summarize, _Formatter(_edges(array) if summarize else array))
    if not default:
        suffixes.append(f"dtype=chainrule.{array.dtype}")
    if tensor.grad_fn is not None:
        suffixes.append(f"grad_fn=<{tensor.grad_fn.name()}>")
    elif tensor.requires_grad:
        suffixes.append("requires_grad=True")
    result = name + text
    line = len(result) - result.rfind("\n") + 1
    for suffix in suffixes:
        if line + len(suffix) + 2 > _Options.linewidth:
            result += ",\n" + " " * len(name) + suffix
            line = len(name) + len(suffix)
        else:
            result += ", " + suffix
            line += len(suffix) + 2
    return result + ")"
