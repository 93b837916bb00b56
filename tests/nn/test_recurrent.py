"""nn.LSTM against PyTorch: outputs, states, gradients, options, errors."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

import chainrule
from chainrule import nn
from tests.nn.parity import assert_same

torch = pytest.importorskip("torch")
RNG = np.random.default_rng(0)


def normal(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


def layer(*args: Any, final: int | None = None, **kwargs: Any) -> Any:
    """(x, h_0, c_0) -> (output, h_n, c_n); with ``final`` the output that comes first, and so makes the loss."""

    def make(lib: Any) -> Any:
        class Model(lib.nn.Module):  # type: ignore[misc]
            def __init__(self) -> None:
                super().__init__()
                self.lstm = lib.nn.LSTM(*args, **kwargs)

            def forward(self, x: Any, *state: Any) -> Any:
                out, (h, c) = self.lstm(x, state or None)
                found = [out, h, c]
                return tuple(found if final is None else [found.pop(final), *found])

        return Model()

    return make


OPTIONS: list[dict[str, Any]] = [
    {},
    {"bias": False},
    {"num_layers": 3},
    {"bidirectional": True},
    {"num_layers": 2, "bidirectional": True, "batch_first": True},
    {"num_layers": 2, "bidirectional": True, "bias": False},
]


@pytest.mark.parametrize("final", [None, 1, 2])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_outputs_and_gradients(options: dict[str, Any], final: int | None) -> None:
    count = options.get("num_layers", 1) * (2 if options.get("bidirectional") else 1)
    make = layer(5, 7, final=final, **options)
    assert_same(make, [normal(4, 3, 5)])
    batch = 4 if options.get("batch_first") else 3
    assert_same(make, [normal(4, 3, 5), normal(count, batch, 7), normal(count, batch, 7)])


@pytest.mark.parametrize("batch_first", [False, True])
def test_one_sequence_without_a_batch(batch_first: bool) -> None:
    make = layer(5, 7, 2, batch_first=batch_first)
    assert_same(make, [normal(4, 5)])
    assert_same(make, [normal(4, 5), normal(2, 7), normal(2, 7)])


def test_larger_than_tiles() -> None:
    assert_same(layer(40, 65, batch_first=True), [normal(33, 9, 40)])
    assert_same(layer(3, 70, bidirectional=True), [normal(5, 40, 3)])


def test_dropout_between_layers() -> None:
    chainrule.manual_seed(0)
    model = nn.LSTM(4, 6, 2, dropout=0.5)
    x = chainrule.randn(3, 2, 4)
    with chainrule.no_grad():
        assert (model(x)[0].numpy() != model(x)[0].numpy()).any()
        model.eval()
        np.testing.assert_array_equal(model(x)[0].numpy(), model(x)[0].numpy())
    assert_same(layer(4, 6, 2, dropout=0.5), [normal(3, 2, 4)], train=False)
    with pytest.warns(UserWarning, match="dropout option adds dropout after all but last"):
        nn.LSTM(4, 6, dropout=0.5)


def test_initialisation_is_uniform() -> None:
    chainrule.manual_seed(0)
    for p in nn.LSTM(40, 25, 2).parameters():
        assert np.abs(p.numpy(force=True)).max() <= 0.2
        assert 0.09 < p.numpy(force=True).std() < 0.14


def truncated(lib: Any, detach: bool, weights: dict[str, np.ndarray], x: np.ndarray) -> dict[str, np.ndarray]:
    """The gradients of a sum over three pieces of a sequence, the state carried along with or without its history."""
    model = lib.nn.LSTM(3, 4)
    model.load_state_dict({k: lib.tensor(v) for k, v in weights.items()})
    total: Any = 0.0
    state = None
    for piece in np.split(x, 3):
        out, state = model(lib.tensor(piece), state)
        total = total + (out * out).sum()
        if detach:
            state = tuple(s.detach() for s in state)
    total.backward()
    return {k: p.grad.numpy() for k, p in model.named_parameters()}


@pytest.mark.parametrize("detach", [False, True])
def test_back_propagation_through_pieces(detach: bool) -> None:
    from tests.nn.parity import OURS, THEIRS

    x = normal(6, 2, 3)
    weights = {k: v.numpy() for k, v in THEIRS.nn.LSTM(3, 4).state_dict().items()}
    ours, theirs = (truncated(lib, detach, weights, x) for lib in (OURS, THEIRS))
    for key, expected in theirs.items():
        np.testing.assert_allclose(ours[key], expected, rtol=1e-4, atol=1e-5, err_msg=key)
    if not detach:
        model = nn.LSTM(3, 4)
        model.load_state_dict({k: chainrule.tensor(v) for k, v in weights.items()})
        out, _ = model(chainrule.tensor(x))
        (out * out).sum().backward()
        for key, p in model.named_parameters():
            np.testing.assert_allclose(p.grad.numpy(), ours[key], rtol=1e-4, atol=1e-5, err_msg=key)


def test_the_two_biases_gradients_are_apart() -> None:
    model = nn.LSTM(3, 4)
    for _ in range(2):  # the second is added to the first, in place
        model(chainrule.tensor(normal(5, 2, 3)))[0].sum().backward()
    a, b = model.bias_ih_l0.grad.numpy(), model.bias_hh_l0.grad.numpy()
    assert not np.shares_memory(a, b)
    np.testing.assert_array_equal(a, b)


def test_weights_and_helpers() -> None:
    ours, theirs = nn.LSTM(3, 4, 2, bidirectional=True), torch.nn.LSTM(3, 4, 2, bidirectional=True)
    ours.flatten_parameters()
    shapes = [[[tuple(w.shape) for w in group] for group in m.all_weights] for m in (ours, theirs)]
    assert shapes[0] == shapes[1]


X = chainrule.zeros(4, 3, 5)
H = chainrule.zeros(1, 3, 7)
BAD: list[tuple[tuple[Any, ...], type[Exception], str]] = [
    ((np.zeros((4, 3, 5)),), TypeError, "LSTM: argument 'input' is a ndarray"),
    ((X[0, 0],), ValueError, "LSTM: Expected input to be 2D or 3D, got 1D"),
    ((X[..., :4],), ValueError, r"LSTM: input.size\(-1\) must be equal to input_size. Expected 5, got 4"),
    ((X[:0],), ValueError, "LSTM: Expected sequence length to be larger than 0"),
    ((X, H), TypeError, "LSTM: argument 'hx' is a Tensor, want a pair"),
    ((X, (H, H[:, :2])), ValueError, r"LSTM: Expected hidden\[1\] size \(1, 3, 7\), got \[1, 2, 7\]"),
    ((X[0], (H, H)), ValueError, r"LSTM: Expected hidden\[0\] size \(1, 7\), got \[1, 3, 7\]"),
]


@pytest.mark.parametrize(("args", "error", "match"), BAD)
def test_bad_input(args: Any, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=f"^{match}"):
        nn.LSTM(5, 7)(*args)


def test_projections_are_refused() -> None:
    with pytest.raises(ValueError, match=r"^LSTM: argument 'proj_size' is 2, want 0"):
        nn.LSTM(3, 4, proj_size=2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        nn.LSTM(3, 4, 2, dropout=0.5)
