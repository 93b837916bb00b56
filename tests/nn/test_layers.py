"""Every layer against PyTorch: input forms, options, values, gradients, running statistics, errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import chainrule
from chainrule import nn
from chainrule.nn import functional as F
from tests.nn.parity import OURS, THEIRS, assert_same

RNG = np.random.default_rng(7)


def normal(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape, np.float32)


def layers(nn: Any) -> list[tuple[Any, tuple[int, ...]]]:
    """(layer, shape of its input)."""
    conv, norm, pool = nn.Conv2d, nn.BatchNorm2d, nn.MaxPool2d
    cases: list[tuple[Any, tuple[int, ...]]] = [(nn.Linear(5, 4), (*lead, 5)) for lead in ((), (3,), (2, 3), (2, 1, 3))]
    cases += [(nn.Linear(5, 1, bias=False), (3, 5)), (nn.Linear(5, 4), (0, 5)), (nn.Identity(), (2, 3))]
    cases += [(conv(3, 4, 3), shape) for shape in ((2, 3, 7, 6), (3, 7, 6), (1, 3, 3, 3))]
    cases += [
        (conv(4, 6, (3, 2), stride=(2, 1), padding=(1, 0)), (2, 4, 8, 7)),
        (conv(4, 6, 3, padding="same", dilation=2), (2, 4, 8, 7)),
        (conv(4, 6, (4, 3), padding="same"), (2, 4, 8, 7)),
        (conv(4, 6, 3, padding="valid", bias=False), (2, 4, 8, 7)),
        (conv(4, 6, 3, groups=2), (2, 4, 8, 7)),
        (conv(4, 8, 3, groups=4, padding=1), (2, 4, 8, 7)),
        (conv(4, 6, 1), (2, 4, 5, 5)),
    ]
    cases += [(pool(2), (2, 3, 7, 6)), (pool(2), (3, 7, 6)), (pool((3, 2), stride=(2, 1), padding=1), (2, 3, 7, 6))]
    cases += [(pool(2, dilation=2, ceil_mode=True), (2, 3, 8, 7)), (pool(2, return_indices=True), (2, 3, 7, 6))]
    cases += [
        (nn.AvgPool2d(2), (3, 7, 6)),
        (nn.AvgPool2d(3, stride=2, padding=1), (2, 3, 7, 6)),
        (nn.AvgPool2d(3, 2, 1, ceil_mode=True, count_include_pad=False), (2, 3, 8, 6)),
        (nn.AvgPool2d(2, divisor_override=3), (2, 3, 7, 6)),
        (nn.AdaptiveAvgPool2d(1), (2, 3, 7, 6)),
        (nn.AdaptiveAvgPool2d((3, 5)), (2, 3, 7, 6)),
        (nn.AdaptiveAvgPool2d((None, 2)), (3, 7, 6)),
    ]
    activations = [nn.ReLU(), nn.LeakyReLU(0.2), nn.GELU(), nn.GELU("tanh"), nn.SiLU()]
    activations += [
        nn.Tanh(),
        nn.Sigmoid(),
        nn.LogSigmoid(),
        nn.ELU(0.7),
        nn.Softplus(2.0, 5.0),
    ]
    activations += [nn.Hardtanh(-0.5, 1.5), nn.ReLU6(), nn.Softmax(dim=-1), nn.Softmax(dim=0), nn.LogSoftmax(dim=1)]
    cases += [(nn.Sequential(activation), (4, 5, 3)) for activation in activations]
    for activation in (nn.ReLU(True), nn.LeakyReLU(0.1, True), nn.ELU(1.0, True), nn.SiLU(True), nn.ReLU6(True)):
        cases += [(nn.Sequential(nn.Linear(3, 3), activation), (4, 5, 3))]
    cases += [(nn.Flatten(), (2, 3, 4)), (nn.Flatten(0, 1), (2, 3, 4)), (nn.Unflatten(1, (2, -1)), (3, 6, 2))]
    cases += [(nn.Unflatten(-1, (2, 3)), (3, 6))]
    cases += [
        (nn.BatchNorm1d(3), (5, 3)),
        (nn.BatchNorm1d(3), (5, 3, 4)),
        (norm(3), (4, 3, 5, 2)),
        (norm(3), (1, 3, 2, 2)),
        (norm(3, eps=0.1, momentum=0.9), (4, 3, 5, 2)),
        (norm(3, momentum=None), (4, 3, 5, 2)),
        (norm(3, affine=False), (4, 3, 5, 2)),
        (norm(3, bias=False), (4, 3, 5, 2)),
        (norm(3, track_running_stats=False), (4, 3, 5, 2)),
        (nn.LayerNorm(6), (4, 6)),
        (nn.LayerNorm(6), (6,)),
        (nn.LayerNorm((3, 6)), (2, 4, 3, 6)),
        (nn.LayerNorm(6, eps=0.1, bias=False), (2, 3, 6)),
        (nn.LayerNorm(6, elementwise_affine=False), (2, 3, 6)),
    ]
    return cases


IDS = [f"{i}-{type(layer).__name__}-{shape}" for i, (layer, shape) in enumerate(layers(nn))]


@pytest.mark.parametrize("train", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("i", range(len(IDS)), ids=IDS)
def test_values_and_gradients(i: int, train: bool) -> None:
    assert_same(lambda lib: layers(lib.nn)[i][0], [normal(*layers(nn)[i][1])], train)


@pytest.mark.parametrize("shape", [(), (4,), (2, 3), (2, 0)])
@pytest.mark.parametrize("padding_idx", [None, 2, -1])
def test_embedding(shape: tuple[int, ...], padding_idx: int | None) -> None:
    ids = RNG.integers(0, 5, shape)
    ids[...] = np.where(RNG.random(shape) < 0.5, 2, ids)  # the same row often
    for dtype in (np.int64, np.int32):
        assert_same(lambda lib: lib.nn.Embedding(5, 3, padding_idx), [np.asarray(ids, dtype)])


def test_embedding_from_pretrained() -> None:
    table = chainrule.tensor(normal(4, 2))
    layer = nn.Embedding.from_pretrained(table, padding_idx=1)
    assert not layer.weight.requires_grad
    assert (layer.num_embeddings, layer.embedding_dim, layer.padding_idx) == (4, 2, 1)
    np.testing.assert_array_equal(layer(chainrule.tensor([1, 3])).numpy(), table.numpy()[[1, 3]])
    assert nn.Embedding.from_pretrained(table, freeze=False).weight.requires_grad


PROBABILITIES = RNG.dirichlet(np.ones(4), 6).astype(np.float32)
LABELS = np.array([0, 3, 1, 2, 3, -100])
LABELS_2D = np.array([[0, 3, 1], [2, 3, 0]])
WEIGHT = np.array([0.5, 2.0, 1.0, 0.25], np.float32)


class Loss:
    """A loss layer as a model of its first input, with the target held fixed."""

    def __new__(cls, lib: Any, loss: Any, target: np.ndarray) -> Any:
        class Model(lib.nn.Module):  # type: ignore[misc, name-defined]
            def __init__(self) -> None:
                super().__init__()
                self.loss = loss

            def forward(self, x: Any) -> Any:
                y = lib.tensor(target)
                return self.loss(x, y.to(x.dtype) if "float" in str(y.dtype) else y)

        return Model()


def losses(nn: Any, w: Any, how: dict[str, str]) -> list[tuple[Any, tuple[int, ...], np.ndarray]]:
    """(loss, shape of the input, target); ``w`` makes the weights."""
    weights = {"weight": w(WEIGHT), **how}
    return [
        (nn.CrossEntropyLoss(**how), (6, 4), LABELS),
        (nn.CrossEntropyLoss(**weights), (6, 4), LABELS),
        (nn.CrossEntropyLoss(**how, label_smoothing=0.2), (6, 4), LABELS),
        (nn.CrossEntropyLoss(**weights, label_smoothing=0.2), (6, 4), LABELS),
        (nn.CrossEntropyLoss(**weights), (6, 4), PROBABILITIES),
        (nn.CrossEntropyLoss(**how, ignore_index=3), (2, 4, 3), LABELS_2D),
        (nn.CrossEntropyLoss(**how), (4,), LABELS[1]),
        (nn.NLLLoss(**weights), (6, 4), LABELS),
        (nn.NLLLoss(**how, ignore_index=1), (2, 4, 3), LABELS_2D),
        (nn.MSELoss(**how), (6, 4), PROBABILITIES),
        (nn.L1Loss(**how), (6, 4), PROBABILITIES),
        (nn.SmoothL1Loss(**how, beta=0.7), (6, 4), PROBABILITIES),
        (nn.BCEWithLogitsLoss(**how), (6, 4), PROBABILITIES),
        (nn.BCEWithLogitsLoss(**weights, pos_weight=w(WEIGHT)), (6, 4), PROBABILITIES),
    ]


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("i", range(14))
def test_losses(i: int, reduction: str) -> None:
    how = {"reduction": reduction}
    _, shape, target = losses(nn, chainrule.tensor, how)[i]
    assert_same(lambda lib: Loss(lib, losses(lib.nn, lib.tensor, how)[i][0], target), [normal(*shape)])


def test_legacy_reduction_arguments() -> None:
    for arguments in ((True, True), (False, None), (None, False)):
        with pytest.warns(UserWarning, match="size_average and reduce"):
            ours = nn.MSELoss(*arguments)
        with pytest.warns(UserWarning, match="will be deprecated"):
            assert ours.reduction == THEIRS.nn.MSELoss(*arguments).reduction


@pytest.mark.parametrize("name", ["mse_loss", "l1_loss", "smooth_l1_loss"])
def test_losses_of_two_shapes_warn(name: str) -> None:
    x, y = normal(3, 1), normal(3)
    with pytest.warns(UserWarning, match="different to the input size"):
        ours = getattr(F, name)(chainrule.tensor(x), chainrule.tensor(y))
    with pytest.warns(UserWarning, match="different to the input size"):
        theirs = getattr(THEIRS.F, name)(THEIRS.tensor(x), THEIRS.tensor(y))
    np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=1e-6)


def test_num_batches_tracked_counts_training_alone() -> None:
    layer = nn.BatchNorm1d(2)
    for _ in range(3):
        layer(chainrule.tensor(normal(4, 2)))
    layer.eval()(chainrule.tensor(normal(4, 2)))
    assert layer.num_batches_tracked.item() == 3
    layer.reset_running_stats()
    assert layer.num_batches_tracked.item() == 0
    np.testing.assert_array_equal(layer.running_var.numpy(), [1, 1])


def test_cumulative_average_is_the_mean_over_batches() -> None:
    layer = nn.BatchNorm1d(2, momentum=None)
    batches = [normal(4, 2) for _ in range(3)]
    for batch in batches:
        layer(chainrule.tensor(batch))
    np.testing.assert_allclose(
        layer.running_mean.numpy(), np.mean([b.mean(0) for b in batches], 0), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("name", ["relu", "leaky_relu", "elu", "silu", "hardtanh", "relu6", "dropout"])
def test_in_place_changes_the_input_and_is_refused_where_backward_needs_it(name: str) -> None:
    x = normal(4, 5)
    chainrule.manual_seed(0)
    expected = getattr(F, name)(chainrule.tensor(x)).numpy()
    chainrule.manual_seed(0)
    changed = chainrule.tensor(x)
    assert getattr(F, name)(changed, inplace=True) is changed
    np.testing.assert_array_equal(changed.numpy(), expected)
    leaf = chainrule.tensor(x, requires_grad=True)
    with pytest.raises(RuntimeError, match="leaf Variable"):
        getattr(F, name)(leaf, inplace=True)
    np.testing.assert_array_equal(leaf.detach().numpy(), x)
    y = leaf.exp()  # its backward needs its result
    getattr(F, name)(y, inplace=True)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


def test_an_input_that_is_changed_in_place_is_changed_for_later_users() -> None:
    class Reuse:
        def __new__(cls, lib: Any) -> Any:
            class Model(lib.nn.Module):  # type: ignore[misc, name-defined]
                def __init__(self) -> None:
                    super().__init__()
                    self.fc, self.act = lib.nn.Linear(5, 5), lib.nn.ReLU(inplace=True)

                def forward(self, x: Any) -> Any:
                    x = self.fc(x)
                    y = self.act(x)
                    return x + y

            return Model()

    assert_same(Reuse, [normal(3, 5)])


def test_dropout() -> None:
    chainrule.manual_seed(1)
    layer = nn.Dropout(0.25)
    x = chainrule.ones(400, 100)
    x.requires_grad_()
    y = layer(x)
    values = y.detach().numpy()
    assert set(np.unique(values)) == {np.float32(0), np.float32(1 / 0.75)}
    assert abs((values == 0).mean() - 0.25) < 5 * np.sqrt(0.25 * 0.75 / values.size)
    y.sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), values)
    assert not np.array_equal(layer(x).detach().numpy(), values)
    chainrule.manual_seed(1)
    np.testing.assert_array_equal(layer(x).detach().numpy(), values)
    np.testing.assert_array_equal(layer.eval()(x).detach().numpy(), x.detach().numpy())
    np.testing.assert_array_equal(nn.Dropout(1.0)(x).detach().numpy(), np.zeros((400, 100)))


def bad_calls(lib: Any) -> list[Any]:
    """What both libraries refuse."""
    t, nn, F = lib.tensor, lib.nn, lib.F
    x2, x4 = t(np.ones((2, 3), np.float32)), t(np.ones((2, 3, 4, 4), np.float32))
    return [
        lambda: nn.BatchNorm2d(3)(x2),
        lambda: nn.BatchNorm1d(3)(x4),
        lambda: nn.BatchNorm1d(3)(t(np.ones((1, 3), np.float32))),
        lambda: nn.BatchNorm2d(4)(x4),
        lambda: nn.Linear(4, 2)(x2),
        lambda: nn.Conv2d(4, 2, 3)(x4),
        lambda: nn.Conv2d(3, 2, 5)(x4),
        lambda: nn.Conv2d(3, 2, 3)(x2),
        lambda: nn.LayerNorm(4)(x2),
        lambda: nn.MaxPool2d(5)(x4),
        lambda: nn.MaxPool2d(2, padding=2)(x4),
        lambda: nn.Embedding(3, 2)(t(np.array([3]))),
        lambda: nn.Embedding(3, 2)(t(np.array([-1]))),
        lambda: nn.Embedding(3, 2)(t(np.array([0.5], np.float32))),
        lambda: nn.CrossEntropyLoss()(x2, t(np.array([0, 3]))),
        lambda: nn.CrossEntropyLoss()(x2, t(np.array([0]))),
        lambda: nn.CrossEntropyLoss(reduction="most")(x2, t(np.array([0, 1]))),
        lambda: nn.NLLLoss()(x2, t(np.array([0, -1]))),
        lambda: nn.BCEWithLogitsLoss()(x2, x4),
        lambda: nn.Softmax(dim=2)(x2),
        lambda: nn.Unflatten(1, (2, 2))(x2),
        lambda: nn.Flatten(3)(x2),
        lambda: F.dropout(x2, 1.5),
        lambda: F.hardtanh(x2, 1.0, -1.0),
        lambda: F.gelu(x2, approximate="fast"),
    ]


@pytest.mark.parametrize("i", range(len(bad_calls(OURS))))
def test_bad_inputs_are_refused(i: int) -> None:
    with pytest.raises(Exception):  # noqa: B017, PT011  (that PyTorch refuses is the point, not how)
        bad_calls(THEIRS)[i]()
    with pytest.raises((ValueError, TypeError, IndexError, RuntimeError), match=r"\w+"):
        bad_calls(OURS)[i]()


@pytest.mark.parametrize(
    ("act", "match"),
    [
        (lambda: nn.Conv2d(1, 1, 3, padding_mode="reflect"), "argument 'padding_mode' is 'reflect', want 'zeros'"),
        (lambda: nn.Conv2d(1, 1, (3, 3, 3)), "argument 'kernel_size' is"),
        (lambda: nn.Embedding(3, 2, max_norm=1.0), "argument 'max_norm' is 1.0, want None"),
        (lambda: nn.Embedding(3, 2, sparse=True), "argument 'sparse' is True, want False"),
        (
            lambda: F.embedding(chainrule.tensor([0]), chainrule.ones(2, 2), scale_grad_by_freq=True),
            "scale_grad_by_freq",
        ),
    ],
)
def test_what_pytorch_has_and_we_lack_is_refused_by_name(act: Any, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        act()


def test_softmax_without_a_dimension_warns_and_chooses_pytorchs() -> None:
    for shape in ((3,), (2, 3), (2, 3, 4), (2, 3, 4, 5)):
        x = normal(*shape)
        with pytest.warns(UserWarning, match="Implicit dimension choice for softmax"):
            ours = F.softmax(chainrule.tensor(x))
        with pytest.warns(UserWarning, match="Implicit dimension"):
            theirs = THEIRS.F.softmax(THEIRS.tensor(x))
        np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=1e-6)
