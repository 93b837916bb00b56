"""What a user of PyTorch sees: signatures, reprs, state dict keys and shapes, error messages."""

from __future__ import annotations

import inspect
import re
from typing import Any

import numpy as np
import pytest

from chainrule import nn
from chainrule.nn import functional as F
from chainrule.nn import init
from chainrule.tensor import Tensor

torch = pytest.importorskip("torch")

LAYERS = [
    name for name in dir(nn) if inspect.isclass(getattr(nn, name)) and name not in ("Parameter", "Buffer", "Module")
]
# Accepted by PyTorch to warn about them or to ignore them.
DEPRECATED = {"Hardtanh": {"min_value", "max_value"}, "Sigmoid": {"args", "kwargs"}, "Tanh": {"args", "kwargs"}}
DEPRECATED["LogSigmoid"] = {"args", "kwargs"}
RECURRENT = {"LSTM"}
DEPRECATED["LSTM"] = {"mode"}


def parameters(of: Any) -> dict[str, Any]:
    return {p.name: p.default for p in inspect.signature(of).parameters.values()}


@pytest.mark.parametrize("name", LAYERS)
def test_constructors_take_pytorchs_arguments(name: str) -> None:
    described = "RNNBase" if name in RECURRENT else name  # theirs are overloaded
    ours, theirs = parameters(getattr(nn, name)), parameters(getattr(torch.nn, described))
    for gone in DEPRECATED.get(name, ()):
        theirs.pop(gone)
    assert list(ours) == list(theirs)
    for argument, default in theirs.items():
        assert ours[argument] == default or (ours[argument], default) == (None, ()), argument


# Not introspectable in PyTorch: from their documentation.
BUILTIN = {
    "linear": "(input, weight, bias=None)",
    "conv2d": "(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1)",
    "avg_pool2d": "(input, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True, "
    "divisor_override=None)",
    "max_pool2d": "(input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False)",
    "gelu": "(input, approximate='none')",
    "logsigmoid": "(input)",
    "relu_": "(input)",
    "leaky_relu_": "(input, negative_slope=0.01)",
    "elu_": "(input, alpha=1.)",
    "hardtanh_": "(input, min_val=-1., max_val=1.)",
    "softplus": "(input, beta=1, threshold=20)",
    "one_hot": "(tensor, num_classes=-1)",
    "scaled_dot_product_attention": (
        "(query, key, value, attn_mask=None, dropout_p=0.0, is_causal=False, scale=None, enable_gqa=False)"
    ),
}
NEWER = {"mse_loss": {"weight"}, "l1_loss": {"weight"}}  # arguments of PyTorch's latest release


@pytest.mark.parametrize("name", F.__all__)
def test_functions_take_pytorchs_arguments(name: str) -> None:
    ours = parameters(getattr(F, name))
    if name in BUILTIN:
        theirs = {}
        for argument in BUILTIN[name].strip("()").split(", "):
            key, _, default = argument.partition("=")
            theirs[key] = eval(default) if default else inspect.Parameter.empty
    else:
        theirs = parameters(getattr(torch.nn.functional, name))
    for gone in NEWER.get(name, ()):
        theirs.pop(gone, None)
    assert ours == theirs
    assert list(ours) == list(theirs)


@pytest.mark.parametrize("name", init.__all__)
def test_initialisers_take_pytorchs_arguments(name: str) -> None:
    assert parameters(getattr(init, name)) == parameters(getattr(torch.nn.init, name))


METHODS = [name for name, value in vars(nn.Module).items() if not name.startswith("_") and inspect.isfunction(value)]


@pytest.mark.parametrize("name", [name for name in METHODS if name != "forward"])
def test_module_methods_take_pytorchs_arguments(name: str) -> None:
    ours, theirs = (list(parameters(getattr(of.Module, name))) for of in (nn, torch.nn))
    if name == "state_dict":  # PyTorch's positional form is deprecated
        theirs.remove("args")
    assert ours == theirs


