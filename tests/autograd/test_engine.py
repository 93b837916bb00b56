"""Backward, autograd.grad, hooks, modes, threads: against torch where it has a word to say."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import autograd
from chainrule.autograd import Function, once_differentiable


def leaf(*values: float) -> cr.Tensor:
    return cr.tensor(values, dtype=cr.float64, requires_grad=True)


def gradient_of(x: cr.Tensor) -> list[float]:
    assert x.grad is not None
    return x.grad.tolist()  # type: ignore[no-any-return]


# What backward fills.


def test_leaves_accumulate() -> None:
    x = leaf(1, 2)
    (x * x).sum().backward()
    first = x.grad
    (3 * x).sum().backward()
    assert gradient_of(x) == [5, 7]
    assert x.grad is first
    x.grad = None
    x.sum().backward()
    assert gradient_of(x) == [1, 1]


def test_grad_owns_its_memory() -> None:
    x, y = leaf(1, 2), leaf(3, 4)
    seed = cr.ones(2, dtype=cr.float64)
    (x + y).backward(seed)  # one gradient goes both ways
    assert x.grad is not None
    assert y.grad is not None
    assert not np.shares_memory(x.grad.numpy(), y.grad.numpy())
    assert not np.shares_memory(x.grad.numpy(), seed.numpy())
    x.grad.zero_()
    assert gradient_of(y) == [1, 1]
    assert seed.tolist() == [1, 1]
    z = leaf(1, 2)
    z.backward(seed)
    assert z.grad is not seed
    assert not np.shares_memory(z.grad.numpy(), seed.numpy())
    w = cr.ones(2, 2, requires_grad=True)
    w.expand(3, 2, 2).sum().backward()
    assert w.grad is not None
    assert w.grad.is_contiguous()
    assert w.grad.numpy().flags.writeable


class Scaled(Function):
    """Keeps the gradient that it returns, or not."""

    kept: Any = None

    @staticmethod
    def forward(ctx: Any, x: cr.Tensor, keep: bool) -> cr.Tensor:
        ctx.keep = keep
        return cr.from_numpy(x.detach().numpy() * 2)

    @staticmethod
    def backward(ctx: Any, dy: cr.Tensor) -> Any:
        dx = cr.from_numpy(dy.numpy() * 2)
        address = dx.data_ptr()
        Scaled.kept = (dx if ctx.keep else None), address
        return dx, None


def test_a_gradient_that_nobody_else_holds_is_not_copied() -> None:
    for keep in (False, True):
        x = leaf(1, 2)
        Scaled.apply(x, keep).backward(cr.ones(2, dtype=cr.float64))
        assert x.grad is not None
        assert (x.grad.data_ptr() == Scaled.kept[1]) == (not keep)
        assert gradient_of(x) == [2, 2]


def test_backward_arguments() -> None:
    x = leaf(1, 2)
    y = x * x
    with pytest.raises(RuntimeError, match="only for scalar outputs"):
        y.backward()
    with pytest.raises(RuntimeError, match="Mismatch in shape"):
        y.backward(cr.ones(3, dtype=cr.float64))
    with pytest.raises(RuntimeError, match="Mismatch in dtype"):
        y.backward(cr.ones(2))
    with pytest.raises(TypeError, match="Tensors or None"):
        y.backward(np.ones(2))  # type: ignore[arg-type]
    with pytest.raises(RuntimeError, match="does not require grad"):
        cr.ones(()).backward()
    assert x.grad is None
    a, b = leaf(1), leaf(2)
    (a * b).backward(inputs=[a])
    assert gradient_of(a) == [2]
    assert b.grad is None
    middle = a * b
    (middle * 3).backward(inputs=[middle, b])
    assert gradient_of(middle) == [3]
    assert gradient_of(b) == [3]
    with pytest.raises(TypeError, match="backward: element 1 of the tensors to differentiate is a int"):
        autograd.backward([a * 2, 3])  # type: ignore[list-item]
    assert autograd.grad(a * b, (x for x in (a, b)))[1].item() == a.item()  # type: ignore[arg-type]
    autograd.backward([a * 2, b * 3], [cr.ones(1, dtype=cr.float64), None])
    assert gradient_of(a) == [4]
    assert gradient_of(b) == [6]


def test_grad() -> None:
    x, y, unused = leaf(2), leaf(3), leaf(4)
    z = x * y
    out = z * x
    dx, dz = autograd.grad(out, [x, z], retain_graph=True)
    assert (dx.item(), dz.item()) == (12, 2)
    assert x.grad is None
    assert autograd.grad([out, z], [x], retain_graph=True)[0].item() == 15
    with pytest.raises(RuntimeError, match="allow_unused"):
        autograd.grad(out, [x, unused], retain_graph=True)
    assert autograd.grad(out, [unused], retain_graph=True, allow_unused=True) == (None,)
    assert autograd.grad(out, [unused], retain_graph=True, materialize_grads=True)[0].item() == 0
    assert autograd.grad(out, out, retain_graph=True)[0].item() == 1
    with pytest.raises(RuntimeError, match="does not require grad"):
        autograd.grad(out, cr.ones(1))
    autograd.grad(out, x)
    with pytest.raises(RuntimeError, match="second time"):
        autograd.grad(out, x)


def test_only_what_leads_to_the_inputs_is_computed() -> None:
    class Never(Function):
        @staticmethod
        def forward(ctx: Any, x: cr.Tensor) -> cr.Tensor:
            return cr.from_numpy(x.detach().numpy().copy())

        @staticmethod
        def backward(ctx: Any, dy: cr.Tensor) -> Any:
            raise AssertionError("not needed")

    x, y = leaf(2), leaf(3)
    out = (x * 2) * Never.apply(y)
    assert autograd.grad(out, x)[0].item() == 6


def test_hessian_vector_products() -> None:
    values = np.random.default_rng(0).standard_normal(4)
    v = np.random.default_rng(1).standard_normal(4)
    x = cr.tensor(values, requires_grad=True)
    f = (x.exp() * x.flip(0)).sum() + (x * x * x).sum()
    (g,) = autograd.grad(f, x, create_graph=True)
    (hv,) = autograd.grad((g * cr.tensor(v)).sum(), x)
    e = np.exp(values)
    hessian = np.diag(e * values[::-1] + 6 * values)
    for i in range(4):
        hessian[i, 3 - i] += e[i] + e[3 - i]
    np.testing.assert_allclose(hv.numpy(), hessian @ v, rtol=1e-12)


def test_backward_with_create_graph_leaves_differentiable_gradients() -> None:
    x = leaf(2)
    (x * x * x).sum().backward(create_graph=True)
    assert x.grad is not None
    (x.grad * 1).sum().backward()  # 3 x^2 + 6 x
    assert gradient_of(x) == [24]


def test_retain_grad() -> None:
    x = leaf(1, 2)
    y = x * 3
    y.retain_grad()
    assert y.retains_grad
    (y * y).sum().backward()
    assert gradient_of(y) == [6, 12]
    assert gradient_of(x) == [18, 36]
    z = x * 2
    z.sum().backward()
    assert z.grad is None
    with pytest.raises(RuntimeError, match="requires_grad=False"):
        cr.ones(1).retain_grad()


def test_a_gradient_used_many_times_is_summed_in_one_order() -> None:
    rng = np.random.default_rng(0)
    x = cr.tensor(rng.standard_normal(100).astype(np.float32), requires_grad=True)
    weights = [cr.tensor(rng.standard_normal(100).astype(np.float32)) for _ in range(20)]
    results = set()
    for _ in range(3):
        x.grad = None
        y = x * 1
        out = y * weights[0]
        for w in weights[1:]:
            out = out + y * w
        out.sum().backward()
        assert x.grad is not None
        results.add(x.grad.numpy().tobytes())
    expected = weights[-1].numpy().copy()  # the newest use first
    for w in weights[-2::-1]:
        expected += w.numpy()
    assert results == {expected.tobytes()}


# Hooks.


def test_hooks() -> None:
    x = leaf(1, 2)
    y = x * 3
    seen: list[Any] = []
    first = y.register_hook(lambda g: seen.append(g.tolist()))
    y.register_hook(lambda g: g * 10)
    with x.register_hook(lambda g: g + 1):
        y.retain_grad()
        y.sum().backward(retain_graph=True)
        assert gradient_of(x) == [31, 31]
    assert gradient_of(y) == [10, 10]
    first.remove()
    x.grad = None
    y.sum().backward()
    assert gradient_of(x) == [30, 30]
    assert seen == [[1, 1]]
    with pytest.raises(RuntimeError, match="doesn't require gradient"):
        cr.ones(1).register_hook(print)
    z = x * 2
    z.register_hook(lambda g: cr.ones(3, dtype=cr.float64))
    with pytest.raises(RuntimeError, match="changed the size"):
        z.sum().backward()


def test_hooks_see_the_whole_gradient_once() -> None:
    x = leaf(3)
    calls: list[float] = []
    x.register_hook(lambda g: calls.append(g.item()))
    (x * x + x * 2).backward()
    assert calls == [8]
    assert autograd.grad(x * 5, x)[0].item() == 5
    assert calls == [8, 5]


def test_post_accumulate_hooks_can_free_gradients_at_once() -> None:
    x = leaf(1)
    seen: list[float] = []

    def step(p: cr.Tensor) -> None:
        assert p.grad is not None
        seen.append(p.grad.item())
        p.grad = None

    handle = x.register_post_accumulate_grad_hook(step)
    (x * 3).backward()
    handle.remove()
    (x * 4).backward()
    assert seen == [3]
    assert gradient_of(x) == [4]
    with pytest.raises(RuntimeError, match="non-leaf"):
        (x * 2).register_post_accumulate_grad_hook(step)


# Functions written by users.


class Split(Function):
    """Two outputs and one that has no gradient."""

    @staticmethod
    def forward(ctx: Any, x: cr.Tensor, where: int, scale: cr.Tensor) -> Any:
        ctx.save_for_backward(x, scale)
        ctx.where, ctx.needs = where, ctx.needs_input_grad
        a, b = x[:where] * 2, x[where:] * 3
        which = cr.arange(2.0, dtype=cr.float64)
        ctx.mark_non_differentiable(which)
        return a, b, which

    @staticmethod
    def backward(ctx: Any, da: Any, db: Any, dwhich: Any) -> Any:
        assert ctx.needs == (True, False, False)
        return cr.cat([da * 2, db * 3]), None, None


def test_functions_with_several_outputs() -> None:
    x = leaf(1, 2, 3)
    a, b, which = Split.apply(x, 1, cr.ones(1))
    assert a.grad_fn is b.grad_fn
    assert type(a.grad_fn).__name__ == "SplitBackward"
    assert not which.requires_grad
    (b * cr.tensor([5.0, 7.0], dtype=cr.float64)).sum().backward()  # a got none: zeros
    assert gradient_of(x) == [0, 15, 21]


def test_gradients_that_are_not_materialized() -> None:
    class Pair(Function):
        @staticmethod
        def forward(ctx: Any, x: cr.Tensor) -> Any:
            ctx.set_materialize_grads(False)
            return x * 1, x * 2

        @staticmethod
        def backward(ctx: Any, da: Any, db: Any) -> Any:
            assert da is None
            return db * 2

    x = leaf(1)
    Pair.apply(x)[1].backward()
    assert gradient_of(x) == [2]


def test_setup_context_style() -> None:
    class Square(Function):
        @staticmethod
        def forward(x: cr.Tensor) -> cr.Tensor:
            return x * x

        @staticmethod
        def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
            ctx.save_for_backward(*inputs)

        @staticmethod
        def backward(ctx: Any, dy: cr.Tensor) -> Any:
            (x,) = ctx.saved_tensors
            return 2 * x * dy

    x = leaf(3)
    assert autograd.gradcheck(Square.apply, x)
    assert autograd.gradgradcheck(Square.apply, x)


def test_mark_dirty() -> None:
    class Double(Function):
        @staticmethod
        def forward(ctx: Any, x: cr.Tensor) -> cr.Tensor:
            x.mul_(2)
            ctx.mark_dirty(x)
            return x

        @staticmethod
        def backward(ctx: Any, dy: cr.Tensor) -> Any:
            return dy * 2

    x = leaf(1, 2)
    y = x * 1
    z = y[0]
    assert Double.apply(y) is y
    (y.sum() + z).backward()
    assert y.tolist() == [2, 4]
    assert gradient_of(x) == [4, 2]


def test_an_input_returned_as_it_is_becomes_an_alias() -> None:
    class Same(Function):
        @staticmethod
        def forward(ctx: Any, x: cr.Tensor) -> cr.Tensor:
            return x

        @staticmethod
        def backward(ctx: Any, dy: cr.Tensor) -> Any:
            return dy * 5

    x = leaf(1)
    y = Same.apply(x)
    assert y is not x
    assert x.is_leaf
    y.backward()
    assert gradient_of(x) == [5]


def test_once_differentiable() -> None:
    class Cube(Function):
        @staticmethod
        def forward(ctx: Any, x: cr.Tensor) -> cr.Tensor:
            ctx.save_for_backward(x)
            return x * x * x

        @staticmethod
        @once_differentiable
        def backward(ctx: Any, dy: cr.Tensor) -> Any:
            (x,) = ctx.saved_tensors
            return 3 * x * x * dy

    x = leaf(2)
    Cube.apply(x).backward()
    assert gradient_of(x) == [12]
    (g,) = autograd.grad(Cube.apply(x), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        g.backward()


WRONG: dict[str, tuple[Callable[[cr.Tensor], Any], str]] = {
    "too few": (lambda dy: (dy,), "incorrect number of gradients"),
    "too many": (lambda dy: (dy, None, dy), "incorrect number of gradients"),
    "wrong shape": (lambda dy: (cr.ones(7, dtype=cr.float64), None), "WrongBackward returned an invalid gradient"),
    "no tensor": (lambda dy: (dy.numpy(), None), "ndarray"),
}


@pytest.mark.parametrize(("result", "message"), WRONG.values(), ids=WRONG)
def test_wrong_gradients_are_named(result: Callable[[cr.Tensor], Any], message: str) -> None:
    class Wrong(Function):
        @staticmethod
        def forward(ctx: Any, x: cr.Tensor, k: int) -> cr.Tensor:
            return x * k

        @staticmethod
        def backward(ctx: Any, dy: cr.Tensor) -> Any:
            return result(dy)

    with pytest.raises((RuntimeError, TypeError), match=message):
        Wrong.apply(leaf(1, 2), 2).sum().backward()


def test_an_error_in_backward_leaves_the_modes_alone() -> None:
    class Broken(Function):
        @staticmethod
        def forward(ctx: Any, x: cr.Tensor) -> cr.Tensor:
            return x * 1

        @staticmethod
        def backward(ctx: Any, dy: cr.Tensor) -> Any:
            raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        Broken.apply(leaf(1)).backward()
    assert cr.is_grad_enabled()


# Modes.


def test_modes() -> None:
    x = leaf(1)
    with cr.no_grad():
        assert not (x * 2).requires_grad
        with cr.enable_grad():
            assert (x * 2).requires_grad
        with cr.set_grad_enabled(True):
            assert cr.is_grad_enabled()
        assert not cr.is_grad_enabled()
    assert cr.is_grad_enabled()
    with cr.inference_mode():
        assert cr.is_inference_mode_enabled()
        assert not cr.is_grad_enabled()
    with cr.inference_mode(False):
        assert cr.is_grad_enabled()
    cr.set_grad_enabled(False)
    assert not cr.is_grad_enabled()
    cr.set_grad_enabled(True)
    mode = cr.no_grad()
    with mode, mode:
        pass
    assert cr.is_grad_enabled()
    with pytest.raises(ValueError, match="mine"), cr.no_grad():
        raise ValueError("mine")
    assert cr.is_grad_enabled()


DECORATORS: dict[str, Callable[[], Any]] = {
    "no_grad()": lambda: cr.no_grad(),
    "no_grad": lambda: cr.no_grad,
    "inference_mode()": lambda: cr.inference_mode(),
    "inference_mode": lambda: cr.inference_mode,
    "set_grad_enabled": lambda: cr.set_grad_enabled(False),
}


@pytest.mark.parametrize("decorator", DECORATORS.values(), ids=DECORATORS)
def test_modes_decorate(decorator: Callable[[], Any]) -> None:
    @decorator()
    def f(depth: int) -> bool:
        return f(depth - 1) if depth else cr.is_grad_enabled()

    assert f(2) is False
    assert f.__name__ == "f"
    assert cr.is_grad_enabled()


# Threads, memory.


def test_the_mode_is_each_threads_own_and_backward_runs_in_several() -> None:
    shared = leaf(*[1.0] * 100)
    results: list[Any] = [None] * 8
    modes: list[bool] = []

    def work(i: int) -> None:
        modes.append(cr.is_grad_enabled())
        with cr.enable_grad():
            own = leaf(*[float(i)] * 100)
            for _ in range(50):
                y = own * own
                for _ in range(5):
                    y = y * shared
                y.sum().backward()
            results[i] = own.grad

    with cr.no_grad():
        threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
    assert modes == [True] * 8
    for i, grad in enumerate(results):
        assert grad.tolist() == [100.0 * i] * 100
    assert gradient_of(shared) == [50 * 5 * sum(i * i for i in range(8))] * 100


def test_training_steps_leave_no_garbage_for_the_collector() -> None:
    w = cr.ones(3, 3, requires_grad=True)
    x = cr.ones(2, 3)

    def step() -> weakref.ref[Any]:
        h = x
        for _ in range(3):
            h = (h[:, :3] * w[0]).exp() * 1
            h[0] *= 2
            h = cr.cat([h, h])[:2].tanh()
        h.register_hook(lambda g: g * 2)
        h.retain_grad()
        h.sum().backward()
        return weakref.ref(h.grad_fn)

    step()
    gc.collect()
    gc.disable()
    try:
        nodes = [step() for _ in range(3)]
        assert all(n() is None for n in nodes)
        w.grad = None
        assert gc.collect() == 0
    finally:
        gc.enable()
