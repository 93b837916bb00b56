"""Embedding against torch and central differences."""

from __future__ import annotations

import numpy as np
import pytest

import chainrule
from chainrule import ops
from tests.ops.against_torch import check, compare

WEIGHT = np.random.default_rng(0).standard_normal((6, 4))
INDEX = np.array([[0, 5, 5], [2, 5, 1]])


@pytest.mark.parametrize("padding", [None, 5, -6])
@pytest.mark.parametrize("kind", [np.int64, np.int32])
def test_embedding(kind: type, padding: int | None) -> None:
    torch = pytest.importorskip("torch")
    index = INDEX.astype(kind)
    i, j = chainrule.Tensor(index), torch.tensor(index)
    compare(
        lambda w: ops.embedding(i, w, padding),
        lambda w: torch.nn.functional.embedding(j, w, padding),
        [WEIGHT],
    )
    if padding is None:
        check(lambda w: ops.embedding(i, w), [WEIGHT])


def test_bad_input() -> None:
    w = chainrule.Tensor(WEIGHT)
    with pytest.raises(ValueError, match="embedding: argument 'index' is holding 6"):
        ops.embedding(chainrule.Tensor(np.array([6])), w)
    with pytest.raises(ValueError, match="padding_idx"):
        ops.embedding(chainrule.Tensor(INDEX), w, 6)
    with pytest.raises(TypeError, match="embedding: argument 'index'"):
        ops.embedding(chainrule.Tensor(np.array([1.0])), w)
