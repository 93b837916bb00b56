"""What optimizers share: parameter groups, state, state dicts, and the frame of a step."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from copy import deepcopy
from typing import Any

import numpy as np

from chainrule import formats, kernels
from chainrule.autograd.grad_mode import enable_grad
from chainrule.recording.state import paused
from chainrule.tensor import Handle, Tensor, listed, wrap

__all__ = ["Optimizer", "Params"]

Array = np.ndarray[Any, Any]
Group = dict[str, Any]
Params = Iterable[Tensor] | Iterable[Group] | Iterable[tuple[str, Tensor]]


class Optimizer:
    """The base of all optimizers.

    ``params`` are the tensors to optimize, or pairs of a name and a tensor, or dicts that each describe a parameter
    group: ``params`` and any options, for which ``defaults`` stands in. A subclass defines ``_update(group)``, or
    ``step`` as in PyTorch.
    """

    def __init__(self, params: Params, defaults: dict[str, Any]) -> None:
        if isinstance(params, Tensor):
            raise TypeError(
                "params argument given to the optimizer should be an iterable of Tensors or dicts, but got "
                f"{type(params).__name__}"
            )
        self.defaults = defaults
        self.state: defaultdict[Tensor, dict[str, Any]] = defaultdict(dict)
        self.param_groups: list[Group] = []
        self._pre_hooks: dict[int, Callable[..., Any]] = {}
        self._post_hooks: dict[int, Callable[..., Any]] = {}
        groups = list(params)
        if not groups:
            raise ValueError("optimizer got an empty parameter list")
        for group in groups if isinstance(groups[0], dict) else [{"params": groups}]:
            self.add_param_group(group)  # type: ignore[arg-type]

    def add_param_group(self, param_group: Group) -> None:
        """Adds parameters with their own options, as when layers are unfrozen during training."""
        if not isinstance(param_group, dict):
            raise TypeError(f"param_group must be a dict, but got {type(param_group)}")
        given = param_group["params"]
        if isinstance(given, set):
            raise TypeError(
                "optimizer parameters need to be organized in ordered collections, but "
                "the ordering of tensors in sets will change between runs. Please use a list instead."
            )
        items = listed(given)
        names = [x[0] for x in items if isinstance(x, tuple)]
        params = [x[1] if isinstance(x, tuple) else x for x in items]
        if names and len(names) != len(params):
            raise ValueError("all optimizer params should be with/without names. Some param names are missing")
        for p in params:
            if not isinstance(p, Tensor):
                raise TypeError(f"optimizer can only optimize Tensors, but one of the params is {type(p).__name__}")
            if not p.is_leaf:
                raise ValueError("can't optimize a non-leaf Tensor")
        known = {id(p) for group in self.param_groups for p in group["params"]}
        if any(id(p) in known for p in params):
            raise ValueError("some parameters appear in more than one parameter group")
        if len({id(p) for p in params}) != len(params):
            raise ValueError("optimizer contains a parameter group with duplicate parameters")
        if any(("param_names" in group) != bool(names) for group in self.param_groups):
            raise ValueError("all optimizer param groups should be with/without names")
        group = {**param_group, "params": params}
        if names:
            group["param_names"] = names
        for name, default in self.defaults.items():
            group.setdefault(name, default)
        self._check(group)
        self.param_groups.append(group)

    def _check(self, group: Group) -> None:
        """Refuses bad options of a group."""

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drops all gradients, or fills them with zeros in place."""
        for group in self.param_groups:
            for p in group["params"]:
                if set_to_none:
                    p.grad = None
                elif p.grad is not None:
                    p.grad = p.grad.detach()
                    p.grad._array[...] = 0
                    p.grad._bump()

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Updates all parameters that have a gradient; returns the loss of ``closure``, which is run first."""
        for hook in list(self._pre_hooks.values()):
            hook(self, (), {"closure": closure})
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        for group in self.param_groups:
            self._update(group)
        for hook in list(self._post_hooks.values()):
            hook(self, (), {"closure": closure})
        return loss

    def _prepare(self, group: Group) -> None:
        """Makes the state that the next update of this group needs."""

    def _update(self, group: Group) -> None:
        raise NotImplementedError(f"{type(self).__name__} defines neither step() nor _update(group)")

    def register_step_pre_hook(self, hook: Callable[..., Any]) -> Handle:
        """Calls ``hook(optimizer, args, kwargs)`` before each step."""
        return Handle(self._pre_hooks, hook)

    def register_step_post_hook(self, hook: Callable[..., Any]) -> Handle:
        """Calls ``hook(optimizer, args, kwargs)`` after each step."""
        return Handle(self._post_hooks, hook)

    def state_dict(self) -> dict[str, Any]:
        """``{"state": {index: {name: value}}, "param_groups": [...]}``; tensors in it are those in use, not copies."""
        index = {id(p): i for i, p in enumerate(p for group in self.param_groups for p in group["params"])}
        groups = [
            {**{k: v for k, v in group.items() if k != "params"}, "params": [index[id(p)] for p in group["params"]]}
            for group in self.param_groups
        ]
        return {
            "state": {index[id(p)]: dict(self._to_save(p, state)) for p, state in self.state.items()},
            "param_groups": groups,
        }

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Takes over what ``state_dict`` returned, also PyTorch's with its tensors as arrays; all of it or nothing."""
        groups, saved = self.param_groups, deepcopy(list(state_dict["param_groups"]))
        if len(groups) != len(saved):
            raise ValueError("loaded state dict has a different number of parameter groups")
        if any(len(g["params"]) != len(s["params"]) for g, s in zip(groups, saved, strict=True)):
            raise ValueError(
                "loaded state dict contains a parameter group that doesn't match the size of optimizer's group"
            )
        ids = [i for group in saved for i in group["params"]]
        param = dict(zip(ids, (p for group in groups for p in group["params"]), strict=True))
        state: defaultdict[Tensor, dict[str, Any]] = defaultdict(dict)
        for i, values in state_dict["state"].items():
            if i not in param:
                raise ValueError(f"loaded state dict has state for a parameter {i!r} that no group of it contains")
            state[param[i]] = {name: _loaded(param[i], i, name, value) for name, value in values.items()}
        merged: list[Group] = []
        for group, new in zip(groups, saved, strict=True):
            names = {"param_names": group["param_names"]} if "param_names" in group else {}
            merged.append({**self.defaults, **new, "params": group["params"], **names})
            if not names:
                merged[-1].pop("param_names", None)
        for new in merged:
            self._check(new)
        self.state, self.param_groups = state, merged

    def _to_save(self, param: Tensor, state: dict[str, Any]) -> dict[str, Any]:
        """A parameter's state as ``state_dict`` gives it."""
        return state

    def __repr__(self) -> str:
        lines = [f"{type(self).__name__} ("]
        for i, group in enumerate(self.param_groups):
            lines.append(f"Parameter Group {i}")
            lines += [f"    {key}: {group[key]}" for key in sorted(group) if key != "params"]
        return "\n".join(lines) + "\n)"


