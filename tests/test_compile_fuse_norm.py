"""Batch norms of compiled steps that take in a residual, an activation, or relu's gradient: with the same bits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import chainrule as cr
import chainrule.nn.functional as F
from chainrule import kernels
from chainrule.tensor import wrap
from tests.test_compile_fuse import ACTIVATIONS, Passing, check, normal, parts

Fn = Callable[..., Any]
FORMATS = ["matrix", "planes", "pixels"]
SHAPES = {"matrix": (24, 17), "planes": (3, 17, 3, 3), "pixels": (3, 17, 3, 3)}  # all arrays of a step in one slab


def laid_out(x: cr.Tensor, layout: str) -> cr.Tensor:
    return x.to(memory_format=cr.channels_last) if layout == "pixels" else x


def inputs(layout: str, dtype: Any = np.float32) -> list[cr.Tensor]:
    """x, weight, bias, residual."""
    shape = SHAPES[layout]
    x, w, b, r = (normal(*s, dtype=dtype, seed=i) for i, s in enumerate([shape, shape[1:2], shape[1:2], shape]))
    return [laid_out(x, layout), w, b, laid_out(r, layout)]


RUNNING = {t.dtype: (t, t * t + 0.5) for t in (normal(17, seed=5), normal(17, seed=5, dtype=np.float64))}


def norm(x: cr.Tensor, w: Any = None, b: Any = None, training: bool = True) -> cr.Tensor:
    running = (None, None) if training else RUNNING[x.dtype]
    return F.batch_norm(x, *running, w, b, training)


def gradients(fn: Fn, count: int = 4) -> Fn:
    """Of all inputs but the last ones, with a dy of its own for each element."""

    def run(*given: cr.Tensor) -> Any:
        leaves = [x.detach().requires_grad_(i < count) for i, x in enumerate(given)]
        y = fn(*leaves)
        loss = (y * y * given[0]).sum()
        return y, *cr.autograd.grad(loss, leaves[:count], allow_unused=True, materialize_grads=True)

    return run


BEHIND: dict[str, Fn] = {
    **{name: lambda h, r, f=f: f(h) for name, f in ACTIVATIONS.items()},
    "h + r": lambda h, r: h + r,
    "r + h": lambda h, r: r + h,
    "relu(h + r)": lambda h, r: F.relu(h + r),
    "tanh(r + h)": lambda h, r: cr.tanh(r + h),
    "h in place": lambda h, r: h.add_(r),
    "relu in place": lambda h, r: F.relu(h, inplace=True),
}
APART: dict[str, Fn] = {
    "h + h": lambda h, r: (h + h) * r,
    "used again": lambda h, r: (h + r) * h,
    "relu, used again": lambda h, r: F.relu(h) * r + h,
    "used before": lambda h, r: (h * r, F.relu(h))[1] + h,
    "r is made later": lambda h, r: h + cr.exp(r),
    "r is repeated": lambda h, r: h + r[:1],
    "h in place, seen by another": lambda h, r: (h.detach(), h.add_(r))[1],
    "after the activation": lambda h, r: F.relu(h) + r,
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("layout", FORMATS)
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", [*BEHIND, *APART])
def test_what_is_done_behind(name: str, layout: str, training: bool, dtype: Any) -> None:
    def fn(x: cr.Tensor, w: cr.Tensor, b: cr.Tensor, r: cr.Tensor) -> Any:
        r = r * 1
        return (BEHIND | APART)[name](norm(x, w, b, training), r)

    given = inputs(layout, dtype)
    before, after = check(lambda *xs: (fn(*xs),), *given)
    if name in BEHIND:
        assert not {"add", *ACTIVATIONS} & set(parts(after))
        assert {"add", *ACTIVATIONS} & set(before)
    else:
        count = [sum(name in ("add", "relu") for name in kernels) for kernels in (before, parts(after))]
        assert count == ([2, 1] if name == "after the activation" else [count[0]] * 2)
    check(gradients(fn), *given)


@pytest.mark.parametrize("layout", FORMATS)
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("affine", ["w and b", "w", "b", ""])
def test_gradient_of_relu(affine: str, layout: str, training: bool) -> None:
    def fn(x: cr.Tensor, w: cr.Tensor, b: cr.Tensor) -> Any:
        return F.relu(norm(x, w if "w" in affine else None, b if "b" in affine else None, training))

    before, after = check(gradients(fn), *inputs(layout)[:3])
    assert before.count("relu") == before.count("relu_backward") == 1
    assert not {"relu", "relu_backward"} & set(parts(after))
    assert len(parts(after)) == len(before) - 2


def with_second_reader(x: cr.Tensor, w: cr.Tensor, b: cr.Tensor, r: cr.Tensor) -> cr.Tensor:
    return F.relu(Passing.apply(norm(x, w, b), lambda dz: dz) + r)


def bias_that_changes(x: cr.Tensor, w: cr.Tensor, b: cr.Tensor, r: cr.Tensor) -> cr.Tensor:
    own = b * 1
    y = F.relu(norm(x, w, own))
    with cr.no_grad():
        own.detach().mul_(-1)  # nothing that backward has saved
    return y


def bias_whose_memory_is_left(x: cr.Tensor, w: cr.Tensor, b: cr.Tensor, r: cr.Tensor) -> cr.Tensor:
    y = F.relu(norm(x, w, (b * 1).detach()))
    return y + (r[0].reshape(-1)[: w.shape[0]] * 2).sum()


def gradient_between(x: cr.Tensor, w: cr.Tensor, b: cr.Tensor, r: cr.Tensor) -> cr.Tensor:
    """Backward, tanh's gradient comes behind relu's, into the memory that relu's dy left."""
    h = norm(x, w, b)
    t = cr.tanh(r)
    return F.relu(h) + t


