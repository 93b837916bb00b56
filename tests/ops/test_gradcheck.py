"""Every differentiable operation against finite differences in float64, twice; and that none is left out.

A case is one line of a table: a function of tensors that all require grad, and the values of each. They keep away from
kinks, jumps and ties by far more than the step of the differences.
"""

from __future__ import annotations

import importlib
import pkgutil
import zlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import pytest

import chainrule as cr
from chainrule import ops
from chainrule.autograd import Function, enable_grad, grad, gradcheck, gradgradcheck
from chainrule.autograd.function import Node

Fn = Callable[..., Any]
Values = Callable[[np.random.Generator], np.ndarray]


class Case(NamedTuple):
    fn: Fn
    inputs: tuple[Values, ...]
    second: bool = True  # also the gradients of the gradients
    eps: float = 1e-6


def normal(*shape: int) -> Values:
    return lambda rng: np.asarray(rng.standard_normal(shape))


def within(low: float, high: float, *shape: int) -> Values:
    return lambda rng: np.asarray(rng.uniform(low, high, shape))


def distinct(*shape: int, offset: float = 0.05) -> Values:
    """Multiples of 0.2 plus ``offset``: of both signs, none twice, 0.05 or more from every multiple of 0.1."""
    n = int(np.prod(shape))
    return lambda rng: (rng.permutation(n) - n // 2).reshape(shape) * 0.2 + offset


def eighths(*shape: int) -> Values:
    """Exact in float32, as are their neighbours at a distance of 1/64."""
    return lambda rng: rng.integers(-8, 8, shape) / 8


def labels(*values: Any) -> cr.Tensor:
    return cr.tensor(values)


def double(*values: float) -> cr.Tensor:
    return cr.tensor(values, dtype=np.float64)


def changed(change: Callable[..., Any]) -> Fn:
    """A copy of the first argument, changed in place."""

    def fn(x: cr.Tensor, *others: cr.Tensor) -> cr.Tensor:
        y = x * 1
        change(y, *others)
        return y

    return fn


def gradient(fn: Fn) -> Fn:
    """(x, dy) -> dx, for third derivatives."""

    def first(x: cr.Tensor, dy: cr.Tensor) -> Any:
        with enable_grad():
            return grad(fn(x), x, dy, create_graph=True)[0]

    return first


def seeded_dropout(x: cr.Tensor) -> cr.Tensor:
    cr.manual_seed(3)
    return ops.dropout(x, 0.4)


MASK = cr.tensor(np.array([[True, False, True], [False, False, True]]))
COLUMN = cr.tensor(np.array([[True], [False]]))
GRID = labels([0, 2, 1, 2], [1, 1, 0, 2])  # with duplicates
ONCE = labels([0, 2, 1], [1, 0, 2])
X, Y = normal(2, 3), normal(2, 3)
PLUS = within(0.5, 2.0, 2, 3)
APART = distinct(2, 3)
IMAGE, KERNEL = normal(1, 2, 4, 4), normal(2, 2, 3, 3)

ELEMENTWISE: dict[str, Case] = {
    "add": Case(lambda a, b: ops.add(a, b, alpha=2), (X, normal(3))),
    "sub": Case(lambda a, b: ops.sub(a, b, alpha=2), (normal(2, 1), Y)),
    "rsub": Case(lambda a: ops.rsub(a, 3.0), (X,)),
    "mul": Case(ops.mul, (X, normal(2, 1))),
    "mul by itself": Case(lambda a: a * a, (X,)),
    "div": Case(ops.div, (X, within(0.5, 2.0, 3))),
    "div floor": Case(lambda a, b: ops.div(a, b, rounding_mode="floor"), (within(2.2, 2.7, 4), within(0.95, 1.05, 4))),
    "div trunc": Case(lambda a, b: ops.div(a, b, rounding_mode="trunc"), (within(2.2, 2.7, 4), within(0.95, 1.05, 4))),
    "remainder": Case(ops.remainder, (within(-2.7, -2.2, 4), within(0.95, 1.05, 4))),
    "fmod": Case(ops.fmod, (within(-2.7, -2.2, 4), within(0.95, 1.05, 4))),
    "pow": Case(ops.pow, (PLUS, Y)),
    "pow by a number": Case(lambda a: ops.pow(a, 3), (X,)),
    "pow by a fraction": Case(lambda a: ops.pow(a, -1.5), (PLUS,)),
    "pow of a number": Case(lambda a: ops.pow(2.5, a), (X,)),
    "maximum": Case(ops.maximum, (APART, distinct(2, 3, offset=0.15))),
    "minimum": Case(ops.minimum, (APART, distinct(3, offset=0.15))),
    "atan2": Case(ops.atan2, (PLUS, within(-2.0, 2.0, 3))),
    "lerp": Case(ops.lerp, (X, Y, normal(3))),
    "addcmul": Case(lambda a, b, c: ops.addcmul(a, b, c, value=2), (X, Y, normal(3))),
    "addcdiv": Case(lambda a, b, c: ops.addcdiv(a, b, c, value=2), (X, Y, PLUS)),
    "where": Case(lambda a, b: ops.where(MASK, a, b), (X, normal(3))),
    "clamp": Case(lambda a: ops.clamp(a, -0.3, 0.3), (APART,)),
    "clamp between tensors": Case(ops.clamp, (APART, within(-0.43, -0.37, 3), within(0.37, 0.43, 3))),
    "floor": Case(ops.floor, (APART,)),
    "ceil": Case(ops.ceil, (APART,)),
    "trunc": Case(ops.trunc, (APART,)),
    "round": Case(ops.round, (APART,)),
    "sign": Case(ops.sign, (APART,)),
    "neg": Case(ops.neg, (X,)),
    "abs": Case(ops.abs, (APART,)),
    "exp": Case(ops.exp, (X,)),
    "expm1": Case(ops.expm1, (X,)),
    "log": Case(ops.log, (PLUS,)),
    "log1p": Case(ops.log1p, (PLUS,)),
    "log2": Case(ops.log2, (PLUS,)),
    "log10": Case(ops.log10, (PLUS,)),
    "sqrt": Case(ops.sqrt, (PLUS,)),
    "rsqrt": Case(ops.rsqrt, (PLUS,)),
    "square": Case(ops.square, (X,)),
    "reciprocal": Case(ops.reciprocal, (PLUS,)),
    "sin": Case(ops.sin, (X,)),
    "cos": Case(ops.cos, (X,)),
    "tan": Case(ops.tan, (within(-1.0, 1.0, 2, 3),)),
    "erf": Case(ops.erf, (X,)),
    "erfc": Case(ops.erfc, (X,)),
    "relu": Case(ops.relu, (APART,)),
    "relu6": Case(ops.relu6, (distinct(3, 4, offset=5.05),)),
    "hardtanh": Case(ops.hardtanh, (distinct(3, 4),)),
    "leaky_relu": Case(lambda a: ops.leaky_relu(a, 0.2), (APART,)),
    "elu": Case(lambda a: ops.elu(a, 0.7), (APART,)),
    "gelu": Case(ops.gelu, (X,)),
    "gelu_tanh": Case(lambda a: ops.gelu(a, "tanh"), (X,)),
    "sigmoid": Case(ops.sigmoid, (X,)),
    "silu": Case(ops.silu, (X,)),
    "softplus": Case(lambda a: ops.softplus(a, 2.0), (APART,)),
    "tanh": Case(ops.tanh, (X,)),
    "dropout": Case(seeded_dropout, (normal(4, 5),)),
    "cast": Case(lambda a: a.to(np.float32).to(np.float64), (eighths(2, 3),), eps=1 / 64),
}

SHAPES: dict[str, Case] = {
    "reshape": Case(lambda a: ops.reshape(a, (3, 2)), (X,)),
    "permute": Case(lambda a: ops.permute(a, (2, 0, 1)), (normal(2, 3, 2),)),
    "broadcast_to": Case(lambda a: ops.broadcast_to(a, (4, 2, 3)), (normal(2, 1),)),
    "unbroadcast": Case(lambda a: ops.unbroadcast(a, (1, 3)), (normal(2, 4, 3),)),
    "slice": Case(lambda a: a[1, ::2], (normal(2, 5),)),
    "split": Case(lambda a: ops.split(a, [1, 3], 1), (normal(2, 4),)),
    "unbind": Case(ops.unbind, (X,)),
    "diagonal": Case(lambda a: ops.diagonal(a, 1), (normal(3, 4),)),
    "clone": Case(ops.clone, (X,)),
    "cat": Case(lambda a, b: ops.cat([a, b], 1), (X, normal(2, 2))),
    "stack": Case(lambda a, b: ops.stack([a, b, a], 1), (X, Y)),
    "tile": Case(lambda a: ops.tile(a, (2, 1, 2)), (X,)),
    "repeat_interleave": Case(lambda a: ops.repeat_interleave(a, 2, 1), (X,)),
    "meshgrid": Case(ops.meshgrid, (normal(2), normal(3))),
    "tril": Case(ops.tril, (normal(3, 4),)),
    "triu": Case(lambda a: ops.triu(a, 1), (normal(3, 4),)),
    "flip": Case(lambda a: ops.flip(a, [0, 1]), (X,)),
    "roll": Case(lambda a: ops.roll(a, [1, 2], [0, 1]), (X,)),
    "getitem by tensors": Case(lambda a: a[labels(0, 1, 1), labels(2, 0, 0)], (X,)),
    "gather": Case(lambda a: ops.gather(a, 1, GRID), (X,)),
    "take_along_dim": Case(lambda a: ops.take_along_dim(a, GRID, 1), (X,)),
    "index_select": Case(lambda a: ops.index_select(a, 1, labels(2, 0, 2)), (X,)),
    "index_add": Case(lambda a, b: ops.index_add(a, 1, labels(2, 0, 2), b, alpha=3), (X, Y)),
    "scatter": Case(lambda a, b: ops.scatter(a, 1, ONCE, b), (X, Y)),
    "scatter_add": Case(lambda a, b: ops.scatter_add(a, 1, GRID, b), (X, normal(2, 4))),
    "masked_fill": Case(lambda a, value: ops.masked_fill(a, MASK, value), (X, normal())),
    "masked_fill broadcast": Case(lambda a: ops.masked_fill(a, COLUMN, 2.0), (X,)),
    "masked_select": Case(lambda a: ops.masked_select(a, MASK), (X,)),
    "sort": Case(lambda a: ops.sort(a, 1, descending=True), (APART,)),
    "topk": Case(lambda a: ops.topk(a, 2), (APART,)),
    "embedding": Case(lambda w: ops.embedding(GRID, w), (normal(3, 2),)),
    # The padding row isn't an input: by definition it gets no gradient, though the result changes with it.
    "embedding with padding": Case(
        lambda w: ops.embedding(GRID, ops.cat([w[:1], cr.ones(1, 2, dtype=np.float64), w[1:]]), padding_idx=1),
        (normal(2, 2),),
    ),
    "setitem": Case(changed(lambda y, v: y.__setitem__((slice(None), 1), v)), (X, normal())),
    "setitem by tensors": Case(changed(lambda y, v: y.__setitem__((labels(0, 1), labels(2, 0)), v)), (X, normal(2))),
    "setitem in a view": Case(changed(lambda y, v: y[1].__setitem__(labels(2, 0), v)), (X, normal(2))),
    "in-place product": Case(changed(lambda y, v: y.mul_(v)), (X, normal(3))),
    "in-place in a view": Case(changed(lambda y, v: y.t()[1].mul_(v)), (X, normal(2))),
    "copy_": Case(changed(lambda y, v: y.copy_(v)), (X, normal(3))),
    "copy_ into a view": Case(changed(lambda y, v: y[:, 1:].copy_(v)), (X, normal(2))),
    "fill_ a view": Case(changed(lambda y: y[:, 1].fill_(2.0)), (X,)),
    "zero_": Case(changed(lambda y: y.zero_()), (X,)),
}

REDUCTIONS: dict[str, Case] = {
    "sum": Case(lambda a: ops.sum(a, 1), (X,)),
    "mean": Case(lambda a: ops.mean(a, (0, 2), keepdim=True), (normal(2, 3, 2),)),
    "amax": Case(lambda a: ops.amax(a, 1), (APART,)),
    "amin": Case(lambda a: ops.amin(a, (0, 1)), (APART,)),
    "max": Case(lambda a: ops.max(a, 1), (APART,)),
    "min": Case(lambda a: ops.min(a, 0), (APART,)),
    "max of all": Case(ops.max, (APART,)),
    "var": Case(lambda a: ops.var(a, 1), (X,)),
    "var_mean": Case(lambda a: ops.var_mean(a, 1, correction=0), (X,)),
    "std": Case(lambda a: ops.std(a, 1), (X,)),
    "std_mean": Case(ops.std_mean, (X,)),
    "norm": Case(lambda a: ops.norm(a, dim=1), (X,)),
    "norm 1": Case(lambda a: ops.norm(a, 1), (APART,)),
    "norm 3": Case(lambda a: ops.norm(a, 3, 1), (APART,)),
    "norm inf": Case(lambda a: ops.norm(a, float("inf")), (distinct(2, 3, offset=0.07),)),
    "logsumexp": Case(lambda a: ops.logsumexp(a, (0, 1)), (X,)),
    "cumsum": Case(lambda a: ops.cumsum(a, 1), (X,)),
    "prod": Case(lambda a: ops.prod(a, 1), (APART,)),
    "prod with a zero": Case(lambda a: ops.prod(a * cr.tensor([1.0, 0.0, 1.0]), 1), (X,), second=False),
    "softmax": Case(lambda a: ops.softmax(a, 1), (X,)),
    "log_softmax": Case(lambda a: ops.log_softmax(a, 0), (X,)),
}

PRODUCTS: dict[str, Case] = {
    "matmul": Case(ops.matmul, (X, normal(3, 4))),
    "matmul of stacks": Case(ops.matmul, (normal(2, 2, 3), normal(1, 3, 2))),
    "matmul by a vector": Case(ops.matmul, (normal(2, 2, 3), normal(3))),
    "matmul of a vector": Case(ops.matmul, (normal(3), normal(2, 3, 2))),
    "mm of transposes": Case(lambda a, b: ops.mm(ops.t(a), ops.t(b)), (X, normal(4, 2))),
    "bmm": Case(ops.bmm, (normal(2, 2, 3), normal(2, 3, 2))),
    "mv": Case(ops.mv, (X, normal(3))),
    "dot": Case(ops.dot, (normal(4), normal(4))),
    "outer": Case(ops.outer, (normal(2), normal(3))),
    "addmm": Case(lambda c, a, b: ops.addmm(c, a, b, beta=0.5, alpha=2), (normal(4), X, normal(3, 4))),
    "addmm beta 0": Case(lambda c, a, b: ops.addmm(c, a, b, beta=0), (normal(4), X, normal(3, 4))),
    "baddbmm": Case(ops.baddbmm, (normal(2, 2), normal(2, 2, 3), normal(2, 3, 2))),
    "linear": Case(ops.linear, (normal(2, 2, 3), normal(4, 3), normal(4))),
    **{
        f"linear_activation {name}": Case(
            lambda x, w, b, name=name: ops.linear_activation(x, w, b, name), (X, normal(4, 3), normal(4))
        )
        for name in ("relu", "leaky_relu", "sigmoid", "tanh", "gelu", "gelu_tanh", "silu")
    },
    "conv2d": Case(ops.conv2d, (IMAGE, KERNEL, normal(2))),
    "conv2d with options": Case(
        lambda x, w: ops.conv2d(x, w, None, stride=(2, 1), padding=1, dilation=(1, 2), groups=2),
        (IMAGE, normal(2, 1, 2, 2)),
    ),
    "conv2d same": Case(lambda x, w: ops.conv2d(x, w, None, padding="same"), (normal(1, 3, 3), normal(1, 1, 2, 3))),
    "max_pool2d": Case(lambda x: ops.max_pool2d(x, 2, 1), (distinct(1, 2, 3, 4),)),
    "max_pool2d, third derivatives": Case(
        gradient(lambda x: ops.max_pool2d(x, 2)), (distinct(1, 1, 4, 4), normal(1, 1, 2, 2))
    ),
    "avg_pool2d": Case(lambda x: ops.avg_pool2d(x, 2, 2, 1, count_include_pad=False), (normal(1, 2, 3, 4),)),
    "adaptive_avg_pool2d": Case(lambda x: ops.adaptive_avg_pool2d(x, (2, 3)), (normal(1, 2, 3, 4),)),
}

LAYERS: dict[str, Case] = {
    "layer_norm": Case(lambda x, w, b: ops.layer_norm(x, 4, w, b), (normal(3, 4), normal(4), normal(4))),
    "layer_norm of all": Case(lambda x, w, b: ops.layer_norm(x, (2, 3), w, b), (X, normal(2, 3), normal(2, 3))),
    "layer_norm plain": Case(lambda x: ops.layer_norm(x, 3), (X,)),
    "batch_norm training": Case(
        lambda x, w, b: ops.batch_norm(x, None, None, w, b, training=True), (normal(3, 2, 2), normal(2), normal(2))
    ),
    "batch_norm": Case(
        lambda x, w, b: ops.batch_norm(x, cr.tensor([0.1, -0.2]).double(), cr.tensor([0.5, 2.0]).double(), w, b),
        (normal(3, 2), normal(2), normal(2)),
    ),
    "cross_entropy": Case(
        lambda x: ops.cross_entropy(
            x, labels(2, -100, 0), double(0.5, 1.0, 2.0), reduction="mean", label_smoothing=0.1
        ),
        (normal(3, 3),),
    ),
    "cross_entropy by element": Case(lambda x: ops.cross_entropy(x, labels(2, 0), reduction="none"), (X,)),
    "cross_entropy of probabilities": Case(
        lambda x: ops.cross_entropy(x, cr.tensor([[1.1, 0.1, 0.1], [0.1, 1.1, 0.1]], dtype=np.float64)), (X,)
    ),
    "cross_entropy of learned probabilities": Case(ops.cross_entropy, (X, within(0.1, 0.9, 2, 3))),
    "nll_loss": Case(lambda x: ops.nll_loss(x, labels(2, 0)), (X,)),
    "mse_loss": Case(ops.mse_loss, (X, Y)),
    "mse_loss by element": Case(lambda x, t: ops.mse_loss(x, t, "none"), (X, normal(3))),
    "l1_loss": Case(ops.l1_loss, (APART, distinct(2, 3, offset=0.15))),
    "smooth_l1_loss": Case(
        lambda x, t: ops.smooth_l1_loss(x, t, "sum", 0.35), (distinct(2, 3, offset=0.03), distinct(2, 3, offset=0.15))
    ),
    "binary_cross_entropy_with_logits": Case(ops.binary_cross_entropy_with_logits, (X, within(0.1, 0.9, 2, 3))),
    "binary_cross_entropy_with_logits, weighted": Case(
        lambda x: ops.binary_cross_entropy_with_logits(
            x, MASK.double(), double(0.5, 1.0, 2.0), double(3.0, 1.0, 0.2), "sum"
        ),
        (X,),
    ),
}

attention = ops.scaled_dot_product_attention
SEQUENCES: dict[str, Case] = {
    "attention": Case(attention, (normal(1, 2, 3, 2), normal(1, 2, 4, 2), normal(1, 2, 4, 3))),
    "attention, causal": Case(
        lambda q, k, v: attention(q, k, v, is_causal=True, scale=0.7), (normal(3, 2), normal(3, 2), normal(3, 1))
    ),
    "attention broadcast": Case(attention, (normal(2, 2, 2, 2), normal(2, 1, 3, 2), normal(3, 2))),
    "attention with a mask": Case(
        lambda q, k, v: attention(q, k, v, attn_mask=MASK), (normal(2, 2), normal(3, 2), normal(3, 2))
    ),
    "attention with a learned mask": Case(
        lambda q, k, v, m: attention(q, k, v, attn_mask=m), (normal(2, 2), normal(3, 2), normal(3, 2), normal(2, 3))
    ),
    "lstm": Case(
        lambda x, h, c, *w: ops.lstm(x, (h, c), w, True, 1, 0.0, False, False, False),
        (normal(3, 2, 2), normal(1, 2, 2), normal(1, 2, 2), normal(8, 2), normal(8, 2), normal(8), normal(8)),
    ),
    "lstm without state, both directions": Case(
        lambda x, *w: ops.lstm(x, None, w, False, 1, 0.0, False, True, True),
        (normal(2, 2, 1), *2 * (normal(8, 1), normal(8, 2))),
    ),
}

CASES: dict[str, Case] = {**ELEMENTWISE, **SHAPES, **REDUCTIONS, **PRODUCTS, **LAYERS, **SEQUENCES}

# Functions of chainrule.ops that can't be in the table, and why.
EXEMPT = {
    "unary.Unary": "the base of the element-wise functions: it has no kernel of its own",
    "activation.Gradient": "the base of the activations' gradients: it has no kernel of its own",
    "softmax.Gradient": "the base of both gradients: it has no kernel of its own",
    "softmax.Normalised": "the base of both functions: it has no kernel of its own",
}


def tensors(name: str) -> list[cr.Tensor]:
    """The inputs of a case, the same in every run and whatever cases come before it."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    return [cr.tensor(np.asarray(values(rng), np.float64), requires_grad=True) for values in CASES[name].inputs]


@pytest.mark.parametrize("name", CASES)
def test_gradients_are_the_finite_differences(name: str) -> None:
    assert gradcheck(CASES[name].fn, tensors(name), CASES[name].eps)


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.second])
def test_gradients_of_gradients_are_the_finite_differences(name: str) -> None:
    assert gradgradcheck(CASES[name].fn, tensors(name), eps=CASES[name].eps)


def differentiate(name: str) -> None:
    """The backward passes that the two tests above check, once each."""
    inputs, case = tensors(name), CASES[name]
    result = case.fn(*inputs)
    outputs = [y for y in (result if isinstance(result, tuple) else (result,)) if y.requires_grad]
    if not outputs:
        return
    seeds = [cr.tensor(np.ones(y.shape), requires_grad=True) for y in outputs]
    firsts = grad(outputs, inputs, seeds, create_graph=case.second, allow_unused=True)
    again = [g for g in firsts if g is not None and g.requires_grad]
    if case.second and again:
        grad(again, [*inputs, *seeds], [cr.ones_like(g) for g in again], allow_unused=True)


def defined(base: type[Function] = Function) -> Iterator[str]:
    """Every Function of chainrule.ops, as ``module.Class``."""
    for cls in base.__subclasses__():
        if cls.__module__.startswith("chainrule.ops."):
            yield f"{cls.__module__.removeprefix('chainrule.ops.')}.{cls.__qualname__}"
        yield from defined(cls)


def test_every_function_is_back_propagated_by_a_case(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in pkgutil.iter_modules(importlib.import_module("chainrule.ops").__path__, "chainrule.ops."):
        importlib.import_module(module.name)
    reached: set[str] = set()
    backward = Node._backward

    def recorded(node: Node, grads: Any) -> Any:
        function = node._function
        reached.add(f"{function.__module__.removeprefix('chainrule.ops.')}.{function.__qualname__}")
        return backward(node, grads)

    monkeypatch.setattr(Node, "_backward", recorded)
    for name in CASES:
        differentiate(name)
    every = set(defined())
    assert sorted(every - reached - set(EXEMPT)) == []
    assert sorted(set(EXEMPT) - every) + sorted(set(EXEMPT) & reached) == []  # no exemption that isn't needed
