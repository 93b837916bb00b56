"""Matrix products and linear layers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from chainrule import kernels, ops
from chainrule.autograd import Context, Function
from chainrule.autograd.engine import grad_where
from chainrule.autograd.grad_mode import state
from chainrule.ops.memory import zeros
from chainrule.recording.state import numpy_path
from chainrule.tensor import Tensor, wrap

__all__ = [
    "addmm",
    "addmv",
    "baddbmm",
    "bmm",
    "dot",
    "linear",
    "linear_activation",
    "matmul",
    "mm",
    "mv",
    "outer",
]


class MatMul(Function):
    """A B for stacks of matrices, each plain or transposed; what broadcast is summed again in the gradients."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, transpose_a: bool = False, transpose_b: bool = False) -> Tensor:
        ctx.save_for_backward(a, b)
        ctx.transposes = transpose_a, transpose_b
        if a._array.dtype.kind != "f" and b._array.dtype.kind != "f":
            left = a._array.swapaxes(-1, -2) if transpose_a else a._array
            right = b._array.swapaxes(-1, -2) if transpose_b else b._array
            numpy_path(f"matmul of {a.dtype}")
            return wrap(np.matmul(left, right))
        return wrap(kernels.matmul(a._array, b._array, transpose_a, transpose_b))

    @staticmethod
    def backward(ctx: Any, dc: Tensor) -> Any:
        a, b = ctx.saved_tensors
        ta, tb = ctx.transposes
        da = db = None
        if ctx.needs_input_grad[0]:
            da = MatMul.apply(b, dc, tb, True) if ta else MatMul.apply(dc, b, False, not tb)
            da = ops.unbroadcast(da, a.shape)
        if ctx.needs_input_grad[1]:
            db = MatMul.apply(dc, a, True, ta) if tb else MatMul.apply(a, dc, not ta, False)
            db = ops.unbroadcast(db, b.shape)
        return da, db, None, None


def matmul(input: Tensor, other: Tensor) -> Tensor:
    """The matrix product, with PyTorch's rules: a vector on the left is a row, on the right a column, and its dimension
    vanishes from the result; leading dimensions broadcast."""
    a, b = input.shape, other.shape
    if not a or not b:
        raise ValueError(f"matmul: both arguments need 1 dimension or more, got shapes {a} and {b}")
    inner = b[max(len(b) - 2, 0)]
    if a[-1] != inner:
        raise ValueError(f"matmul: the inner sizes of input {a} and other {b} differ: {a[-1]} and {inner}")
    if len(a) == 2 and len(b) == 2:
        return MatMul.apply(input, other)  # type: ignore[no-any-return]
    if len(b) == 1:  # as a row times input^T, so that the result's elements are the vector's lanes
        rows = input if len(a) == 2 else ops.reshape(input, (math.prod(a[:-1]), a[-1]))
        product = MatMul.apply(ops.reshape(other, (1, b[0])), rows, False, True)
        return ops.reshape(product, a[:-1])
    if len(a) == 1:
        product = MatMul.apply(ops.reshape(input, (1, a[0])), other)
        return ops.reshape(product, (*product.shape[:-2], b[-1]))
    if len(b) == 2:  # one product, and its gradient for b is one product over all rows
        rows = ops.reshape(input, (math.prod(a[:-1]), a[-1]))
        return ops.reshape(MatMul.apply(rows, other), (*a[:-1], b[-1]))
    return MatMul.apply(input, other)  # type: ignore[no-any-return]


def _want(op: str, **ranks: tuple[Tensor, int]) -> None:
    for name, (x, ndim) in ranks.items():
        if x.ndim != ndim:
            raise ValueError(f"{op}: argument '{name}' has shape {x.shape}, want {ndim} dimensions")


def mm(input: Tensor, mat2: Tensor) -> Tensor:
    """The product of two matrices."""
    _want("mm", input=(input, 2), mat2=(mat2, 2))
    return matmul(input, mat2)


def bmm(input: Tensor, mat2: Tensor) -> Tensor:
    """The products of two equally long stacks of matrices."""
    _want("bmm", input=(input, 3), mat2=(mat2, 3))
    if input.shape[0] != mat2.shape[0]:
        raise ValueError(f"bmm: the batches of input {input.shape} and mat2 {mat2.shape} differ")
    return matmul(input, mat2)


def mv(input: Tensor, vec: Tensor) -> Tensor:
    """A matrix times a vector."""
    _want("mv", input=(input, 2), vec=(vec, 1))
    return matmul(input, vec)


def dot(input: Tensor, tensor: Tensor) -> Tensor:
    """The inner product of two vectors."""
    _want("dot", input=(input, 1), tensor=(tensor, 1))
    return matmul(input, tensor)


def outer(input: Tensor, vec2: Tensor) -> Tensor:
    """All products of an element of ``input`` (rows) with one of ``vec2`` (columns)."""
    _want("outer", input=(input, 1), vec2=(vec2, 1))
    return ops.reshape(input, (input.shape[0], 1)) * vec2


class Ignoring(Function):
    """y, whatever the other operand holds: that one's gradient is zeros, as PyTorch has it."""

    @staticmethod
    def forward(ctx: Context, y: Tensor, ignored: Tensor) -> Tensor:
        ctx.ignored = ignored._array.shape, ignored._array.dtype
        return wrap(y._array)

    @staticmethod
    def backward(ctx: Context, dy: Tensor) -> Any:
        shape, dtype = ctx.ignored
        return dy, wrap(zeros(shape, dtype)) if ctx.needs_input_grad[1] else None