def whole_models(nn: Any) -> list[Any]:
    """The same source for both libraries."""
    return [
        nn.Identity(3, x=1),
        nn.Linear(3, 4),
        nn.Linear(3, 4, bias=False),
        nn.Conv2d(3, 4, 3),
        nn.Conv2d(4, 4, (3, 2), stride=(2, 1), padding=1, dilation=2, groups=2, bias=False),
        nn.Conv2d(4, 4, 3, padding="same"),
        nn.Conv2d(4, 4, 3, padding="valid"),
        nn.MaxPool2d(2),
        nn.MaxPool2d((3, 2), stride=1, padding=1, dilation=2, ceil_mode=True),
        nn.AvgPool2d(2, padding=1),
        nn.AvgPool2d((2, 3), 2),
        nn.AdaptiveAvgPool2d(1),
        nn.AdaptiveAvgPool2d((None, 3)),
        nn.Flatten(),
        nn.Flatten(0, 2),
        nn.Unflatten(1, (2, 3)),
        nn.Dropout(),
        nn.Dropout(0.1, inplace=True),
        nn.ReLU(),
        nn.ReLU(inplace=True),
        nn.LeakyReLU(),
        nn.LeakyReLU(0.2, inplace=True),
        nn.GELU(),
        nn.GELU(approximate="tanh"),
        nn.SiLU(),
        nn.SiLU(True),
        nn.Tanh(),
        nn.Sigmoid(),
        nn.LogSigmoid(),
        nn.ELU(),
        nn.ELU(0.5, True),
        nn.Softplus(),
        nn.Hardtanh(),
        nn.Hardtanh(-2.0, 2.0, True),
        nn.ReLU6(),
        nn.Softmax(),
        nn.Softmax(dim=-1),
        nn.LogSoftmax(dim=1),
        nn.BatchNorm1d(4),
        nn.BatchNorm2d(4, eps=1e-3, momentum=None, affine=False),
        nn.BatchNorm2d(4, track_running_stats=False),
        nn.LayerNorm(4),
        nn.LayerNorm([2, 4], eps=1e-6, elementwise_affine=False),
        nn.LayerNorm((2, 4), bias=False),
        nn.Embedding(5, 3),
        nn.Embedding(5, 3, padding_idx=-1),
        nn.LSTM(3, 4),
        nn.LSTM(3, 4, 2, bias=False, batch_first=True, dropout=0.25, bidirectional=True),
        nn.CrossEntropyLoss(),
        nn.CrossEntropyLoss(ignore_index=0, reduction="sum", label_smoothing=0.1),
        nn.MSELoss(),
        nn.BCEWithLogitsLoss(reduction="none"),
        nn.NLLLoss(),
        nn.L1Loss(),
        nn.SmoothL1Loss(beta=0.5),
        nn.Sequential(),
        nn.Sequential(nn.Linear(1, 2), nn.Sequential(nn.ReLU(), nn.Linear(2, 2)), nn.Tanh()),
        nn.ModuleList([nn.Linear(1, 1), nn.Linear(1, 1), nn.Sequential(nn.ReLU(), nn.ReLU()), nn.ReLU()]),
        nn.ModuleList([nn.ModuleList([nn.ReLU(), nn.ReLU()])]),
        nn.ModuleDict({"a": nn.Linear(1, 1), "b": nn.ModuleDict({"c": nn.ReLU()})}),
        nn.ParameterList(),
        nn.Module(),
    ]


MODELS = list(zip(whole_models(nn), whole_models(torch.nn), strict=True))


@pytest.mark.parametrize(("ours", "theirs"), MODELS, ids=[type(m).__name__ for m, _ in MODELS])
def test_repr_and_state_are_pytorchs(ours: Any, theirs: Any) -> None:
    assert repr(ours) == repr(theirs)
    assert [(k, tuple(v.shape)) for k, v in ours.state_dict().items()] == [
        (k, tuple(v.shape)) for k, v in theirs.state_dict().items()
    ]
    assert [n for n, _ in ours.named_parameters()] == [n for n, _ in theirs.named_parameters()]
    assert [n for n, _ in ours.named_modules()] == [n for n, _ in theirs.named_modules()]
    for key, value in ours.state_dict().items():
        assert str(value.dtype) == str(theirs.state_dict()[key].dtype).removeprefix("torch."), key
    public = {k: v for k, v in vars(theirs).items() if not k.startswith("_")}
    for name, value in public.items():  # the attributes that model code reads
        assert getattr(ours, name) == value, name


