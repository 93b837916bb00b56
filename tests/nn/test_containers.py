"""Sequential, ModuleList, ModuleDict, ParameterList, ParameterDict."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import numpy as np
import pytest

from chainrule import nn
from chainrule.tensor import Tensor


def ones(n: int) -> Tensor:
    return Tensor(np.ones(n, np.float32))


def names(m: nn.Module) -> list[str]:
    return list(m._modules)


def test_sequential() -> None:
    a, b, c = nn.Linear(1, 2), nn.ReLU(), nn.Tanh()
    s = nn.Sequential(a, b)
    assert len(s) == 2
    assert s[0] is a
    assert s[-1] is b
    assert list(s) == [a, b]
    assert isinstance(s[:1], nn.Sequential)
    assert list(s[1:]) == [b]
    assert s.append(c) is s
    assert s.insert(0, c) is s
    assert list(s) == [c, a, b, c]
    assert names(s) == ["0", "1", "2", "3"]
    s.insert(-1, b)
    assert list(s) == [c, a, b, b, c]
    del s[0]
    assert list(s) == [a, b, b, c]
    assert names(s) == ["0", "1", "2", "3"]
    del s[1:3]
    assert list(s) == [a, c]
    s[1] = b
    assert list(s) == [a, b]
    assert s.pop(0) is a
    assert list(s.extend([a, c])) == [b, a, c]
    assert list(nn.Sequential(a) + nn.Sequential(b)) == [a, b]
    assert list(nn.Sequential(a, b) * 2) == [a, b, a, b]
    assert list(2 * nn.Sequential(a)) == [a, a]
    s = nn.Sequential(a)
    s += nn.Sequential(b)
    s *= 2
    assert list(s) == [a, b, a, b]
    named = nn.Sequential(OrderedDict(fc=a, act=b))
    assert names(named) == ["fc", "act"]
    assert named.fc is a
    assert names(named[:1]) == ["fc"]
    assert "0" not in dir(s)


@pytest.mark.parametrize(
    ("act", "kind"),
    [
        (lambda s: s[2], IndexError),
        (lambda s: s[-3], IndexError),
        (lambda s: s.insert(5, nn.ReLU()), IndexError),
        (lambda s: s.insert(0, 3), AssertionError),
        (lambda s: s.append(3), TypeError),
        (lambda s: s.__add__([nn.ReLU()]), ValueError),
        (lambda s: s * 0, ValueError),
        (lambda s: s * 1.5, TypeError),
        (lambda s: nn.Sequential(3), TypeError),
        (lambda s: s.extend(3), TypeError),
        (lambda s: nn.ModuleList(3), TypeError),
        (lambda s: nn.ModuleList([nn.ReLU()])[1], IndexError),
        (lambda s: nn.ModuleList([nn.ReLU()])(1), NotImplementedError),
        (lambda s: nn.ModuleDict({"a.b": nn.ReLU()}), KeyError),
        (lambda s: nn.ModuleDict([["a"]]), ValueError),
        (lambda s: nn.ModuleDict(3), TypeError),
        (lambda s: nn.ModuleDict({"keys": nn.ReLU()}), KeyError),
        (lambda s: nn.ParameterList(ones(2)), TypeError),
        (lambda s: nn.ParameterList([])(1), RuntimeError),
        (lambda s: nn.ParameterDict({})(1), RuntimeError),
        (lambda s: nn.ParameterDict([(1, ones(1))]), TypeError),
        (lambda s: nn.ParameterDict().popitem(), KeyError),
    ],
)
def test_bad_use(act: Any, kind: type[Exception]) -> None:
    s = nn.Sequential(nn.ReLU(), nn.Tanh())
    with pytest.raises(kind):
        act(s)
    assert len(s) == 2


def test_module_list() -> None:
    a, b, c = nn.ReLU(), nn.Tanh(), nn.Sigmoid()
    m = nn.ModuleList([a])
    m += [b]
    m.insert(1, c)
    assert list(m) == [a, c, b]
    assert m[-1] is b
    assert isinstance(m[:2], nn.ModuleList)
    assert list(m[:2]) == [a, c]
    del m[0]
    assert names(m) == ["0", "1"]
    assert list(m + nn.ModuleList([a])) == [c, b, a]
    assert m.pop(0) is c
    assert repr(nn.ModuleList()) == "ModuleList()"


def test_module_dict() -> None:
    a, b = nn.ReLU(), nn.Tanh()
    m = nn.ModuleDict([("a", a)])
    m["b"] = b
    assert list(m) == ["a", "b"]
    assert list(m.items()) == [("a", a), ("b", b)]
    assert "a" in m
    assert m.pop("a") is a
    m.update({"c": a})
    assert list(m.keys()) == ["b", "c"]
    assert list(m.values()) == [b, a]
    del m["b"]
    assert len(m) == 1
    m.clear()
    assert not len(m)


def test_parameter_list() -> None:
    p = nn.ParameterList([nn.Parameter(ones(2)), ones(3)])
    p.append("text")
    assert [name for name, _ in p.named_parameters()] == ["0", "1"]
    assert isinstance(p[1], nn.Parameter)
    assert p[-1] == "text"
    assert len(p) == 3
    assert len(p[:2]) == 2
    p[0] = ones(5)
    assert p[0].shape == (5,)
    p += [ones(1)]
    assert list(p.state_dict()) == ["0", "1", "3"]


def test_parameter_dict() -> None:
    p = nn.ParameterDict({"b": ones(1), "a": ones(2)})
    assert list(p) == ["a", "b"]  # a plain dict is taken in sorted order
    assert isinstance(p["a"], nn.Parameter)
    assert list((p | nn.ParameterDict({"c": ones(1)})).keys()) == ["a", "b", "c"]
    assert list(reversed(p)) == ["b", "a"]
    assert p.get("z") is None
    assert p.setdefault("z", ones(1)) is p["z"]
    key, value = p.popitem()
    assert key == "z"
    assert isinstance(value, nn.Parameter)
    assert p.pop("a").shape == (2,)
    assert [name for name, _ in p.named_parameters()] == ["b"]
    assert p.copy()["b"] is p["b"]
    p.clear()
    assert not list(p.parameters())
