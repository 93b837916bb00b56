"""Matrix products and linear layers. The order of every sum is fixed by its length alone: docs/numerics.md."""

import numpy as np

from chainrule import _core

__all__ = ["matmul"]

Array = np.ndarray


def matmul(a: Array, b: Array, transpose_a: bool = False, transpose_b: bool = False) -> Array:
    """C = A B for matrices of shape (..., m, k) and (..., k, n), leading dimensions broadcast; C is (..., m, n).

    With ``transpose_a`` (``transpose_b``) the array is (..., k, m) ((..., n, k)) and its last two dimensions are
    swapped. Neither the flags nor transposed views cost a copy. A sum of no terms (k = 0) is 0; NaN and infinity
    spread as IEEE 754 says.

    Raises ``TypeError`` for dtypes that aren't both float32 or both float64, and ``ValueError`` where the inner sizes
    differ or the leading ones don't broadcast.
    """
    return _core.matmul(a, b, transpose_a, transpose_b)
