"""The recorder: what a step touches while it is recorded, so that a replay can tell whether it still holds."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import numpy as np

from chainrule import _core
from chainrule.recording.arrays import Recorded
from chainrule.recording.state import RecordingError, local
from chainrule.tensor import Tensor

__all__ = ["Recorder"]

Array = np.ndarray[Any, Any]
MISSING = _core.MISSING


class Recorder:
    """Watches one run of a step. While it is this thread's recorder, the classes in watch.py report to it."""

    def __init__(self) -> None:
        self.core = _core.RecordedStep()
        self._made: dict[int, weakref.ref[Tensor]] = {}
        self._known: dict[int, Tensor] = {}  # tensors from outside whose memory the step uses
        self._seen: set[tuple[int, str]] = set()  # attributes read or written so far
        self._written: dict[tuple[int, str], dict[str, Any]] = {}
        self._guards: list[tuple[dict[str, Any], str, Any, bool]] = []
        self._holders: list[Any] = []  # what the guards' dicts belong to: their ids stay taken
        self._watched: set[int] = set()

    # Begin and end.

    def begin(self) -> None:
        local.recorder = self
        self.core.begin()

    def end(self) -> None:
        local.recorder = None
        self.core.end()

    def pause(self) -> None:
        self.core.pause()

    def resume(self) -> None:
        self.core.resume()

    # Memory.

    def constant(self, array: Array) -> Array:
        made: Array = self.core.constant(array)
        return made

    def input(self, array: Array) -> Array:
        made: Array = self.core.input(array)
        return made

    def array_of(self, tensor: Tensor) -> Array:
        """A tensor's array as the step may see it."""
        own = tensor.__dict__
        array: Array = own["_array"]
        if type(array) is Recorded and (self.made(tensor) or self.core.owns(array)):
            return array
        if id(tensor) not in self._known:
            self._known[id(tensor)] = tensor
            self.core.know(array)
            self.read(tensor, own, "_array", array, False)
        return array.view(Recorded)

    def adopt(self, tensor: Tensor, array: Array) -> Array:
        """The array that a tensor is given: made by a kernel, a view of what the step may use, or a constant."""
        if "_array" in tensor.__dict__ and not self.made(tensor):
            raise RecordingError("a compiled step can't give a tensor from outside another memory (.data = ...)")
        self._made[id(tensor)] = weakref.ref(tensor)
        if type(array) is Recorded:
            return array
        if self.core.owns(array):
            return array.view(Recorded)
        raise RecordingError(
            "a compiled step made a tensor of a NumPy array: what NumPy computes can't be followed. Make it outside of "
            "the step, or pass it as an argument"
        )

    def made(self, tensor: Tensor) -> bool:
        """Whether the step made this tensor."""
        reference = self._made.get(id(tensor))
        return reference is not None and reference() is tensor

    # Attributes.

    def read(self, holder: Any, own: dict[str, Any], name: str, value: Any, or_missing: bool) -> None:
        """The step read this attribute: a replay wants the same. ``or_missing``: no attribute is as good."""
        place = (id(own), name)
        if place not in self._seen:
            self._seen.add(place)
            self._holders.append((holder, own))
            self._guards.append((own, name, value, or_missing))

    def wrote(self, holder: Any, own: dict[str, Any], name: str) -> None:
        """The step set this attribute: a replay leaves it as the step did."""
        place = (id(own), name)
        self._seen.add(place)
        self._holders.append((holder, own))
        self._written[place] = own

    def update(self, optimizer: Any, group: dict[str, Any]) -> None:
        """Runs an optimizer's update of one group; a replay takes the group's options as they are then."""
        local.recorder = None
        self.core.pause()
        try:
            optimizer._prepare(group)
        finally:
            self.core.resume()
            local.recorder = self
        before = self.core.size()
        optimizer._update(group)
        reference = weakref.ref(optimizer)

        def again(options: dict[str, Any]) -> None:
            there = reference()
            if there is not None:
                there._update(options)

        self._watched.add(id(group))
        self._holders.append(group)
        self.core.watch(group, again, before, self.core.size() - before)

    # The end.

    def leave(self, arguments: list[Tensor]) -> None:
        """After the step: hands the guards and effects over; refuses tensors that outlive the step unseen."""
        kept = {id(t) for t in arguments}
        for (_, name), own in self._written.items():
            value = own.get(name, MISSING)
            if isinstance(value, Tensor) and self.made(value):
                if name != "_grad":
                    raise RecordingError(f"a compiled step can't keep a tensor that it made (in {name!r})")
                kept.add(id(value))
                value.__dict__["_array"] = value.__dict__["_array"].view(np.ndarray)
            self.core.effect(own, name, value)
        self._refuse_kept(kept)
        for own, name, value, or_missing in self._guards:
            self.core.guard(own, name, value, or_missing)

    def _refuse_kept(self, kept: set[int]) -> None:
        left = self._left(kept)
        if left:
            gc.collect()
            left = self._left(kept)
        if left:
            tensor = left[0]
            raise RecordingError(
                f"a compiled step keeps a tensor that it made, of shape {list(tensor.__dict__['_array'].shape)}, "
                "outside of its result: a replay wouldn't make it anew. Return it from the step"
            )

    def _left(self, kept: set[int]) -> list[Tensor]:
        return [t for r in self._made.values() if (t := r()) is not None and id(t) not in kept]