def test_parameter_list_repr() -> None:
    ours = nn.ParameterList([Tensor(np.zeros((2, 3), np.float32)), 5])
    assert (
        repr(ours)
        == "ParameterList(\n    (0): Parameter containing: [float32 of size 2x3]\n    (1): Object of type: int\n)"
    )
    theirs = torch.nn.ParameterList([torch.zeros(2, 3), 5])
    assert repr(ours) == repr(theirs).replace("torch.float32", "float32")


def bad_calls(nn: Any) -> list[Any]:
    """Constructor calls that both libraries refuse, in the same class and words."""
    return [
        lambda: nn.Conv2d(3, 4, 3, groups=0),
        lambda: nn.Conv2d(3, 4, 3, groups=2),
        lambda: nn.Conv2d(4, 3, 3, groups=2),
        lambda: nn.Conv2d(4, 4, 3, padding="same", stride=2),
        lambda: nn.Dropout(1.5),
        lambda: nn.Dropout(-0.1),
        lambda: nn.Embedding(3, 2, padding_idx=3),
        lambda: nn.Embedding(3, 2, padding_idx=-4),
        lambda: nn.Hardtanh(1.0, -1.0),
        lambda: nn.LSTM(3, 0),
        lambda: nn.LSTM(3, 4.0),
        lambda: nn.LSTM(3, 4, 0),
        lambda: nn.LSTM(3, 4, 2, dropout=1.5),
        lambda: nn.LSTM(3, 4, 2, dropout=True),
        lambda: nn.init.calculate_gain("sine"),
        lambda: nn.init.calculate_gain("leaky_relu", True),
        lambda: nn.Linear(1, 1).load_state_dict(3),
        lambda: nn.Linear(1, 1).load_state_dict({}),
        lambda: nn.Linear(1, 1).add_module("a.b", nn.ReLU()),
        lambda: nn.Linear(1, 1).register_buffer("weight", None),
        lambda: nn.Linear(1, 1).no_such_thing,
        lambda: nn.Linear(1, 1).train(1),
        lambda: nn.Sequential(nn.ReLU())[1],
        lambda: nn.Sequential(nn.ReLU()) * 0,
        lambda: nn.Module()(1),
        lambda: nn.Module().get_submodule("a"),
        lambda: nn.ModuleDict(3),
        lambda: nn.ParameterList([])(3),
    ]


BAD = list(zip(bad_calls(nn), bad_calls(torch.nn), strict=True))


@pytest.mark.parametrize(("ours", "theirs"), BAD, ids=map(str, range(len(BAD))))
def test_errors_are_pytorchs(ours: Any, theirs: Any) -> None:
    with pytest.raises(Exception) as expected:  # noqa: PT011  (its class and words are the test)
        theirs()
    with pytest.raises(expected.type) as got:
        ours()
    words = re.sub(r"torch\.nn\.modules\.(\w+)", r"chainrule.nn.modules.\1", str(expected.value))
    assert str(got.value) == words.replace("torch.", "chainrule.")


def test_state_round_trips_through_numpy_both_ways() -> None:
    def make(nn: Any) -> Any:
        return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 2), nn.Embedding(5, 2))

    ours, theirs = make(nn), make(torch.nn)
    theirs[1].running_mean += 3
    theirs[1].num_batches_tracked += 7
    ours.load_state_dict(theirs.state_dict())
    for key, value in theirs.state_dict().items():
        np.testing.assert_array_equal(ours.state_dict()[key].numpy(), value.numpy())
    fresh = make(torch.nn)
    fresh.load_state_dict({k: torch.from_numpy(v.numpy().copy()) for k, v in ours.state_dict().items()})
    for key, value in theirs.state_dict().items():
        assert torch.equal(fresh.state_dict()[key], value)
    assert ours.state_dict()._metadata == dict(theirs.state_dict()._metadata)
