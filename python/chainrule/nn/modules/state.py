"""Loading a state dict in two phases: everything is checked and staged first, then written, so all or nothing.

``Module._load_from_state_dict`` stages one module here. What it stages travels in
``local_metadata["staged"]``, so that modules which override that method keep PyTorch's signature.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from chainrule.nn.parameter import Parameter
from chainrule.tensor import Tensor, wrap

if TYPE_CHECKING:
    from chainrule.nn.modules.module import Module

__all__ = ["EXTRA_STATE", "IncompatibleKeys", "Write", "stage", "stage_keys", "stage_module"]

EXTRA_STATE = "_extra_state"


class _Keys(NamedTuple):
    missing_keys: list[str]
    unexpected_keys: list[str]


class IncompatibleKeys(_Keys):
    """What ``load_state_dict`` returns: the keys that were expected and not there, and those not expected."""

    def __repr__(self) -> str:
        return super().__repr__() if self.missing_keys or self.unexpected_keys else "<All keys matched successfully>"

    __str__ = __repr__


class Write(NamedTuple):
    """A checked write; ``remember`` notes what is there now and returns what puts it back."""

    do: Callable[[], None]
    remember: Callable[[], Callable[[], None]]
    may_fail: bool = False  # it runs code of the module's author


def to_array(value: Any) -> np.ndarray:
    """A state dict's value (Tensor, NumPy array, or anything with ``__array__``, torch's tensors too) as an array."""
    if isinstance(value, Tensor):
        return value._array
    if not isinstance(value, (np.ndarray, np.generic)):
        if not hasattr(value, "__array__"):
            raise TypeError(f"expected a Tensor or an array, got {type(value).__name__}")
        if hasattr(value, "detach"):  # another framework's parameter: its values, without its graph
            value = value.detach()
    array = np.asarray(value)
    if array.dtype.kind not in "fiub":
        raise TypeError(f"expected numbers, got an array of dtype {array.dtype}")
    return array


def stage(module: Module, name: str, target: Tensor, value: Any, assign: bool) -> Write:
    """Checks one value against its parameter or buffer; raises ValueError when its shape does not fit."""
    array = to_array(value)
    if target.ndim == 0 and array.shape == (1,):
        array = array[0, ...]
    if array.shape != tuple(target.shape):
        raise ValueError(
            f"copying a param with shape {array.shape} from checkpoint, the shape in current model is "
            f"{tuple(target.shape)}."
        )
    if assign:
        return _assignment(module, name, target, value if isinstance(value, Tensor) else wrap(np.array(array)))
    if not target._array.flags.writeable:
        raise TypeError("the memory of the module's tensor is read-only")
    if target._array.dtype.kind != "f" and array.dtype.kind == "f" and not np.all(np.isfinite(array)):
        raise TypeError(f"values that are not finite don't fit in dtype {target.dtype}")

    def copy(source: np.ndarray = array) -> None:
        np.copyto(target._array, source, casting="unsafe")
        target._bump()

    def remember() -> Callable[[], None]:
        before = target._array.copy()
        return lambda: copy(before)

    return Write(copy, remember)


def _assignment(module: Module, name: str, target: Tensor, value: Tensor) -> Write:
    if isinstance(target, Parameter):
        if value.dtype.kind != "f" and target.requires_grad:
            raise TypeError(f"a parameter that requires a gradient can't have dtype {value.dtype}")
        fresh: Tensor = value if isinstance(value, Parameter) else Parameter(value.detach(), target.requires_grad)
    else:
        fresh = value

    def assign() -> None:
        if isinstance(target, Parameter):
            fresh.requires_grad_(target.requires_grad)
        setattr(module, name, fresh)

    return Write(assign, lambda: lambda: setattr(module, name, target))


def stage_module(
    module: Module,
    state_dict: dict[str, Any],
    prefix: str,
    local_metadata: dict[str, Any],
    strict: bool,
    missing_keys: list[str],
    error_msgs: list[str],
) -> dict[str, Tensor]:
    """Stages the parameters and persistent buffers of one module; returns those that it looked for."""
    own: dict[str, Tensor | None] = dict(module._parameters)
    own.update((k, v) for k, v in module._buffers.items() if k not in module._non_persistent_buffers_set)
    wanted = {name: t for name, t in own.items() if t is not None}
    staged: list[Write] = local_metadata["staged"]
    assign = bool(local_metadata.get("assign_to_params_buffers", False))
    for name, target in wanted.items():
        key = prefix + name
        if key not in state_dict:
            if strict:
                missing_keys.append(key)
            continue
        try:
            staged.append(stage(module, name, target, state_dict[key], assign))
        except ValueError as error:
            error_msgs.append(f"size mismatch for {key}: {error}")
        except Exception as error:  # whatever another library's __array__ raises belongs in the list
            error_msgs.append(f'While copying the parameter named "{key}", an exception occurred : {error}')
    return wanted


def stage_keys(
    module: Module,
    wanted: dict[str, Tensor],
    state_dict: dict[str, Any],
    prefix: str,
    staged: list[Write],
    missing_keys: list[str],
    unexpected_keys: list[str],
) -> None:
    """The module's extra state, and the keys that belong to none of its parameters, buffers and children."""
    from chainrule.nn.modules.module import Module

    extra = prefix + EXTRA_STATE
    if type(module).set_extra_state is not Module.set_extra_state:
        if extra in state_dict:
            state = state_dict[extra]
            staged.append(Write(lambda: module.set_extra_state(state), _remember_extra_state(module), True))
        else:
            missing_keys.append(extra)
    elif extra in state_dict:
        unexpected_keys.append(extra)
    for key in state_dict:
        if key.startswith(prefix) and key != extra:
            name, *rest = key[len(prefix) :].split(".", 1)
            if name not in (module._modules if rest else wanted):
                unexpected_keys.append(key)


def _remember_extra_state(module: Module) -> Callable[[], Callable[[], None]]:
    def remember() -> Callable[[], None]:
        before = module.get_extra_state()
        return lambda: module.set_extra_state(before)

    return remember
