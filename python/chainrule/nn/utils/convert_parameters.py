"""All parameters as one vector, and back."""

from __future__ import annotations

from collections.abc import Iterable

import chainrule
from chainrule.tensor import Tensor

__all__ = ["parameters_to_vector", "vector_to_parameters"]


def parameters_to_vector(parameters: Iterable[Tensor]) -> Tensor:
    """The elements of all parameters, one after the other, as one vector on the tape."""
    return chainrule.cat([param.reshape(-1) for param in parameters])


def vector_to_parameters(vec: Tensor, parameters: Iterable[Tensor]) -> None:
    """Makes slices of ``vec`` the parameters' values, as :func:`parameters_to_vector` laid them out.

    Refuses a vector of another size before anything is changed.
    """
    if not isinstance(vec, Tensor):
        raise TypeError(f"expected chainrule.Tensor, but got: {type(vec).__name__}")
    params = list(parameters)
    total = sum(param.numel() for param in params)
    if vec.numel() != total:
        raise ValueError(f"vector_to_parameters: argument 'vec' has {vec.numel()} elements, want {total}")
    start = 0
    for param in params:
        end = start + param.numel()
        param.data = vec[start:end].detach().reshape(param.shape)
        start = end
