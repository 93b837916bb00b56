"""Whole derivatives of functions: Jacobians, Hessians, products with vectors; as torch.autograd.functional has them.

``inputs`` is a tensor or a tuple of them; the results are nested accordingly.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from chainrule.autograd.engine import grad
from chainrule.autograd.grad_mode import enable_grad
from chainrule.tensor import Tensor, listed, wrap

__all__ = ["hessian", "hvp", "jacobian", "jvp", "vhp", "vjp"]


def _leaves(inputs: Any, create_graph: bool) -> tuple[Tensor, ...]:
    given = listed(inputs)
    if create_graph:
        return tuple(x.view_as(x) if x.requires_grad else x.detach().requires_grad_() for x in given)
    return tuple(x.detach().requires_grad_() for x in given)


def _like(x: Any, results: Sequence[Any]) -> Any:
    return results[0] if isinstance(x, Tensor) else tuple(results)


def _grads(outputs: Any, inputs: Sequence[Tensor], vectors: Any, create_graph: bool, retain: bool) -> list[Tensor]:
    """Gradients with zeros where an input isn't used."""
    if not any(o.requires_grad for o in listed(outputs)):
        return [wrap(np.zeros_like(x._array)) for x in inputs]
    found = grad(outputs, inputs, vectors, retain or create_graph, create_graph, allow_unused=True)
    return [wrap(np.zeros_like(x._array)) if g is None else g for g, x in zip(found, inputs, strict=True)]


def _vectors(op: str, given: Any, like: Sequence[Tensor]) -> list[Tensor]:
    if given is None:
        if len(like) != 1 or like[0].numel() != 1:
            raise RuntimeError(f"{op}: argument 'v' is missing, want a vector: the result isn't a single number")
        return [wrap(np.ones_like(like[0]._array))]
    vectors = listed(given)
    if [v.shape for v in vectors] != [x.shape for x in like]:
        raise RuntimeError(
            f"{op}: argument 'v' has shapes {[list(v.shape) for v in vectors]}, want {[list(x.shape) for x in like]}"
        )
    return vectors


def vjp(func: Callable[..., Any], inputs: Any, v: Any = None, create_graph: bool = False) -> tuple[Any, Any]:
    """(outputs, v^T J): the gradient of the outputs weighted by v."""
    with enable_grad():
        leaves = _leaves(inputs, create_graph)
        outputs = func(*leaves)
        made = listed(outputs)
        result = _grads(made, leaves, _vectors("vjp", v, made), create_graph, False)
    return outputs if create_graph else _detached(outputs), _like(inputs, result)


def _detached(x: Any) -> Any:
    return x.detach() if isinstance(x, Tensor) else tuple(t.detach() for t in x)


def jvp(func: Callable[..., Any], inputs: Any, v: Any = None, create_graph: bool = False) -> tuple[Any, Any]:
    """(outputs, J v): the derivative along v, by differentiating v^T J twice."""
    with enable_grad():
        leaves = _leaves(inputs, create_graph)
        vectors = _vectors("jvp", v, leaves)
        outputs = func(*leaves)
        made = listed(outputs)
        weights = [wrap(np.zeros_like(o._array)).requires_grad_() for o in made]
        products = _grads(made, leaves, weights, True, True)
        result = _grads(products, weights, vectors, create_graph, False)
    return outputs if create_graph else _detached(outputs), _like(outputs, result)


def jacobian(func: Callable[..., Any], inputs: Any, create_graph: bool = False) -> Any:
    """d outputs / d inputs: per output and input a tensor of shape output.shape + input.shape."""
    with enable_grad():
        leaves = _leaves(inputs, create_graph)
        outputs = func(*leaves)
        made = listed(outputs)
        results = []
        for out in made:
            rows: list[list[Tensor]] = []
            for i in range(out.numel()):
                seed = np.zeros(out.shape, out.dtype)
                seed.reshape(-1)[i] = 1
                rows.append(_grads(out, leaves, wrap(seed), create_graph, True))
            results.append(_like(inputs, [_stacked([r[k] for r in rows], out, x) for k, x in enumerate(leaves)]))
    return _like(outputs, results)


def _stacked(rows: list[Tensor], out: Tensor, x: Tensor) -> Tensor:
    from chainrule import ops

    if not rows:
        return wrap(np.zeros((*out.shape, *x.shape), x.dtype))
    return ops.reshape(ops.stack(rows), (*out.shape, *x.shape))


def _number(op: str, output: Any) -> Tensor:
    if not isinstance(output, Tensor) or output.numel() != 1:
        raise RuntimeError(f"{op}: the function must return a tensor with a single element")
    return output


def hessian(func: Callable[..., Any], inputs: Any, create_graph: bool = False) -> Any:
    """The second derivatives of a function with a single result: per pair of inputs their shapes joined."""

    def gradient(*xs: Tensor) -> Any:
        return _like(inputs, _grads(_number("hessian", func(*xs)), xs, None, True, True))

    return jacobian(gradient, inputs, create_graph)


def vhp(func: Callable[..., Any], inputs: Any, v: Any = None, create_graph: bool = False) -> tuple[Any, Any]:
    """(output, v^T H) of a function with a single result."""
    with enable_grad():
        leaves = _leaves(inputs, create_graph)
        vectors = _vectors("vhp", v, leaves)
        output = _number("vhp", func(*leaves))
        gradients = _grads(output, leaves, None, True, True)
        result = _grads(gradients, leaves, vectors, create_graph, False)
    return output if create_graph else output.detach(), _like(inputs, result)


def hvp(func: Callable[..., Any], inputs: Any, v: Any = None, create_graph: bool = False) -> tuple[Any, Any]:
    """(output, H v); H is symmetric, so this is :func:`vhp`."""
    return vhp(func, inputs, v, create_graph)
