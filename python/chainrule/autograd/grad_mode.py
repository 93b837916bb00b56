"""Whether operations are recorded: one switch per thread."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any, TypeVar

__all__ = [
    "enable_grad",
    "inference_mode",
    "is_grad_enabled",
    "is_inference_mode_enabled",
    "no_grad",
    "set_grad_enabled",
]

F = TypeVar("F", bound=Callable[..., Any])


class _State(threading.local):
    enabled = True
    inference = False
    saving: tuple[Callable[[Any], Any], Callable[[Any], Any]] | None = None  # autograd.graph.saved_tensors_hooks


state = _State()


def is_grad_enabled() -> bool:
    """Whether operations of this thread are recorded for backward."""
    return state.enabled


def is_inference_mode_enabled() -> bool:
    """Whether this thread is inside :class:`inference_mode`."""
    return state.inference


class _Mode:
    """A context manager and decorator that sets the switch and puts it back; may be entered again and nested."""

    def __init__(self, enabled: bool) -> None:
        self._enabled = enabled
        self._before: list[tuple[bool, bool]] = []

    def _inference(self) -> bool:
        return state.inference

    def __enter__(self) -> None:
        self._before.append((state.enabled, state.inference))
        state.enabled, state.inference = self._enabled, self._inference()

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        state.enabled, state.inference = self._before.pop()

    def clone(self) -> _Mode:
        return _Mode(self._enabled)

    def __call__(self, function: F) -> F:
        @functools.wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            with self.clone():
                return function(*args, **kwargs)

        return wrapped  # type: ignore[return-value]


class no_grad(_Mode):
    """Records nothing inside the block, or in the decorated function (``@no_grad()`` or ``@no_grad``)."""

    def __new__(cls, function: Callable[..., Any] | None = None) -> Any:
        made = super().__new__(cls)
        if function is None:
            return made
        made.__init__()  # type: ignore[misc]
        return made(function)

    def __init__(self, function: Callable[..., Any] | None = None) -> None:
        super().__init__(False)


class enable_grad(_Mode):
    """Records inside the block, or in the decorated function, even within :class:`no_grad`."""

    def __new__(cls, function: Callable[..., Any] | None = None) -> Any:
        made = super().__new__(cls)
        if function is None:
            return made
        made.__init__()  # type: ignore[misc]
        return made(function)

    def __init__(self, function: Callable[..., Any] | None = None) -> None:
        super().__init__(True)


class set_grad_enabled(_Mode):
    """Sets the switch at once; as a context manager, puts it back at the end of the block."""

    def __init__(self, mode: bool) -> None:
        super().__init__(bool(mode))
        self._outer = (state.enabled, state.inference)
        state.enabled = self._enabled

    def __enter__(self) -> None:
        self._before.append(self._outer)
        state.enabled = self._enabled

    def __call__(self, function: F) -> F:
        state.enabled = self._outer[0]  # as a decorator it acts in the function alone
        return super().__call__(function)


class inference_mode(_Mode):
    """As :class:`no_grad`. PyTorch's extra restriction (its tensors may never enter a graph) isn't imposed."""

    def __new__(cls, mode: Any = True) -> Any:
        made = super().__new__(cls)
        if isinstance(mode, bool):
            return made
        made.__init__()  # type: ignore[misc]
        return made(mode)

    def __init__(self, mode: Any = True) -> None:
        super().__init__(not mode)
        self._mode = bool(mode)

    def _inference(self) -> bool:
        return self._mode

    def clone(self) -> _Mode:
        return inference_mode(self._mode)
