"""Products and linear layers as ops: values and gradients against torch, gradcheck, double backward."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import chainrule
from chainrule import ops
from chainrule.autograd import gradcheck

Shapes = tuple[tuple[int, ...], ...]

MATMUL: list[Shapes] = [
    ((4,), (4,)),
    ((3, 4), (4,)),
    ((4,), (4, 5)),
    ((3, 4), (4, 5)),
    ((2, 3, 4), (4,)),
    ((2, 3, 4), (4, 5)),
    ((4,), (2, 4, 5)),
    ((3, 4), (2, 4, 5)),
    ((2, 3, 4), (2, 4, 5)),
    ((6, 1, 3, 4), (2, 4, 5)),
    ((2, 1, 3, 4), (1, 5, 4, 2)),
    ((0, 4), (4, 5)),
    ((3, 0), (0, 5)),
    ((2, 3, 0), (0,)),
]

# name, function of ops or torch, shapes
CALLS: list[tuple[str, Callable[..., Any], Shapes]] = [
    *((f"matmul{a}{b}", lambda m, x, y: m.matmul(x, y), (a, b)) for a, b in MATMUL),
    ("mm", lambda m, x, y: m.mm(x, y), ((3, 4), (4, 5))),
    ("mm-transposed", lambda m, x, y: m.mm(m.transpose(x, 0, 1), m.transpose(y, 0, 1)), ((4, 3), (5, 4))),
    ("bmm", lambda m, x, y: m.bmm(x, y), ((2, 3, 4), (2, 4, 5))),
    ("mv", lambda m, x, y: m.mv(x, y), ((3, 4), (4,))),
    ("dot", lambda m, x, y: m.dot(x, y), ((4,), (4,))),
    ("outer", lambda m, x, y: m.outer(x, y), ((3,), (4,))),
    ("addmm", lambda m, c, x, y: m.addmm(c, x, y, beta=0.5, alpha=2), ((5,), (3, 4), (4, 5))),
    ("addmm-beta-0", lambda m, c, x, y: m.addmm(c, x, y, beta=0), ((3, 5), (3, 4), (4, 5))),
    ("addmv", lambda m, c, x, y: m.addmv(c, x, y), ((3,), (3, 4), (4,))),
    ("baddbmm", lambda m, c, x, y: m.baddbmm(c, x, y, alpha=-1), ((2, 3, 5), (2, 3, 4), (2, 4, 5))),
]
LINEAR: list[Shapes] = [
    ((3, 4), (5, 4), (5,)),
    ((4,), (5, 4), (5,)),
    ((2, 3, 4), (5, 4), (5,)),
    ((2, 3, 4), (5, 4)),
    ((0, 4), (5, 4), (5,)),
]
each_call = pytest.mark.parametrize(("call", "shapes"), [pytest.param(*c[1:], id=c[0]) for c in CALLS])
each_linear = pytest.mark.parametrize("shapes", LINEAR, ids=str)


def tensors(shapes: Shapes) -> list[Any]:
    rng = np.random.default_rng(1)
    return [chainrule.tensor(rng.standard_normal(s), requires_grad=True) for s in shapes]


def compare(call: Callable[..., Any], torch_call: Callable[..., Any], shapes: Shapes) -> None:
    """Value, first and second gradients against torch's, in float64."""
    torch = pytest.importorskip("torch")
    ours = tensors(shapes)
    theirs = [torch.tensor(t.detach().numpy(), requires_grad=True) for t in ours]
    y, ty = call(*ours), torch_call(*theirs)
    assert y.shape == tuple(ty.shape)
    assert y.dtype == np.float64
    close = lambda a, b: np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=1e-12, atol=1e-12)  # noqa: E731
    close(y, ty)
    dy = np.random.default_rng(2).standard_normal(y.shape)
    grads = chainrule.autograd.grad(y, ours, chainrule.tensor(dy), create_graph=True, allow_unused=True)
    tgrads = torch.autograd.grad(ty, theirs, torch.tensor(dy), create_graph=True, allow_unused=True)
    pairs = []
    for g, tg in zip(grads, tgrads, strict=True):
        if g is None:  # no path: torch has None or zeros
            assert tg is None or not tg.any()
        else:
            assert g.shape == tuple(tg.shape)
            close(g, tg)
            if tg.requires_grad:
                pairs.append((g, tg))
    if not pairs:
        return
    weights = [np.random.default_rng(3).standard_normal(g.shape) for g, _ in pairs]
    second = chainrule.autograd.grad(
        [g for g, _ in pairs], ours, [chainrule.tensor(w) for w in weights], allow_unused=True
    )
    tsecond = torch.autograd.grad([t for _, t in pairs], theirs, [torch.tensor(w) for w in weights], allow_unused=True)
    for g, tg in zip(second, tsecond, strict=True):
        a = np.zeros(()) if g is None else g.numpy()
        b = np.zeros(()) if tg is None else tg.numpy()
        np.testing.assert_allclose(*np.broadcast_arrays(a, b), rtol=1e-12, atol=1e-12)


