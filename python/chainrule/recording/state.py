"""Who records: one recorder per thread. Imported by what must know, before anything else of the package."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np

from chainrule._core import RecordingError

if TYPE_CHECKING:
    from chainrule.recording.recorder import Recorder

__all__ = ["RecordingError", "constant_array", "current", "numpy_path", "paused", "refuse"]


class _Local(threading.local):
    recorder: Recorder | None = None


local = _Local()


def current() -> Recorder | None:
    """The recorder of the step that this thread records; None outside of one, or while it is paused."""
    return local.recorder


def refuse(what: str) -> None:
    """Raises while a step is recorded: ``what`` can't be replayed."""
    if local.recorder is not None:
        raise RecordingError(f"{what}: a compiled step can't do this, because it is recorded once and then replayed")


def numpy_path(op: str) -> None:
    """Called by an operation that is about to compute with NumPy, which launches no kernel: it can't be replayed."""
    refuse(f"{op}, which is left to NumPy")


def constant_array(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """An array whose values follow from shapes and Python numbers alone: every replay finds them again."""
    recorder = local.recorder
    return array if recorder is None else recorder.constant(array)


class paused:
    """What happens inside the block is done once, now, and belongs to no recording: making an optimizer's state."""

    def __enter__(self) -> None:
        self._recorder = local.recorder
        if self._recorder is not None:
            self._recorder.pause()
            local.recorder = None

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._recorder is not None:
            local.recorder = self._recorder
            self._recorder.resume()
