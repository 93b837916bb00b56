"""compile: a function that is recorded on its first call and replayed, in one call of C++, on later ones."""

from __future__ import annotations

import functools
import linecache
import os
import warnings
from collections.abc import Callable
from types import TracebackType
from typing import Any, overload

import numpy as np

import chainrule
from chainrule import _core
from chainrule.autograd.grad_mode import state as grad_state
from chainrule.recording.recorder import Recorder
from chainrule.recording.run import Progress, run
from chainrule.recording.state import RecordingError, current
from chainrule.recording.watch import watching
from chainrule.tensor import Tensor, wrap

__all__ = ["CompiledStep", "Progress", "compile"]

_PACKAGE = os.path.dirname(os.path.abspath(chainrule.__file__)) + os.sep
_THRASH = 8  # so many recordings in a row, without a replay between them, are worth a warning


class CompiledStep:
    """What :func:`compile` returns: call it like the function."""

    def __init__(self, function: Callable[..., Any], cache_size: int = 8, fuse: bool = True) -> None:
        if cache_size < 1:
            raise ValueError(f"compile: argument 'cache_size' is {cache_size}, want 1 or more")
        functools.update_wrapper(self, function)
        self._function = function
        self._cache_size = cache_size
        self._fuse = fuse
        self._steps: list[Any] = []  # most recent first
        self._recorded = 0
        self._warned = False

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        result = _core.replay(self._steps, args, kwargs)
        return result if result is not _core.MISSING else self._first(args, kwargs)

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        """As a method: one compiled step per instance."""
        if instance is None:
            return self
        bound = CompiledStep(self._function.__get__(instance, owner), self._cache_size, self._fuse)
        name = getattr(self._function, "__name__", "step")
        object.__setattr__(instance, name, bound)
        return bound

    def _first(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if current() is not None:  # inside another compiled step: part of it
            return self._function(*args, **kwargs)
        self._make_room()
        recorder = Recorder()
        recorder.core.set_fusing(self._fuse)
        try:
            with watching():
                result = _record(recorder, self._function, args, kwargs)
        except RecordingError as error:
            raise RecordingError(f"{error}\n{_place(error.__traceback__)}".rstrip()) from None
        self._steps.insert(0, recorder.core)
        self._recorded += 1
        return result

    def _make_room(self) -> None:
        while len(self._steps) >= self._cache_size:
            del self._steps[-1]
        if self._recorded >= self._cache_size and not self._warned:
            self._warned = True
            warnings.warn(
                f"compile: {self!r} has been recorded {self._recorded} times, and keeps {self._cache_size} recordings: "
                "shapes, options or modules differ from call to call, so that it hardly replays",
                RuntimeWarning,
                stacklevel=4,
            )

    run = run

    def latest(self) -> Any:
        """The recording that the last call made or replayed."""
        return self._steps[0]

    def memory(self) -> dict[str, int]:
        """Bytes: ``arena`` is what the recordings hold for activations, gradients and scratch; ``recordings`` counts
        them."""
        return {"arena": sum(s.bytes() for s in self._steps), "recordings": len(self._steps)}

    def describe(self) -> str:
        """The kernels of the latest recording: name, sizes, threads, and the least time of its first replays."""
        if not self._steps:
            return f"{self!r}: not recorded yet"
        step = self._steps[0]
        lines = step.lines()
        width = max([len(name) for name, *_ in lines], default=0)
        mode = "all threads" if step.in_parallel() else "one thread"
        text = [f"{self!r}: {len(lines)} kernels on {mode}, {step.bytes() / 1e6:.2f} MB"]
        for name, arguments, serial, barrier, nanoseconds in lines:
            mark = "| " if barrier else "  "
            text.append(f"{mark}{name:<{width}} {nanoseconds / 1e3:9.2f} us {'1' if serial else 'n'}  {arguments}")
        return "\n".join(text)

    def __repr__(self) -> str:
        return f"<compiled step {getattr(self._function, '__qualname__', self._function)!s}>"


def _record(recorder: Recorder, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    recorder.core.set_arguments((args, kwargs), Tensor)
    recorder.core.set_grad_mode(grad_state)
    recorder.begin()
    ended = False
    try:
        inputs: list[Tensor] = []
        own_args, own_kwargs = _with_buffers((args, kwargs), recorder, inputs)
        result = function(*own_args, **own_kwargs)
        del own_args, own_kwargs
        recorder.end()
        ended = True
        recorder.core.set_result(result, Tensor)
        del result
        recorder.leave(inputs)
    finally:
        if not ended:
            recorder.end()
    return recorder.core.result()


def _with_buffers(x: Any, recorder: Recorder, inputs: list[Tensor]) -> Any:
    """The arguments with the step's own buffers in place of tensors and arrays."""
    if isinstance(x, Tensor):
        own = x.__dict__
        if own.get("_requires_grad"):
            if own.get("_node") is not None:
                raise RecordingError(
                    "a compiled step's argument has a gradient history; detach() it, or compute it in the step"
                )
            return x
        made = wrap(recorder.input(own["_array"]))
        inputs.append(made)
        return made
    if isinstance(x, np.ndarray):
        return recorder.input(x)
    if isinstance(x, tuple) and hasattr(x, "_fields"):
        return type(x)(*[_with_buffers(i, recorder, inputs) for i in x])
    if isinstance(x, (tuple, list)):
        return type(x)(_with_buffers(i, recorder, inputs) for i in x)
    if isinstance(x, dict):
        return {k: _with_buffers(v, recorder, inputs) for k, v in x.items()}
    return x


def _place(trace: TracebackType | None) -> str:
    """The innermost line of the traceback that isn't this package's: the user's."""
    found = ""
    while trace is not None:
        code = trace.tb_frame.f_code
        if not os.path.abspath(code.co_filename).startswith(_PACKAGE):
            line = linecache.getline(code.co_filename, trace.tb_lineno).strip()
            found = f'  File "{code.co_filename}", line {trace.tb_lineno}, in {code.co_name}\n    {line}'
        trace = trace.tb_next
    return found


@overload
def compile(function: Callable[..., Any], *, cache_size: int = 8, fuse: bool = True) -> CompiledStep: ...
@overload
def compile(*, cache_size: int = 8, fuse: bool = True) -> Callable[[Callable[..., Any]], CompiledStep]: ...
def compile(function: Callable[..., Any] | None = None, *, cache_size: int = 8, fuse: bool = True) -> Any:
    """Makes a step that costs one call: the first call of each kind runs ``function`` and records its kernels; later
    calls copy the arguments into the recorded buffers and replay the list, with the same bits.

    A call is of the same kind if its tensors have the same shapes and dtypes, other arguments are equal, and what the
    step read is as it was: the modules' attributes (training mode, options, children), the parameters' memory, grad
    mode, the number of threads. Otherwise it is recorded anew; ``cache_size`` recordings are kept.

    Kernels of the list are merged where another can do their work along with its own, with the same bits (an
    activation or a residual behind a linear layer or a convolution, the sum of a linear layer's gradients,
    element-wise operations in a row); ``fuse`` False leaves the list as the step made it.

    A step may compute, call ``backward``, clip gradients and call an optimizer's ``step``. Learning rates and other
    options of ``param_groups`` are read on every call, and random numbers are drawn anew. What it can't do raises
    :class:`chainrule.RecordingError` with the line: reading a tensor's value, making parameters, NumPy work on tensors.
    Other Python values (globals, attributes of your own objects) are taken as they were when it was recorded.

    The tensors of the result are fresh and detached. Gradients lie in the recording's memory: the next call overwrites
    them, so clone() what must stay.
    """
    if function is None:
        return lambda f: CompiledStep(f, cache_size, fuse)
    return CompiledStep(function, cache_size, fuse)