def _plus(input: Tensor, product: Tensor, beta: float, alpha: float) -> Tensor:
    """beta input + alpha product; with beta 0, NaN in ``input`` doesn't spread."""
    scaled = product if alpha == 1 else product * alpha
    if beta == 0:
        return Ignoring.apply(scaled, input)  # type: ignore[no-any-return]
    return (input if beta == 1 else input * beta) + scaled


def addmm(input: Tensor, mat1: Tensor, mat2: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """beta input + alpha mat1 mat2."""
    return _plus(input, mm(mat1, mat2), beta, alpha)


def addmv(input: Tensor, mat: Tensor, vec: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """beta input + alpha mat vec."""
    return _plus(input, mv(mat, vec), beta, alpha)


def baddbmm(input: Tensor, batch1: Tensor, batch2: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """beta input + alpha batch1 batch2."""
    return _plus(input, bmm(batch1, batch2), beta, alpha)


class Linear(Function):
    @staticmethod
    def forward(ctx: Context, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        y: Any = kernels.linear(x._array, weight._array, None if bias is None else bias._array)
        return wrap(y)

    @staticmethod
    def backward(ctx: Context, dy: Tensor) -> Any:
        x, weight = ctx.saved_tensors
        return LinearGradient.apply(dy, x, weight, ctx.needs_input_grad)


class LinearGradient(Function):
    """(dx, dW, db) of :class:`Linear`, None where not needed; bilinear in (dy, x, W), so its gradients are products."""

    @staticmethod
    def forward(ctx: Context, dy: Tensor, x: Tensor, weight: Tensor, needs: tuple[bool, bool, bool]) -> Any:
        ctx.save_for_backward(dy, x, weight)
        ctx.set_materialize_grads(False)
        grads = kernels.linear_backward(dy._array, x._array, weight._array, needs=needs)
        return tuple([None if g is None else wrap(g) for g in grads])

    @staticmethod
    def backward(ctx: Context, ddx: Tensor | None, ddw: Tensor | None, ddb: Tensor | None) -> Any:
        dy, x, weight = ctx.saved_tensors
        terms = []
        if ctx.needs_input_grad[0]:
            if ddx is not None:
                terms.append(linear(ddx, weight))
            if ddw is not None:
                terms.append(linear(x, ddw))
            if ddb is not None:
                terms.append(ops.broadcast_to(ddb, dy.shape))
        gdy = sum(terms[1:], terms[0]) if terms else None
        gx = matmul(dy, ddw) if ddw is not None and ctx.needs_input_grad[1] else None
        gw = None
        if ddx is not None and ctx.needs_input_grad[2]:
            gw = MatMul.apply(_rows(dy), _rows(ddx), True, False)
        return gdy, gx, gw, None


def _rows(x: Tensor) -> Tensor:
    return x if x.ndim == 2 else ops.reshape(x, (math.prod(x.shape[:-1]), x.shape[-1]))


def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """input W^T + bias over the last dimension; W is (out_features, in_features)."""
    return Linear.apply(input, weight, bias)  # type: ignore[no-any-return]


# What the backward pass of a fused activation reads: its output, or the pre-activation.
SAVES_OUTPUT = {"relu", "leaky_relu", "sigmoid", "tanh"}
SAVES_INPUT = {"gelu", "gelu_tanh", "silu"}


class LinearActivation(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, activation: str) -> Tensor:
        ctx.activation = activation
        before = activation in SAVES_INPUT
        made: Any = kernels.linear(x._array, weight._array, None if bias is None else bias._array, activation, before)
        y, saved = (wrap(made[0]), wrap(made[1])) if before else (wrap(made), None)
        ctx.save_for_backward(x, weight, bias, y if saved is None else saved)
        return y

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        x, weight, bias, saved = ctx.saved_tensors
        needs = ctx.needs_input_grad[:3]
        if not state.enabled:
            arrays = dy._array, x._array, weight._array
            grads = kernels.linear_backward(*arrays, ctx.activation, saved._array, needs)
            return (*[None if g is None else wrap(g) for g in grads], None)
        # A graph of the gradient is wanted: differentiate the parts, which are differentiable again.
        y = _activate(linear(x, weight, bias), ctx.activation)
        return (*grad_where(needs, y, (x, weight, bias), dy), None)


def _activate(z: Tensor, activation: str) -> Tensor:
    name, options = ("gelu", {"approximate": "tanh"}) if activation == "gelu_tanh" else (activation, {})
    return getattr(ops, name)(z, **options)  # type: ignore[no-any-return]


def linear_activation(input: Tensor, weight: Tensor, bias: Tensor | None = None, activation: str = "none") -> Tensor:
    """activation(linear(input, weight, bias)) in one pass, forward and backward."""
    if activation == "none":
        return linear(input, weight, bias)
    if activation not in SAVES_OUTPUT | SAVES_INPUT:
        names = sorted(SAVES_OUTPUT | SAVES_INPUT | {"none"})
        raise ValueError(f"linear_activation: argument 'activation' is {activation!r}, want one of {names}")
    return LinearActivation.apply(input, weight, bias, activation)  # type: ignore[no-any-return]