# Lists with a relu_backward in front of the norm's gradient, which has to stay.
STAYING: dict[str, Fn] = {
    "dz is the residual's gradient": lambda x, w, b, r: F.relu(norm(x, w, b) + r),
    "a residual without a gradient": lambda x, w, b, r: F.relu(norm(x, w, b) + r.detach()),
    "dz goes through another sum": with_second_reader,
    "h is used again": lambda x, w, b, r: F.relu(h := norm(x, w, b)) + h,
    "the bias changes": bias_that_changes,
    "two norms of one sum": lambda x, w, b, r: F.relu(norm(x, w, b) + norm(r, w, b)),
    "a view between": lambda x, w, b, r: F.relu(norm(x, w, b)[1:]).sum() * x,
    "of another norm": lambda x, w, b, r: Passing.apply(norm(x, w, b), lambda dy: F.relu(norm(x, b, w)).detach() * dy),
}


@pytest.mark.parametrize("layout", FORMATS)
@pytest.mark.parametrize("name", list(STAYING))
def test_gradients_of_relu_that_stay(name: str, layout: str) -> None:
    before, after = check(gradients(STAYING[name]), *inputs(layout))
    assert before.count("relu_backward") == parts(after).count("relu_backward")


@pytest.mark.parametrize("layout", FORMATS)
@pytest.mark.parametrize("count", range(1, 5))
@pytest.mark.parametrize("fn", [gradient_between, bias_whose_memory_is_left, *STAYING.values()])
def test_memory_that_serves_again(fn: Fn, count: int, layout: str) -> None:
    """With the gradients of some inputs alone, others' memory is where theirs was."""
    given = inputs(layout)
    for order in (given, [given[0] * 2, *given[1:]]):
        check(gradients(fn, count), *order)


def forward(x: Any, w: Any, b: Any) -> tuple[Any, Any, Any]:
    h, mean, rstd = kernels.batch_norm(x, w, b)
    return kernels.relu(h), mean, rstd


def backward(dy: Any, y: Any, *others: Any) -> tuple[Any, ...]:
    return kernels.batch_norm_backward(kernels.relu_backward(dy, y), *others)


def overwritten(which: int) -> Fn:
    """One of x, w, b, mean, rstd and y, between the two passes."""

    def fn(x: Any, w: Any, b: Any, dy: Any) -> Any:
        x, w, b = kernels.neg(x), kernels.neg(w), kernels.neg(b)
        y, mean, rstd = forward(x, w, b)
        kernels.fill([x, w, b, mean, rstd, y][which], 0.125)
        return backward(dy, y, x, mean, rstd, w)

    return fn


def read_again(x: Any, w: Any, b: Any, dy: Any) -> Any:
    y, mean, rstd = forward(x, w, b)
    dz = kernels.relu_backward(dy, y)
    grads = kernels.batch_norm_backward(dz, x, mean, rstd, w)
    return *grads, kernels.neg(dz)


def returned(x: Any, w: Any, b: Any, dy: Any) -> Any:
    y, mean, rstd = forward(x, w, b)
    dz = kernels.relu_backward(dy, y)
    return dz, *kernels.batch_norm_backward(dz, x, mean, rstd, w)


def dy_overwritten(x: Any, w: Any, b: Any, dy: Any) -> Any:
    y, mean, rstd = forward(x, w, b)
    own = kernels.neg(dy)
    dz = kernels.relu_backward(own, y)
    kernels.fill(own, 0)
    return kernels.batch_norm_backward(dz, x, mean, rstd, w)


def dy_replaced(x: Any, w: Any, b: Any, dy: Any) -> Any:
    y, mean, rstd = forward(x, w, b)
    dz = kernels.relu_backward(kernels.neg(dy), y)
    other = kernels.exp(x)
    return other, *kernels.batch_norm_backward(dz, x, mean, rstd, w)


def room(floats: int, like: Any) -> Any:
    return kernels.empty((floats,), like.dtype) if floats else None


def serves(behind: int, before: int = 0, needs: tuple[bool, bool, bool] = (True, True, True)) -> Fn:
    """What dy had serves batch_norm_backward's results, along with so many floats behind it or before."""

    def fn(x: Any, w: Any, b: Any, dy: Any) -> Any:
        pieces = room(before, x), kernels.neg(dy), room(behind, x)
        y, mean, rstd = forward(x, w, b)
        rest = [kernels.exp(x), *(room(1, x) for _ in range(8))]  # in what is free and not behind all others
        dz = kernels.relu_backward(pieces[1], y)
        del pieces
        return rest[0], *kernels.batch_norm_backward(dz, x, mean, rstd, w, True, needs)

    return fn


