"""What the recorder sees of tensors, modules and optimizers: their classes report while some thread records.

Eager code pays nothing: the classes are as they were before and after.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any

from chainrule import _core
from chainrule.autograd.grad_mode import enable_grad
from chainrule.nn.modules.module import Module
from chainrule.nn.parameter import Buffer, Parameter
from chainrule.optim.optimizer import Optimizer
from chainrule.recording.state import RecordingError, current, refuse
from chainrule.tensor import Tensor

__all__ = ["watching"]

MISSING = object()


class _Memory:
    """``Tensor._array``: every array that the step uses or makes passes here."""

    def __get__(self, tensor: Tensor | None, owner: Any = None) -> Any:
        if tensor is None:
            raise AttributeError("_array")
        own = tensor.__dict__
        if "_array" not in own:
            raise AttributeError("_array")
        recorder = current()
        return own["_array"] if recorder is None else recorder.array_of(tensor)

    def __set__(self, tensor: Tensor, array: Any) -> None:
        recorder = current()
        tensor.__dict__["_array"] = array if recorder is None else recorder.adopt(tensor, array)


class _Attribute:
    """A tensor's attribute that a replay must find as the step found it, and leaves as the step left it."""

    def __init__(self, name: str, default: Any) -> None:
        self._name, self._default = name, default

    def __get__(self, tensor: Tensor | None, owner: Any = None) -> Any:
        if tensor is None:
            return self._default
        own = tensor.__dict__
        value = own.get(self._name, self._default)
        recorder = current()
        if recorder is not None and not recorder.made(tensor):
            recorder.read(tensor, own, self._name, value, value is self._default)
        return value

    def __set__(self, tensor: Tensor, value: Any) -> None:
        own = tensor.__dict__
        own[self._name] = value
        recorder = current()
        if recorder is not None and not recorder.made(tensor):
            recorder.wrote(tensor, own, self._name)


def _module_attribute(self: Module, name: str) -> Any:
    value = object.__getattribute__(self, name)
    recorder = current()
    if recorder is not None and name != "__dict__":
        own = object.__getattribute__(self, "__dict__")
        if name in own:
            recorder.read(self, own, name, value, False)
            if type(value) is dict and name in ("_parameters", "_buffers", "_modules"):
                recorder.core.guard_length(value, len(value))
                for key, part in value.items():
                    recorder.read(self, value, key, part, False)
        elif not name.startswith("__"):  # the class's, as long as the instance has none of its own
            recorder.read(self, own, name, MISSING_VALUE, True)
    return value


def _module_part(self: Module, name: str) -> Any:
    recorder = current()
    own = object.__getattribute__(self, "__dict__")
    if recorder is not None:
        for kind in ("_parameters", "_modules", "_buffers"):
            if name in own.get(kind, ()):
                recorder.read(self, own[kind], name, own[kind][name], False)
    return _get_part(self, name)


def _set_module_attribute(self: Module, name: str, value: Any) -> None:
    _set_part(self, name, value)
    recorder = current()
    if recorder is None:
        return
    own = object.__getattribute__(self, "__dict__")
    for place in (own["_parameters"], own["_modules"], own["_buffers"], own):
        if name in place:
            recorder.wrote(self, place, name)
            return


def _step(self: Optimizer, closure: Callable[[], Any] | None = None) -> Any:
    recorder = current()
    if recorder is None:
        return _optimizer_step(self, closure)
    if self._pre_hooks or self._post_hooks:
        raise RecordingError(f"{type(self).__name__}: a compiled step can't run the hooks of an optimizer's step")
    loss = None
    if closure is not None:
        with enable_grad():
            loss = closure()
    own = self.__dict__
    for name in ("param_groups", "state"):
        recorder.read(self, own, name, own[name], False)
    recorder.core.guard_length(self.param_groups, len(self.param_groups))
    for group in self.param_groups:
        recorder.read(self, group, "params", group["params"], False)
        recorder.core.guard_length(group["params"], len(group["params"]))
        recorder.update(self, group)
    return loss


def _refusing(method: Callable[..., Any], what: str) -> Callable[..., Any]:
    def refused(*args: Any, **kwargs: Any) -> Any:
        refuse(what)
        return method(*args, **kwargs)

    return refused


def _repr(self: Tensor) -> str:
    if current() is None:
        return _tensor_repr(self)
    return f"<tensor of shape {list(self.shape)} and dtype {self.dtype} that is being recorded: it has no value yet>"


MISSING_VALUE: Any = _core.MISSING
_get_part, _set_part = Module.__getattr__, Module.__setattr__
_optimizer_step, _tensor_repr = Optimizer.step, Tensor.__repr__
_FACES: list[tuple[type, str, Any]] = [
    (Tensor, "_array", _Memory()),
    (Tensor, "_grad", _Attribute("_grad", None)),
    (Tensor, "_requires_grad", _Attribute("_requires_grad", False)),
    *(
        (Tensor, name, _refusing(getattr(Tensor, name), f"{name}() of a tensor"))
        for name in ("numpy", "__array__", "__dlpack__", "item", "tolist", "__bool__", "__index__", "__reduce__")
    ),
    (Tensor, "__repr__", _repr),
    (Parameter, "__init__", _refusing(Parameter.__init__, "making a Parameter")),
    (Buffer, "__init__", _refusing(Buffer.__init__, "making a Buffer")),
    (Module, "__init__", _refusing(Module.__init__, "making a Module")),
    (Module, "__getattribute__", _module_attribute),
    (Module, "__getattr__", _module_part),
    (Module, "__setattr__", _set_module_attribute),
    (Optimizer, "step", _step),
]
_lock = threading.Lock()
_watchers = 0
_saved: list[tuple[type, str, Any]] = []


class watching:
    """Inside the block the classes report to each thread's recorder."""

    def __enter__(self) -> None:
        global _watchers
        with _lock:
            _watchers += 1
            if _watchers == 1:
                for owner, name, face in _FACES:
                    _saved.append((owner, name, owner.__dict__.get(name, MISSING)))
                    setattr(owner, name, face)

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        global _watchers
        with _lock:
            _watchers -= 1
            if _watchers == 0:
                while _saved:
                    owner, name, before = _saved.pop()
                    if before is MISSING:
                        delattr(owner, name)
                    else:
                        setattr(owner, name, before)
