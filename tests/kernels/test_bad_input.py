"""Every array argument of every kernel of kernels.def is checked: wrong type, dtype or shape is refused by name.

Each argument in turn is spoilt in a call that is otherwise one of the twins' cases. What is a good call all the same
is listed with the reason; hard cases and scalars are in the families' own files.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from chainrule import _core, kernels
from tests.kernels.cases import CASES
from tests.kernels.test_twins import seed

Array = np.ndarray[Any, Any]
DTYPE = np.dtype(np.float32)


def is_list(x: Any) -> bool:
    return isinstance(x, list) and bool(x) and isinstance(x[0], np.ndarray)


def usable(x: Any) -> bool:
    """An array, or a list of them, in which a wrong shape shows."""
    return (isinstance(x, np.ndarray) and x.size > 1) or (is_list(x) and any(usable(a) for a in x)) or is_scalar(x)


def is_scalar(x: Any) -> bool:
    return isinstance(x, np.ndarray) and x.ndim == 0


def arguments(name: str) -> dict[str, tuple[dict[str, Any], dict[str, Any]]]:
    """For each array argument of a kernel a call with it: (arguments by name, the case's keywords)."""
    names = list(inspect.signature(getattr(kernels, name)).parameters)
    found: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {}
    for case in [c for c in CASES if c.name == name]:
        values = dict(zip(names, case.args(seed(case), DTYPE), strict=False))
        arrays = arrays_of(values)
        if all(usable(values[k]) for k in arrays) and not all(is_scalar(values[k]) for k in arrays):
            for k in arrays:
                if k not in found or len(arrays) > len(arrays_of(found[k][0])):
                    found[k] = values, case.kwargs
    return found


def arrays_of(values: dict[str, Any]) -> list[str]:
    return [k for k, v in values.items() if isinstance(v, np.ndarray) or is_list(v)]


def last(change: Callable[[Array], Any]) -> Callable[[Any], Any]:
    """The change, of the last array of a list too."""
    return lambda x: [*x[:-1], change(x[-1])] if isinstance(x, list) else change(x)


def other_dtype(x: Array) -> Array:
    return x.astype(np.float64 if x.dtype == np.float32 else np.float32)


def longer(x: Array) -> Array:
    return np.concatenate([x, x, x[..., :1]], -1) if x.ndim else np.stack([x] * 3)


# What is done to the argument, the error, whether the error has to name that argument or any of the arrays.
CHANGES: dict[str, tuple[Callable[[Any], Any], type[Exception], bool]] = {
    "list": (last(lambda x: x.tolist()), TypeError, True),
    "float16": (last(lambda x: x.astype(np.float16)), TypeError, True),
    "complex": (last(lambda x: x.astype(np.complex64)), TypeError, True),
    "object": (last(lambda x: x.astype(object)), TypeError, True),
    "mixed": (last(other_dtype), TypeError, False),
    "rank": (last(lambda x: np.stack([x, x, x])), ValueError, False),
    "size": (last(longer), ValueError, False),
}

ANY_SHAPE = [
    "ceil",
    "cos",
    "floor",
    "round",
    "sign",
    "sin",
    "trunc",
    "cast",
    "cumsum",
    "tril",
    "triu",
    "abs",
    "clamp",
    "copy",
    "erf",
    "erfc",
    "exp",
    "expm1",
    "gelu",
    "gelu_tanh",
    "leaky_relu",
    "log",
    "log1p",
    "neg",
    "reciprocal",
    "relu",
    "rsqrt",
    "sigmoid",
    "silu",
    "sqrt",
    "square",
    "tanh",
    "dropout",
    "sum",
    "mean",
    "amax",
    "amin",
    "max",
    "min",
    "argmax",
    "argmin",
    "var_mean",
    "softmax",
    "log_softmax",
]
MOVED = ["copy", "gather", "index_select", "tril", "triu"]
COMPARING = ["eq", "ge", "gt", "le", "logical_and", "logical_or", "logical_xor", "lt", "ne"]
BROADCASTING = ["add", "div", "maximum", "minimum", "mul", "sub"]
POOLS = ["adaptive_avg_pool2d", "avg_pool2d", "max_pool2d"]

# What is a good call all the same: {change: {reason: arguments}}.
EXEMPT: dict[str, dict[str, list[str]]] = {
    "float16": {"elements are moved, whatever they mean": [f"{name}-x" for name in MOVED] + ["fill-out"]},
    "rank": {
        "a function of one array of any shape": [*[f"{name}-x" for name in ANY_SHAPE], "fill-out"],
        "leading dimensions broadcast": [
            f"{name}-{x}" for name in BROADCASTING for x in "ab" if (name, x) != ("pow", "b")
        ]
        + [f"{name}-a" for name in COMPARING]
        + ["index_places-index", "index_places-base", "pow-a", "where-condition", "where-a", "matmul-a", "matmul-b"],
        "leading dimensions are free": ["layer_norm-x", "embedding-index"],
        "a list of arrays of any shapes": ["total_norm-arrays", "clip_grad_norm-grads", "clip_grad_value-grads"],
    },
    "size": {
        "a function of one array of any shape": [*[f"{name}-x" for name in ANY_SHAPE], "fill-out"],
        "a list of arrays of any shapes": ["total_norm-arrays", "clip_grad_norm-grads", "clip_grad_value-grads"],
        "images and windows of any size": [f"{name}-x" for name in POOLS]
        + ["conv2d_backward_bias-dy", "adaptive_avg_pool2d_backward-dy"]
        + ["max_pool2d_gather-x", "max_pool2d_gather-indices"],
        "rows of any width, any number of rows looked up": [
            "embedding-weight",
            "embedding-index",
            "embedding_backward-dy",
        ],
        "any number of columns": ["matmul-b", "attention-value"],
        "any number of entries, any of which are named": [
            "index_places-index",
            "index_select-x",
            "index_select-index",
            "index_copy-y",
            "index_add-y",
            "gather-x",
            "gather-index",
            "scatter-y",
            "scatter_add-y",
        ],
    },
    "mixed": {
        "labels become probabilities, refused by shape": ["cross_entropy-target", "cross_entropy_backward-target"],
    },
}


def exempt(argument: str, change: str) -> bool:
    return any(argument in arguments for arguments in EXEMPT.get(change, {}).values())


def calls() -> Iterator[Any]:
    for name in _core.kernel_names():
        for argument, (values, _) in arguments(name).items():
            floats = [v for v in values.values() if isinstance(v, np.ndarray) and v.dtype.kind == "f"]
            alone = len(floats) == 1 and floats[0] is values[argument]  # its dtype is the call's
            for change in CHANGES:
                if not (change == "mixed" and alone):
                    yield pytest.param(name, argument, change, id=f"{name}-{argument}-{change}")


@pytest.mark.parametrize("name", _core.kernel_names())
def test_every_array_argument_is_spoilt(name: str) -> None:
    """Arguments that are arrays in any case of the kernel; random arrays are made of a shape alone."""
    if name in ("uniform", "normal", "bernoulli"):
        return
    names = list(inspect.signature(getattr(kernels, name)).parameters)
    cases = [dict(zip(names, c.args(seed(c), DTYPE), strict=False)) for c in CASES if c.name == name]
    assert {k for values in cases for k in arrays_of(values)} == set(arguments(name))
    assert arguments(name)


@pytest.mark.parametrize(("name", "argument", "change"), list(calls()))
def test_a_spoilt_argument_is_refused(name: str, argument: str, change: str) -> None:
    values, kwargs = arguments(name)[argument]
    make, error, own = CHANGES[change]
    args = copy.deepcopy(values)
    args[argument] = make(args[argument])
    before = copy.deepcopy(args)
    if exempt(f"{name}-{argument}", change):
        if change != "mixed":
            getattr(kernels, name)(**args, **kwargs)
        return
    names = "|".join(arrays_of(values))
    one = rf"argument '{argument}(\[\d+\])?'"
    of_all = rf"('({names})(\[\d+\])?'|\) of ({names})\b|\b({names}) \(|\bof ({names}), )"
    match = one if own else f".*{of_all}"
    with pytest.raises(error, match=rf"^{name}: {match}"):
        getattr(kernels, name)(**args, **kwargs)
    for key, value in args.items():
        for a, b in zip(*(v if is_list(v) else [v] for v in (value, before[key])), strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", ["uniform", "normal", "bernoulli"])
@pytest.mark.parametrize("shape", [(2.0,), (np.float32(2.5),), ("2",), (None,), (np.array([2, 3]),)])
def test_sizes_are_integers(name: str, shape: Any) -> None:
    rest = (0.5, 0, 0) if name == "bernoulli" else (0, 0)
    with pytest.raises(TypeError, match=f"^{name}: argument 'shape' "):
        getattr(kernels, name)(shape, *rest)
