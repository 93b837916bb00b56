"""Gradients against central finite differences, in float64."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from chainrule.autograd.engine import grad
from chainrule.autograd.grad_mode import enable_grad, no_grad
from chainrule.tensor import Tensor, listed, wrap

__all__ = ["gradcheck", "gradgradcheck"]

Fn = Callable[..., Any]


class GradcheckError(RuntimeError):
    """A gradient that disagrees with finite differences."""


def _outputs(result: Any) -> list[Tensor]:
    many = result if isinstance(result, (tuple, list)) else (result,)
    return [r for r in many if isinstance(r, Tensor) and r.dtype.kind == "f"]


def _numeric(fn: Fn, inputs: Sequence[Any], x: Tensor, eps: float) -> list[np.ndarray[Any, Any]]:
    """d outputs / d x by central differences: per output an array of shape (x.size, output.size)."""
    columns: list[list[np.ndarray[Any, Any]]] = []
    for index in np.ndindex(x._array.shape):
        before = x._array[index].copy()
        sides = []
        for step in (eps, -eps):
            x._array[index] = before + step
            with no_grad():
                sides.append([np.array(o._array, dtype=np.float64) for o in _outputs(fn(*inputs))])
        x._array[index] = before
        columns.append([((a - b) / (2 * eps)).ravel() for a, b in zip(*sides, strict=True)])
    return [np.stack(rows) for rows in zip(*columns, strict=True)]


def gradcheck(
    fn: Fn,
    inputs: Tensor | Sequence[Any],
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
    **unused: Any,
) -> bool:
    """Whether the gradients of ``fn(*inputs)`` agree with central differences.

    The inputs that require grad must be float64 leaves. Every output's whole Jacobian is compared. A disagreement
    raises, naming the output, the input and the entry; with ``raise_exception=False`` it returns False.
    """
    args = tuple(listed(inputs))
    wanted = [(i, a) for i, a in enumerate(args) if isinstance(a, Tensor) and a.requires_grad]
    if not wanted:
        raise ValueError("gradcheck: argument 'inputs' has no tensor that requires grad, want at least one")
    for i, x in wanted:
        if x.dtype != np.float64:
            raise ValueError(f"gradcheck: input {i} is {x.dtype}, want float64")
        if not x.is_leaf or not x._array.flags.writeable:
            raise ValueError(f"gradcheck: input {i} is computed or read-only, want a leaf that can be perturbed")
        if any(s == 0 and n > 1 for s, n in zip(x._array.strides, x._array.shape, strict=True)):
            raise ValueError(f"gradcheck: input {i} is expanded (elements share memory), want one of its own memory")
    try:
        _compare(fn, args, wanted, eps, atol, rtol)
    except GradcheckError:
        if raise_exception:
            raise
        return False
    return True


def _compare(
    fn: Fn, args: tuple[Any, ...], wanted: list[tuple[int, Tensor]], eps: float, atol: float, rtol: float
) -> None:
    with enable_grad():
        outputs = _outputs(fn(*args))
    numeric = {i: _numeric(fn, args, x, eps) for i, x in wanted}
    for k, out in enumerate(outputs):
        if not out.requires_grad:
            for i, _ in wanted:
                if numeric[i] and np.abs(numeric[i][k]).max(initial=0) > atol:
                    raise GradcheckError(
                        f"gradcheck: output {k} does not require grad, but changes with input {i} (numeric Jacobian "
                        f"{numeric[i][k].tolist()})"
                    )
            continue
        analytic = {i: np.zeros((x._array.size, out._array.size)) for i, x in wanted}
        for column in range(out._array.size):
            seed = np.zeros(out._array.shape, out._array.dtype)
            seed.reshape(-1)[column] = 1
            grads = grad(out, [x for _, x in wanted], wrap(seed), retain_graph=True, allow_unused=True)
            for (i, _), g in zip(wanted, grads, strict=True):
                if g is not None:
                    analytic[i][:, column] = g._array.ravel()
        for i, x in wanted:
            if x._array.size == 0:
                continue
            a, n = analytic[i], numeric[i][k]
            wrong = ~np.isclose(a, n, rtol=rtol, atol=atol, equal_nan=True)
            if wrong.any():
                row, column = map(int, np.argwhere(wrong)[0])
                at_in = tuple(map(int, np.unravel_index(row, x.shape))) if x.shape else ()
                at_out = tuple(map(int, np.unravel_index(column, out.shape))) if out.shape else ()
                raise GradcheckError(
                    f"gradcheck: Jacobian mismatch for output {k} with respect to input {i}: d output{list(at_out)} / "
                    f"d input{list(at_in)} is {a[row, column]:.6g} by backward, {n[row, column]:.6g} by differences "
                    f"({int(wrong.sum())} of {wrong.size} entries differ)\nbackward:\n{a}\ndifferences:\n{n}"
                )


def gradgradcheck(
    fn: Fn,
    inputs: Tensor | Sequence[Any],
    grad_outputs: Tensor | Sequence[Tensor] | None = None,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
    **unused: Any,
) -> bool:
    """As :func:`gradcheck`, for the gradients of the gradients (with respect to ``inputs`` and ``grad_outputs``)."""
    args = tuple(listed(inputs))
    with enable_grad():
        outputs = [o for o in _outputs(fn(*args)) if o.requires_grad]
    if grad_outputs is None:
        generator = np.random.default_rng(0)
        given = [wrap(np.asarray(generator.standard_normal(o.shape), dtype=o.dtype)) for o in outputs]
        for g in given:
            g.requires_grad = True
    else:
        given = listed(grad_outputs)

    def gradients(*everything: Any) -> tuple[Tensor, ...]:
        xs = everything[: len(args)]
        wanted = [x for x in xs if isinstance(x, Tensor) and x.requires_grad]
        with enable_grad():
            outs = [o for o in _outputs(fn(*xs)) if o.requires_grad]
            grads = grad(outs, wanted, list(everything[len(args) :]), create_graph=True, allow_unused=True)
        return tuple(g for g in grads if g is not None)

    return gradcheck(gradients, (*args, *given), eps, atol, rtol, raise_exception)
