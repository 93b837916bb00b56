"""Matrix products and linear layers. The order of every sum is fixed by its length alone: docs/numerics.md."""

from typing import Any

import numpy as np

from chainrule import _core

__all__ = ["linear", "linear_backward", "matmul"]

Array = np.ndarray


def linear(
    x: Array,
    weight: Array,
    bias: Array | None = None,
    activation: str = "none",
    return_preactivation: bool = False,
    residual: Array | None = None,
) -> Array | tuple[Array, Array]:
    """y = f(x W^T + bias + residual) for x of shape (..., k), W (n, k), bias (n,): y is (..., n), as is ``residual``.

    ``activation`` is ``"none"``, ``"relu"``, ``"leaky_relu"`` (slope 0.01), ``"gelu"``, ``"gelu_tanh"``, ``"silu"``,
    ``"sigmoid"`` or ``"tanh"``, computed while the sums are in the cache. With ``return_preactivation`` the result is
    (y, z), z = x W^T + bias + residual.

    Raises ``TypeError`` for dtypes that aren't all float32 or all float64, ``ValueError`` for shapes that don't fit.
    """
    result: Any = _core.linear(x, weight, bias, activation, return_preactivation, residual)
    return result  # type: ignore[no-any-return]


def linear_backward(
    dy: Array,
    x: Array,
    weight: Array,
    activation: str = "none",
    saved: Array | None = None,
    needs: tuple[bool, bool, bool] = (True, True, True),
    into: tuple[Array | None, Array | None] = (None, None),
    input_activation: str = "none",
    input_saved: Array | None = None,
) -> tuple[Array | None, Array | None, Array | None]:
    """Gradients (dx, dW, dbias) of :func:`linear`; None for those that ``needs`` leaves out.

    With dz = dy f'(z): dx = dz W, dW = dz^T x, dbias = the sum of dz over all but the last dimension. ``saved`` is what
    f' is computed from, of dy's shape: the output y for relu, leaky_relu, sigmoid and tanh, the pre-activation z for
    gelu, gelu_tanh and silu; nothing for ``"none"``. ``into`` are C-contiguous arrays that dW and dbias are added to,
    and which are returned in their place. The sum's bits are those of an addition afterwards for at most 256 rows
    (docs/numerics.md); beyond, dW's may differ in the last place. ``input_activation`` is the activation that made x,
    ``input_saved`` what its derivative g' is computed from, of x's shape: then dx = (dz W) g'(input_saved), the
    gradient of what that activation was applied to.
    """
    return _core.linear_backward(dy, x, weight, activation, saved, needs, into, input_activation, input_saved)


def matmul(a: Array, b: Array, transpose_a: bool = False, transpose_b: bool = False) -> Array:
    """C = A B for matrices of shape (..., m, k) and (..., k, n), leading dimensions broadcast; C is (..., m, n).

    With ``transpose_a`` (``transpose_b``) the array is (..., k, m) ((..., n, k)) and its last two dimensions are
    swapped. Neither the flags nor transposed views cost a copy. A sum of no terms (k = 0) is 0; NaN and infinity
    spread as IEEE 754 says.

    Raises ``TypeError`` for dtypes that aren't both float32 or both float64, and ``ValueError`` where the inner sizes
    differ or the leading ones don't broadcast.
    """
    return _core.matmul(a, b, transpose_a, transpose_b)
