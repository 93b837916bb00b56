"""Module: registering, attributes, walking, modes, conversion, copying."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest

import chainrule
from chainrule import nn


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(3, 4)
        self.second = nn.Sequential(nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 2))
        self.scale = nn.Parameter(chainrule.ones(2))
        self.register_buffer("seen", chainrule.zeros(1))
        self.register_buffer("cache", chainrule.zeros(1), persistent=False)

    def forward(self, x: Any) -> Any:
        return self.second(self.first(x)) * self.scale


PARAMETERS = ["scale", "first.weight", "first.bias", "second.0.weight", "second.0.bias", "second.2.weight"]
PARAMETERS.append("second.2.bias")


def test_parameters_and_buffers_come_in_pytorchs_order() -> None:
    net = Net()
    assert [name for name, _ in net.named_parameters()] == PARAMETERS
    assert [name for name, _ in net.named_parameters(recurse=False)] == ["scale"]
    assert next(net.named_parameters(prefix="net"))[0] == "net.scale"
    running = ["second.0.running_mean", "second.0.running_var", "second.0.num_batches_tracked"]
    assert [name for name, _ in net.named_buffers()] == ["seen", "cache", *running]
    assert [name for name, _ in net.named_children()] == ["first", "second"]
    assert [name for name, _ in net.named_modules()] == ["", "first", "second", "second.0", "second.1", "second.2"]
    assert next(net.modules()) is net
    assert list(net.state_dict()) == [
        "scale", "seen", "first.weight", "first.bias", "second.0.weight", "second.0.bias", *running,
        "second.2.weight", "second.2.bias",
    ]  # fmt: skip


def test_shared_parameters_and_modules_count_once() -> None:
    layer = nn.Linear(2, 2)
    net = nn.Sequential(layer, layer, nn.Linear(2, 2))
    net[2].weight = layer.weight
    assert [name for name, _ in net.named_parameters()] == ["0.weight", "0.bias", "2.bias"]
    assert len(list(net.named_parameters(remove_duplicate=False))) == 6
    assert len(list(net.modules())) == 3
    assert list(net.state_dict()) == ["0.weight", "0.bias", "1.weight", "1.bias", "2.weight", "2.bias"]


def test_attributes_go_where_their_kind_belongs() -> None:
    m = nn.Module()
    m.w = chainrule.ones(1)
    assert "w" in m.__dict__
    m.w = nn.Parameter(chainrule.ones(1))
    assert "w" not in m.__dict__
    assert list(m._parameters) == ["w"]
    del m.w
    m.w = nn.ReLU()
    assert not m._parameters
    assert list(m._modules) == ["w"]
    del m.w
    assert not hasattr(m, "w")
    m.b = nn.Buffer(chainrule.ones(1), persistent=False)
    assert list(m._buffers) == ["b"]
    assert not m.state_dict()
    m.b = chainrule.zeros(1)  # stays a buffer, and stays out of the state dict
    assert list(m._buffers) == ["b"]
    assert not m.state_dict()
    del m.b
    assert not m._non_persistent_buffers_set
    m.p = nn.Parameter(chainrule.ones(1))
    m.p = None
    assert m.p is None
    assert "p" in m._parameters
    assert {"p", "forward"} <= set(dir(m))


class Early(nn.Module):
    def __init__(self, value: Any) -> None:
        self.value = value


@pytest.mark.parametrize(
    ("act", "kind", "match"),
    [
        (lambda m: setattr(m, "weight", chainrule.ones(2, 3)), TypeError, "as parameter 'weight'"),
        (lambda m: setattr(m, "child", chainrule.ones(1)), TypeError, "as child module 'child'"),
        (lambda m: setattr(m, "buf", 3), TypeError, "as buffer 'buf'"),
        (lambda m: m.register_parameter("a.b", None), KeyError, r'contain "\."'),
        (lambda m: m.register_parameter("", None), KeyError, "empty string"),
        (lambda m: m.register_parameter(3, None), TypeError, "should be a string"),
        (lambda m: m.register_parameter("train", None), KeyError, "'train' already exists"),
        (lambda m: m.register_parameter("p", chainrule.ones(1)), TypeError, "to parameter 'p'"),
        (lambda m: m.register_buffer("weight", None), KeyError, "'weight' already exists"),
        (lambda m: m.register_buffer("b", 3), TypeError, "to buffer 'b'"),
        (lambda m: m.register_buffer("a.b", None), KeyError, r'contain "\."'),
        (lambda m: m.add_module("forward", nn.ReLU()), KeyError, "'forward' already exists"),
        (lambda m: m.add_module("x", 3), TypeError, "not a Module subclass"),
        (lambda m: m.add_module("a.b", nn.ReLU()), KeyError, "got: a.b"),
        (lambda m: m.nothing, AttributeError, "'Linear' object has no attribute 'nothing'"),
        (lambda m: delattr(m, "nothing"), AttributeError, "nothing"),
        (lambda m: m.train("yes"), ValueError, "boolean"),
        (lambda m: m.to(chainrule.int64), TypeError, "floating point"),
        (lambda m: m.to("cuda"), RuntimeError, "'cuda'"),
        (lambda m: m.to(colour="red"), TypeError, "colour"),
        (lambda m: m.get_submodule("child.x"), AttributeError, "ReLU has no attribute `x`"),
        (lambda m: m.get_submodule("weight"), AttributeError, "`weight` is not an nn.Module"),
        (lambda m: m.get_parameter("buf"), AttributeError, "`buf` is not an nn.Parameter"),
        (lambda m: m.get_buffer("weight"), AttributeError, "`weight` is not a buffer"),
        (lambda m: m.set_submodule("", nn.ReLU()), ValueError, "target name"),
        (lambda m: nn.Module()(3), NotImplementedError, 'missing the required "forward"'),
        (lambda m: Early(nn.Parameter(chainrule.ones(1))), AttributeError, r"before Module.__init__\(\) call"),
        (lambda m: Early(nn.ReLU()), AttributeError, r"before Module.__init__\(\) call"),
    ],
)  # fmt: skip
def test_bad_use_is_refused_and_changes_nothing(act: Any, kind: type[Exception], match: str) -> None:
    m = nn.Linear(3, 2)
    m.child = nn.ReLU()
    m.register_buffer("buf", chainrule.ones(1))
    before = {kind: dict(m.__dict__[kind]) for kind in ("_parameters", "_buffers", "_modules")}
    with pytest.raises(kind, match=match):
        act(m)
    for name, members in before.items():
        assert list(m.__dict__[name]) == list(members)
        assert all(m.__dict__[name][k] is v for k, v in members.items())


def test_arrays_in_place_of_tensors_are_named() -> None:
    x = np.zeros((2, 3), np.float32)
    for module in (nn.Linear(3, 4), nn.ReLU(), nn.BatchNorm1d(3), nn.Softmax(1)):
        with pytest.raises(TypeError, match=f"^{type(module).__name__}: got a ndarray, want a Tensor"):
            module(x)
    with pytest.raises(TypeError, match=r"^CrossEntropyLoss: got a ndarray, want a Tensor"):
        nn.CrossEntropyLoss()(chainrule.zeros(2, 3), np.zeros(2, np.int64))
    with pytest.raises(TypeError, match=r"^Linear: got a ndarray, want a Tensor"):
        nn.functional.linear(x, chainrule.zeros(4, 3))  # type: ignore[arg-type]

    class Broken(nn.Module):
        def forward(self, x: Any) -> Any:
            return self.missing

    with pytest.raises(AttributeError, match="'Broken' object has no attribute 'missing'"):
        Broken()(x)


def test_a_computed_tensor_cannot_be_a_parameter() -> None:
    w = nn.Parameter(chainrule.ones(1))
    w._node = nn.Linear(1, 1)(chainrule.ones(1))._node
    with pytest.raises(ValueError, match="non-leaf Tensor to parameter 'w'"):
        nn.Module().register_parameter("w", w)


def test_paths_lead_to_members() -> None:
    net = Net()
    assert net.get_submodule("") is net
    assert net.get_submodule("second.2") is net.second[2]
    assert net.get_parameter("second.2.weight") is net.second[2].weight
    assert net.get_parameter("scale") is net.scale
    assert net.get_buffer("second.0.running_mean") is net.second[0].running_mean
    tanh = nn.Tanh()
    net.set_submodule("second.1", tanh)
    assert net.second[1] is tanh


def test_apply_goes_from_the_leaves_up() -> None:
    seen: list[str] = []
    net = Net()
    assert net.apply(lambda m: seen.append(type(m).__name__)) is net
    assert seen == ["Linear", "BatchNorm1d", "ReLU", "Linear", "Sequential", "Net"]


def test_modes_reach_everything() -> None:
    net = Net()
    assert net.eval() is net
    assert not any(m.training for m in net.modules())
    assert all(m.training for m in net.train().modules())
    net.requires_grad_(False)
    assert not any(p.requires_grad for p in net.parameters())


def test_zero_grad() -> None:
    layer = nn.Linear(2, 1)
    layer.weight.grad = chainrule.ones(1, 2)
    kept = layer.weight.grad
    layer.zero_grad(set_to_none=False)
    np.testing.assert_array_equal(layer.weight.grad.numpy(), np.zeros((1, 2)))
    assert layer.weight.grad._array is kept._array
    layer.zero_grad()
    assert layer.weight.grad is None


def test_conversion_keeps_the_parameter_objects_and_their_sharing() -> None:
    net = Net()
    net.second[2].register_buffer("same", net.seen)
    params = list(net.parameters())
    net.first.weight.grad = chainrule.ones(4, 3)
    assert net.double() is net
    assert all(p is q and p.dtype == np.float64 for p, q in zip(net.parameters(), params, strict=True))
    assert net.first.weight.grad.dtype == np.float64
    assert net.second[0].running_mean.dtype == np.float64
    assert net.second[0].num_batches_tracked.dtype == np.int64
    assert net.second[2].same is net.seen
    net.float()
    assert net.scale.dtype == np.float32
    for arguments in (("cpu",), (chainrule.float64,), ("cpu", np.float64), (chainrule.zeros(1, dtype=np.float64),)):
        expected = np.float32 if arguments == ("cpu",) else np.float64
        assert nn.Linear(1, 1).to(*arguments).weight.dtype == expected
    assert nn.Linear(1, 1).to(device="cpu", dtype="float64", non_blocking=True).weight.dtype == np.float64


@pytest.mark.parametrize("how", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))], ids=["deepcopy", "pickle"])
def test_copies_are_equal_and_separate(how: Any) -> None:
    net = Net().eval()
    net.second[2].bias.requires_grad_(False)
    net.alias = net.first  # shared inside: shared in the copy
    twin = how(net)
    assert repr(twin) == repr(net)
    assert not twin.training
    assert twin.alias is twin.first
    assert list(twin.state_dict()) == list(net.state_dict())
    for (name, p), q in zip(twin.named_parameters(), net.parameters(), strict=True):
        assert isinstance(p, nn.Parameter), name
        assert p is not q
        assert p.requires_grad == q.requires_grad
        np.testing.assert_array_equal(p.detach().numpy(), q.detach().numpy())
        assert not np.shares_memory(p.detach().numpy(), q.detach().numpy())
    x = chainrule.tensor(np.arange(6, dtype=np.float32).reshape(2, 3))
    np.testing.assert_array_equal(twin.first(x).detach().numpy(), net.first(x).detach().numpy())


def test_parameter() -> None:
    array = np.ones(3, np.float32)
    base = chainrule.from_numpy(array)
    p = nn.Parameter(base)
    assert p.requires_grad
    assert p.is_leaf
    array[0] = 5
    assert p.detach().numpy()[0] == 5  # it shares memory
    with chainrule.no_grad():
        assert nn.Parameter(base).requires_grad
    assert not nn.Parameter(chainrule.zeros(2, dtype=np.int64), requires_grad=False).requires_grad
    with pytest.raises(RuntimeError, match="floating point"):
        nn.Parameter(chainrule.zeros(2, dtype=np.int64))
    assert repr(p).startswith("Parameter containing:\n")
    assert nn.Parameter().shape == (0,)


def test_parameters_to_vector_and_back() -> None:
    net = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 1))
    vector = nn.utils.parameters_to_vector(net.parameters())
    assert vector.shape == (11,)
    parts = [p.detach().numpy().ravel() for p in net.parameters()]
    np.testing.assert_array_equal(vector.detach().numpy(), np.concatenate(parts))
    nn.utils.vector_to_parameters(chainrule.arange(11, dtype=np.float32), net.parameters())
    np.testing.assert_array_equal(net[1].weight.detach().numpy(), [[8.0, 9.0]])
    with pytest.raises(ValueError, match="argument 'vec' has 3 elements, want 11"):
        nn.utils.vector_to_parameters(chainrule.zeros(3), net.parameters())