def with_gradients(params: list[Tensor]) -> list[list[Tensor]]:
    """The parameters that have a gradient, one list per dtype: a kernel takes arrays of one."""
    lists: dict[Any, list[Tensor]] = {}
    for p in params:
        if p._grad is not None:
            lists.setdefault(p._array.dtype, []).append(p)
    return list(lists.values())


def arrays(states: list[dict[str, Any]], name: str) -> list[Array]:
    return [state[name]._array for state in states]


def zeros_like(param: Tensor) -> Tensor:
    return wrap(kernels.fill(formats.empty_like(param._array, param._array.dtype), 0))


def number(value: Any) -> float:
    """An option that may be a Python number or a tensor of one element."""
    if isinstance(value, Tensor):
        with paused():  # a recorded step reads it anew each time
            return float(value.item())
    return float(value)


def refuse_differentiable(name: str, differentiable: bool) -> None:
    if differentiable:
        raise ValueError(f"{name}: differentiable=True is not supported: steps are not recorded on the tape")


def _loaded(param: Tensor, index: Any, name: str, value: Any) -> Any:
    """A saved value as ours: tensors and arrays are copied, in the parameter's dtype; a step count as one int64."""
    if name == "step":
        return wrap(np.array(int(number(value) if isinstance(value, Tensor) else np.asarray(value).item()), np.int64))
    if isinstance(value, Tensor):
        value = value._array
    if not isinstance(value, np.ndarray):
        return deepcopy(value)
    if value.shape != param.shape:
        raise ValueError(
            f"loaded state dict has {name!r} of shape {value.shape} for parameter {index!r} of shape {param.shape}"
        )
    return wrap(kernels.copy(value.astype(param.dtype, copy=False), formats.empty_like(param._array, param.dtype)))