def serves_sums(x: Any, w: Any, b: Any, dy: Any) -> Any:
    """What dy had serves the sums of batch_norm_backward, whose result has a piece of that size before."""
    y, mean, rstd = forward(x, w, b)
    piece, first, own, rest = kernels.neg(x), kernels.exp(x), kernels.neg(dy), kernels.exp(x)
    dz = kernels.relu_backward(own, y)
    del piece, own
    return first, rest, *kernels.batch_norm_backward(dz, x, mean, rstd, w, True, (True, False, False))


def bias_serves(x: Any, w: Any, b: Any, dy: Any) -> Any:
    own = kernels.neg(b)
    y, mean, rstd = forward(x, w, own)
    dz = kernels.relu_backward(dy, y)
    del own
    return kernels.batch_norm_backward(dz, x, mean, rstd, w, True, (False, True, True))


def another(x: Any, w: Any, b: Any, dy: Any) -> Any:
    y, mean, rstd = forward(x, w, b)
    return backward(dy, y, kernels.neg(x), mean, rstd, w)


def another_weight(x: Any, w: Any, b: Any, dy: Any) -> Any:
    y, mean, rstd = forward(x, w, b)
    return backward(dy, y, x, mean, rstd, b)


def another_dy(x: Any, w: Any, b: Any, dy: Any) -> Any:
    y, mean, rstd = forward(x, w, b)
    kernels.relu_backward(dy, y)
    return kernels.batch_norm_backward(dy, x, mean, rstd, w)


def of_itself(x: Any, w: Any, b: Any, dy: Any) -> Any:
    """y lies where x was, and is taken for it."""
    own = kernels.neg(x)
    rest = kernels.exp(x)
    h, mean, rstd = kernels.batch_norm(own, w, b)
    del own
    y = kernels.relu(h)
    del h
    return rest, *backward(dy, y, y, mean, rstd, w)


def inference(behind: int, before: int = 0) -> Fn:
    """y comes to lie where x was, along with so many floats behind it or before."""

    def fn(x: Any, w: Any, b: Any, dy: Any) -> Any:
        pieces = room(before, x), kernels.neg(x), room(behind, x)
        rest = kernels.exp(x)
        h = kernels.batch_norm(pieces[1], w, b)[0]
        del pieces
        return rest, kernels.relu(h)

    return fn


def residual_serves(x: Any, w: Any, b: Any, dy: Any) -> Any:
    r, rest = kernels.neg(dy), kernels.exp(x)
    s = kernels.add(kernels.batch_norm(x, w, b)[0], r)
    del r
    return rest, kernels.relu(s)


def used_until_then(x: Any, w: Any, b: Any, dy: Any) -> Any:
    t, rest = kernels.exp(x), kernels.exp(dy)
    h = kernels.batch_norm(x, w, b)[0]
    t = kernels.sum(t)
    return t, rest, kernels.relu(h)


# Lists of kernels in which only relu's gradient, or only relu, could be absorbed: whether it may.
LISTS: dict[str, tuple[Fn, bool]] = {
    "plain": (lambda x, w, b, dy: backward(dy, *(p := forward(x, w, b))[:1], x, *p[1:], w), True),
    **{f"argument {i} is overwritten": (overwritten(i), False) for i in range(6)},
    "dz is read again": (read_again, False),
    "dz is returned": (returned, False),
    "dy is overwritten": (dy_overwritten, False),
    "dy is replaced": (dy_replaced, False),
    "dx where dy was": (serves(0), True),
    "dx where dy was, and more": (serves(64), True),
    "dx over a part of dy": (serves(0, 64), False),
    "dweight where dy was": (serves(0, 0, (False, True, True)), False),
    "dbias where dy was": (serves(0, 0, (False, False, True)), False),
    "sums where dy was": (serves_sums, True),
    "dweight where the bias was": (bias_serves, False),
    "another x": (another, False),
    "another weight": (another_weight, False),
    "another dy": (another_dy, False),
    "x is y": (of_itself, False),
    "y where x was": (inference(0), True),
    "y where x was, and more": (inference(64), True),
    "y over a part of x": (inference(0, 64), False),
    "y where the residual was": (residual_serves, True),
    "y where something else was": (used_until_then, False),
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("layout", FORMATS)
@pytest.mark.parametrize("name", list(LISTS))
def test_lists(name: str, layout: str, dtype: Any) -> None:
    make, fuses = LISTS[name]

    def fn(*given: cr.Tensor) -> Any:
        return [wrap(a) for a in make(*(x._array for x in given)) if a is not None]

    before, after = check(fn, *inputs(layout, dtype))
    relu = "relu_backward" if "relu_backward" in before else "relu"
    assert parts(after).count(relu) == before.count(relu) - fuses
