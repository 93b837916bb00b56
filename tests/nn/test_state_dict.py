"""state_dict and load_state_dict: keys, values from anywhere, all or nothing."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import numpy as np
import pytest

import chainrule
from chainrule import nn


def model() -> nn.Sequential:
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))


def values(m: nn.Module) -> dict[str, np.ndarray]:
    return {k: v.numpy().copy() for k, v in m.state_dict().items()}


def assert_unchanged(m: nn.Module, before: dict[str, np.ndarray]) -> None:
    after = values(m)
    assert list(after) == list(before)
    for key, value in before.items():
        np.testing.assert_array_equal(after[key], value)


def test_round_trip_between_models() -> None:
    a, b = model(), model()
    keys = b.load_state_dict(a.state_dict())
    assert keys.missing_keys == []
    assert keys.unexpected_keys == []
    assert repr(keys) == "<All keys matched successfully>"
    assert_unchanged(b, values(a))


def test_values_may_be_tensors_arrays_and_lists_of_dtypes() -> None:
    m = nn.Linear(2, 1)
    m.load_state_dict({"weight": np.array([[1, 2]]), "bias": np.array([0.5], ">f8")})
    np.testing.assert_array_equal(m.weight.detach().numpy(), [[1.0, 2.0]])
    assert m.weight.dtype == np.float32

    class Foreign:  # such as another framework's parameter: no array until it is detached
        def __init__(self, array: np.ndarray, attached: bool) -> None:
            self.array, self.attached = array, attached

        def detach(self) -> Foreign:
            return Foreign(self.array, False)

        def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
            if self.attached:
                raise RuntimeError("requires grad")
            return self.array

    m.load_state_dict({"weight": Foreign(np.array([[7.0, 8.0]]), True), "bias": m.bias})
    np.testing.assert_array_equal(m.weight.detach().numpy(), [[7.0, 8.0]])


def test_one_element_fits_a_scalar() -> None:
    m = nn.Module()
    m.s = nn.Parameter(chainrule.zeros(()))
    m.load_state_dict({"s": np.array([3.0])})
    assert m.s.item() == 3


def test_everything_wrong_is_listed_and_nothing_changes() -> None:
    m = model()
    before = values(m)
    state = {k: v + 1 for k, v in before.items()}
    state["0.weight"] = np.zeros((4, 4))
    state["0.bias"] = np.array(["a", "b", "c", "d"])
    state["2.weight"] = "not an array"
    state["1.running_mean"] = np.zeros(4, complex)
    del state["2.bias"]
    state["3.weight"] = np.zeros(1)
    state["1.more"] = np.zeros(1)
    with pytest.raises(RuntimeError) as error:
        m.load_state_dict(state)
    text = str(error.value)
    assert text.startswith("Error(s) in loading state_dict for Sequential:\n\tMissing key(s) in state_dict: ")
    assert 'Missing key(s) in state_dict: "2.bias". ' in text
    assert 'Unexpected key(s) in state_dict: "3.weight", "1.more". ' in text
    assert "size mismatch for 0.weight: copying a param with shape (4, 4) from checkpoint, the shape in current" in text
    for key in ("0.bias", "2.weight", "1.running_mean"):
        assert f'While copying the parameter named "{key}"' in text
    assert_unchanged(m, before)


@pytest.mark.parametrize("last", [True, False])
def test_a_failure_at_any_place_leaves_the_model_as_it_was(last: bool) -> None:
    m = model()
    before = values(m)
    state = {k: v + 1 for k, v in before.items()}
    state["2.bias" if last else "0.weight"] = np.zeros(7)
    for strict in (True, False):  # a wrong shape is an error either way
        with pytest.raises(RuntimeError, match="size mismatch"):
            m.load_state_dict(state, strict=strict)
        assert_unchanged(m, before)


def test_a_read_only_parameter_fails_before_anything_is_written() -> None:
    frozen = np.zeros(2, np.float32)
    m = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    m[1].bias = nn.Parameter(chainrule.from_numpy(frozen))
    frozen.flags.writeable = False
    m[1].bias._array.flags.writeable = False
    before = values(m)
    with pytest.raises(RuntimeError, match="read-only"):
        m.load_state_dict({k: v + 1 for k, v in before.items()})
    assert_unchanged(m, before)


def test_not_strict_loads_what_fits() -> None:
    m = model()
    before = values(m)
    keys = m.load_state_dict({"0.bias": np.full(4, 9.0), "other": np.zeros(1)}, strict=False)
    assert keys.unexpected_keys == ["other"]
    # As in PyTorch, a state dict without version numbers may lack num_batches_tracked.
    assert keys.missing_keys == [k for k in before if k not in ("0.bias", "1.num_batches_tracked")]
    before["0.bias"][:] = 9
    assert_unchanged(m, before)


def test_not_a_mapping() -> None:
    with pytest.raises(TypeError, match="dict-like"):
        model().load_state_dict([("0.weight", 1)])  # type: ignore[arg-type]


def test_state_dict_shares_memory_and_keep_vars_gives_the_parameters() -> None:
    m = nn.Linear(2, 1)
    state = m.state_dict()
    assert not state["weight"].requires_grad
    assert np.shares_memory(state["weight"].numpy(), m.weight.detach().numpy())
    assert m.state_dict(keep_vars=True)["weight"] is m.weight
    into: dict[str, Any] = OrderedDict(x=1)
    assert m.state_dict(destination=into, prefix="p.") is into
    assert list(into) == ["x", "p.weight", "p.bias"]
    assert model().state_dict()._metadata["1"] == {"version": 2}  # type: ignore[attr-defined]


def test_assign_takes_the_tensors_themselves() -> None:
    m = nn.Linear(2, 1)
    m.bias.requires_grad_(False)
    weight = chainrule.ones(1, 2, dtype=np.float64)
    m.load_state_dict({"weight": weight, "bias": np.ones(1)}, assign=True)
    assert isinstance(m.weight, nn.Parameter)
    assert m.weight.requires_grad
    assert np.shares_memory(m.weight.detach().numpy(), weight.numpy())
    assert m.weight.dtype == np.float64
    assert not m.bias.requires_grad
    old = m.weight
    with pytest.raises(RuntimeError, match="size mismatch for bias"):
        m.load_state_dict({"weight": chainrule.zeros(1, 2), "bias": np.ones(3)}, assign=True)
    assert m.weight is old


def test_optimisers_see_loaded_values() -> None:
    m = nn.Linear(2, 1)
    weight = m.weight
    m.load_state_dict({"weight": np.ones((1, 2)), "bias": np.ones(1)})
    assert m.weight is weight


def test_loading_after_forward_is_noticed_by_backward() -> None:
    m = nn.Linear(2, 1)
    x = chainrule.ones(1, 2)
    x.requires_grad_()
    y = m(x)
    m.load_state_dict({"weight": np.ones((1, 2)), "bias": np.ones(1)})
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.backward(chainrule.ones(1, 1))


class WithExtra(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(chainrule.zeros(1))
        self.extra = "new"

    def get_extra_state(self) -> str:
        return self.extra

    def set_extra_state(self, state: Any) -> None:
        if state == "bad":
            raise ValueError("bad extra state")
        self.extra = state


def test_extra_state() -> None:
    m = WithExtra()
    assert list(m.state_dict()) == ["w", "_extra_state"]
    with pytest.raises(RuntimeError, match=r'Missing key.*"_extra_state"'):
        m.load_state_dict({"w": np.ones(1)})
    m.load_state_dict({"w": np.ones(1), "_extra_state": "loaded"})
    assert m.extra == "loaded"
    with pytest.raises(RuntimeError, match=r'Unexpected key.*"_extra_state"'):
        nn.Linear(1, 1, bias=False).load_state_dict({"weight": np.ones((1, 1)), "_extra_state": 1})


def test_extra_state_that_is_refused_takes_the_rest_back() -> None:
    m = nn.Sequential(nn.Linear(1, 1), WithExtra(), nn.Linear(1, 1))
    before = {k: v for k, v in m.state_dict().items() if not k.endswith("_extra_state")}
    before = {k: v.numpy().copy() for k, v in before.items()}
    state: dict[str, Any] = {k: v + 1 for k, v in before.items()}
    state["1._extra_state"] = "bad"
    with pytest.raises(ValueError, match="bad extra state"):
        m.load_state_dict(state)
    assert m[1].extra == "new"
    for key, value in before.items():
        np.testing.assert_array_equal(m.state_dict()[key].numpy(), value)


def test_hooks_of_state_dicts() -> None:
    m = nn.Sequential(nn.Linear(1, 1))
    log: list[Any] = []
    m.register_state_dict_pre_hook(lambda mod, prefix, keep: log.append(("pre", prefix, keep)))
    handle = m.register_state_dict_post_hook(lambda mod, state, prefix, meta: state.pop("0.bias") and None)
    assert list(m.state_dict()) == ["0.weight"]
    handle.remove()
    assert list(m.state_dict()) == ["0.weight", "0.bias"]
    assert log == [("pre", "", False)] * 2

    def rename(mod: Any, state: dict[str, Any], prefix: str, *rest: Any) -> None:
        for key in list(state):
            state[key.replace("old", "0")] = state.pop(key)

    m.register_load_state_dict_pre_hook(rename)
    m.load_state_dict({"old.weight": np.ones((1, 1)), "old.bias": np.ones(1)})
    assert m[0].weight.item() == 1


def test_a_load_post_hook_may_forgive_keys_and_its_failure_changes_nothing() -> None:
    m = nn.Linear(1, 1)
    seen: list[float] = []

    def forgive(mod: Any, keys: Any) -> None:
        seen.append(mod.weight.item())
        keys.missing_keys.clear()

    handle = m.register_load_state_dict_post_hook(forgive)
    m.load_state_dict({"weight": np.full((1, 1), 5.0)})
    assert seen == [5.0]
    handle.remove()
    m.register_load_state_dict_post_hook(lambda mod, keys: None)
    with pytest.raises(RuntimeError, match="Missing key"):
        m.load_state_dict({"weight": np.full((1, 1), 7.0)})
    assert m.weight.item() == 5