@each_call
def test_products_against_torch(call: Callable[..., Any], shapes: Shapes) -> None:
    torch = pytest.importorskip("torch")
    compare(lambda *x: call(ops, *x), lambda *x: call(torch, *x), shapes)


@each_linear
def test_linear_against_torch(shapes: Shapes) -> None:
    torch = pytest.importorskip("torch")
    compare(ops.linear, torch.nn.functional.linear, shapes)


ACTIVATIONS = ["none", "relu", "leaky_relu", "gelu", "gelu_tanh", "silu", "sigmoid", "tanh"]


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_linear_activation_against_torch(activation: str) -> None:
    torch = pytest.importorskip("torch")
    F = torch.nn.functional
    apply = {
        "none": lambda z: z,
        "gelu_tanh": lambda z: F.gelu(z, approximate="tanh"),
    }.get(activation) or getattr(F, activation)
    for shapes in LINEAR:
        compare(
            lambda *x: ops.linear_activation(*x[:2], *(x[2:] or (None,)), activation),
            lambda *x: apply(F.linear(*x)),
            shapes,
        )


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_linear_activations_fused_gradient_is_that_of_its_parts(activation: str) -> None:
    x, w, b = tensors(((20, 30), (40, 30), (40,)))
    ops.linear_activation(x, w, b, activation).sum().backward()
    fused = [t.grad.numpy().copy() for t in (x, w, b)]
    whole = chainrule.autograd.grad(ops.linear_activation(x, w, b, activation).sum(), (x, w, b), create_graph=True)
    for f, g in zip(fused, whole, strict=True):
        np.testing.assert_allclose(f, g.detach().numpy(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("shapes", [s for s in MATMUL if 0 not in s[0]], ids=str)
def test_matmul_gradcheck(shapes: Shapes) -> None:
    assert gradcheck(ops.matmul, tuple(tensors(shapes)))


@pytest.mark.parametrize("shapes", [s for s in LINEAR if 0 not in s[0]], ids=str)
def test_linear_gradcheck(shapes: Shapes) -> None:
    assert gradcheck(ops.linear, tuple(tensors(shapes)))


def test_gradients_only_where_wanted() -> None:
    x, w, b = tensors(((3, 4), (5, 4), (5,)))
    for wanted in ((True, False, False), (False, True, False), (False, False, True)):
        args = [t.detach().requires_grad_(need) for t, need in zip((x, w, b), wanted, strict=True)]
        ops.linear(*args).sum().backward()
        assert [t.grad is not None for t in args] == list(wanted)


def test_integer_products() -> None:
    a, b = chainrule.tensor([[1, 2], [3, 4]]), chainrule.tensor([[5, 6], [7, 8]])
    product = ops.matmul(a, b)
    assert product.dtype == np.int64
    assert product.tolist() == [[19, 22], [43, 50]]


def test_the_operator_is_matmul() -> None:
    a, b = tensors(((3, 4), (4, 5)))
    np.testing.assert_array_equal((a @ b).detach().numpy(), ops.matmul(a, b).detach().numpy())


BAD_CALLS: list[tuple[Callable[..., Any], Shapes, str]] = [
    (ops.matmul, ((3, 4), (5, 4)), "matmul: the inner sizes"),
    (ops.matmul, ((), (4,)), "matmul: both arguments need 1 dimension"),
    (ops.matmul, ((2, 3, 4), (3, 4, 5)), "matmul: the batch shapes"),
    (ops.matmul, ((3,), (4,)), "matmul: the inner sizes"),
    (ops.mm, ((3,), (3, 4)), "mm: argument 'input'"),
    (ops.mm, ((2, 3), (3, 4, 5)), "mm: argument 'mat2'"),
    (ops.bmm, ((3, 4), (3, 4, 5)), "bmm: argument 'input'"),
    (ops.bmm, ((1, 3, 4), (3, 4, 5)), "bmm: the batches"),
    (ops.mv, ((3, 4), (4, 5)), "mv: argument 'vec'"),
    (ops.dot, ((3, 4), (4,)), "dot: argument 'input'"),
    (ops.outer, ((3,), (4, 5)), "outer: argument 'vec2'"),
    (ops.linear, ((3, 4), (4, 5)), "linear: argument 'weight'"),
    (ops.linear, ((3, 4), (5, 4), (4,)), "linear: argument 'bias'"),
    (
        lambda x, w: ops.linear_activation(x, w, None, "elu"),
        ((3, 4), (5, 4)),
        "linear_activation: argument 'activation'",
    ),
]


@pytest.mark.parametrize(("call", "shapes", "match"), BAD_CALLS, ids=[m for _, _, m in BAD_CALLS])
def test_bad_input_is_refused(call: Callable[..., Any], shapes: Shapes, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        call(*tensors(shapes))
