"""Layers and nets on channels_last images: values of contiguous ones, torch's strides, the same bits where promised."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import kernels, nn
from chainrule.nn import functional as F

RNG = np.random.default_rng(4)


def last(x: Any) -> Any:
    return x.to(memory_format=cr.channels_last)


# name, arguments; whether both formats give the same bits
LAYERS: dict[str, tuple[Callable[[Any, Any], Any], bool]] = {
    "max_pool2d": (lambda f, x: f.max_pool2d(x, 2), True),
    "max_pool2d 3, stride 2": (lambda f, x: f.max_pool2d(x, 3, 2, 1), True),
    "max_pool2d dilated": (lambda f, x: f.max_pool2d(x, 2, 1, 1, 2), True),
    "avg_pool2d": (lambda f, x: f.avg_pool2d(x, 2), True),
    "avg_pool2d 3, stride 2": (lambda f, x: f.avg_pool2d(x, 3, 2, 1, count_include_pad=False), True),
    "adaptive_avg_pool2d 1": (lambda f, x: f.adaptive_avg_pool2d(x, 1), False),
    "adaptive_avg_pool2d 3x4": (lambda f, x: f.adaptive_avg_pool2d(x, (3, 4)), False),
    "relu": (lambda f, x: f.relu(x), True),
    "gelu": (lambda f, x: f.gelu(x), True),
    "silu": (lambda f, x: f.silu(x), True),
    "batch_norm": (lambda f, x: f.batch_norm(x, None, None, training=True), False),
    "scaled": (lambda f, x: x * x.mean((2, 3), keepdim=True).sigmoid(), True),
    "residual": (lambda f, x: f.relu(x + f.relu(x)) - x, True),
}


@pytest.mark.parametrize("channels", [2, 5, 16, 19, 40])
@pytest.mark.parametrize(("layer", "same_bits"), LAYERS.values(), ids=LAYERS)
def test_layers_take_either_format(layer: Any, same_bits: bool, channels: int) -> None:
    torch = pytest.importorskip("torch")
    array = RNG.standard_normal((3, channels, 9, 8)).astype(np.float32)
    first, images = cr.tensor(array, requires_grad=True), last(cr.tensor(array)).requires_grad_()
    y, z = layer(F, first), layer(F, images)
    t = torch.from_numpy(array).to(memory_format=torch.channels_last).requires_grad_()
    u = layer(torch.nn.functional, t)
    assert z.stride() == u.stride()
    assert y.is_contiguous()
    np.testing.assert_allclose(z.detach().numpy(), u.detach().numpy(), rtol=2e-5, atol=2e-6)
    seed = RNG.standard_normal(y.shape).astype(np.float32)
    y.backward(cr.tensor(seed))
    z.backward(cr.tensor(seed))  # a contiguous gradient, as a flatten gives it
    u.backward(torch.from_numpy(seed))
    assert images.grad is not None
    assert first.grad is not None
    assert images.grad.stride() == t.grad.stride()
    np.testing.assert_allclose(images.grad.numpy(), t.grad.numpy(), rtol=2e-4, atol=2e-5)
    if same_bits:
        np.testing.assert_array_equal(z.detach().numpy(), y.detach().numpy())
        np.testing.assert_array_equal(images.grad.numpy(), first.grad.numpy())


@pytest.mark.parametrize("shape", [(4, 1, 6, 6), (4, 7, 1, 1), (1, 5, 6, 6), (0, 3, 4, 4)])
def test_batch_norm_of_odd_shapes(shape: tuple[int, ...]) -> None:
    array = RNG.standard_normal(shape).astype(np.float32)
    training = array.size > 0
    ours, theirs = nn.BatchNorm2d(shape[1]).train(training), nn.BatchNorm2d(shape[1]).train(training)
    x, y = cr.tensor(array), last(cr.tensor(array))
    expected, got = ours(x).detach(), theirs(y).detach()
    assert got.stride() == y.stride()
    np.testing.assert_allclose(got.numpy(), expected.numpy(), rtol=1e-5, atol=1e-5)
    for a, b in zip(ours.buffers(), theirs.buffers(), strict=True):
        np.testing.assert_allclose(b.numpy(), a.numpy(), rtol=1e-5)


def test_gradients_where_formats_are_mixed() -> None:
    array = RNG.standard_normal((2, 6, 7, 5)).astype(np.float32)
    dy, mean, rstd = RNG.standard_normal(array.shape).astype(np.float32), array.mean((0, 2, 3)), np.ones(6, np.float32)
    lay = [lambda a: a, lambda a: last(cr.tensor(a)).numpy(), lambda a: np.asfortranarray(a)]
    dx = {}
    for i, f in enumerate(lay):
        for k, g in enumerate(lay):
            dx[i, k] = kernels.batch_norm_backward(f(dy), g(array), mean, rstd)[0]
            assert (dx[i, k].strides == last(cr.tensor(array)).numpy().strides) == (k == 1)
            np.testing.assert_allclose(dx[i, k], dx[0, 0], rtol=1e-4, atol=1e-5)
    y, indices = kernels.max_pool2d(array, 2)
    assert indices is not None
    for f in lay:
        for g in lay:
            np.testing.assert_array_equal(
                kernels.max_pool2d_backward(f(y), g(indices), array.shape),
                kernels.max_pool2d_backward(y, indices, array.shape),
            )
            np.testing.assert_array_equal(kernels.max_pool2d_gather(f(array), g(indices)), y)
            np.testing.assert_array_equal(kernels.relu_backward(f(dy), g(array)), kernels.relu_backward(dy, array))


def test_bad_indices_are_found_in_channels_last_too() -> None:
    dy = np.ones((1, 2, 2, 2), np.float32).transpose(0, 3, 1, 2).copy(order="K")
    indices = np.zeros((1, 2, 2, 2), np.int64)
    indices[0, 1, 1, 1] = 99
    with pytest.raises(ValueError, match="indices"):
        kernels.max_pool2d_backward(dy, indices, (1, 2, 4, 4))


class Block(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.down = nn.Conv2d(inputs, outputs, 1, stride) if stride > 1 else nn.Identity()

    def forward(self, x: Any) -> Any:
        y = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(y)) + self.down(x))


def net(seed: int = 0) -> nn.Module:
    """A small ResNet."""
    cr.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.MaxPool2d(2),
        Block(8, 8, 1),
        Block(8, 20, 2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(20, 5),
    )


def train(images: Any, compiled: bool, steps: int = 3, lr: float = 0.02) -> tuple[list[float], list[Any]]:
    model = net()
    optimizer = cr.optim.SGD(model.parameters(), lr=lr, momentum=0.9, weight_decay=1e-3)

    def step(x: Any, y: Any) -> Any:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
        return loss

    run: Any = cr.compile(step) if compiled else step
    labels = cr.arange(images.shape[0]) % 5
    losses = [float(run(images, labels).item()) for _ in range(steps)]
    return losses, [p.detach().numpy() for p in model.parameters()]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_net_trains_alike_in_both_formats(dtype: Any) -> None:
    before = cr.get_default_dtype()
    cr.set_default_dtype(dtype)
    try:
        images = cr.tensor(RNG.standard_normal((6, 3, 16, 16)).astype(dtype))
        losses, parameters = train(images, False)
        losses_last, parameters_last = train(last(images), False)
        compiled, parameters_compiled = train(last(images), True)
    finally:
        cr.set_default_dtype(before)
    tolerance = 2e-3 if dtype == np.float32 else 1e-9
    np.testing.assert_allclose(losses_last, losses, rtol=tolerance)
    for a, b in zip(parameters_last, parameters, strict=True):
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)
    assert compiled == losses_last
    for a, b in zip(parameters_compiled, parameters_last, strict=True):
        np.testing.assert_array_equal(a, b)


def test_activations_of_a_net_have_torchs_strides() -> None:
    torch = pytest.importorskip("torch")
    modules: list[tuple[str, Any]] = [
        ("Conv2d", (3, 8, 3, 1, 1)),
        ("BatchNorm2d", (8,)),
        ("ReLU", ()),
        ("Dropout", (0.5,)),
    ]
    modules += [("MaxPool2d", (2,)), ("Conv2d", (8, 6, 1)), ("GELU", ()), ("Conv2d", (6, 6, 3, 1, 1, 1, 6))]
    modules += [("AvgPool2d", (2,)), ("AdaptiveAvgPool2d", (1,)), ("Flatten", ())]
    x = RNG.standard_normal((2, 3, 12, 12)).astype(np.float32)
    ours, theirs = last(cr.tensor(x)), torch.from_numpy(x).to(memory_format=torch.channels_last)
    for name, arguments in modules:
        ours = getattr(nn, name)(*arguments)(ours)
        theirs = getattr(torch.nn, name)(*arguments)(theirs)
        assert ours.stride() == theirs.stride(), name


def test_gradcheck_in_channels_last() -> None:
    weight = cr.tensor(RNG.standard_normal((3, 2, 3, 3)), requires_grad=True)

    def f(x: Any, w: Any) -> Any:
        y = F.batch_norm(F.conv2d(last(x), w, padding=1), None, None, training=True)
        return F.avg_pool2d(F.max_pool2d(cr.tanh(y), 2), 2)

    x = cr.tensor(RNG.permutation(2 * 2 * 6 * 6).reshape(2, 2, 6, 6) / 20.0, requires_grad=True)
    assert cr.autograd.gradcheck(f, [x, weight])
    assert cr.autograd.gradcheck(lambda x: F.adaptive_avg_pool2d(last(x), (4, 3)), [x])


def test_compile_records_each_format() -> None:
    step = cr.compile(lambda x: F.relu(x) * 2 + x)
    images = cr.tensor(RNG.standard_normal((2, 3, 4, 5)).astype(np.float32))
    for _ in range(3):
        for x in (images, last(images), images.permute(3, 2, 1, 0)):
            y = step(x)
            assert y.stride() == (F.relu(x) * 2 + x).stride()
            np.testing.assert_array_equal(y.numpy(), (F.relu(x) * 2 + x).numpy())
    assert step.memory()["recordings"] == 3


def test_compiled_views_and_dropout_of_channels_last() -> None:
    def f(x: Any) -> Any:
        y = F.dropout(x, 0.3)[:, 1:, ::2]
        y = y.contiguous(memory_format=cr.channels_last) + y.permute(0, 1, 3, 2).permute(0, 1, 3, 2)
        return cr.cat([y, y * 2], 1), y.flatten(1)

    x = last(cr.tensor(RNG.standard_normal((2, 5, 4, 6)).astype(np.float32)))
    step = cr.compile(f)
    for i in range(3):
        cr.manual_seed(i)
        expected = f(x)
        cr.manual_seed(i)
        for a, b in zip(step(x), expected, strict=True):
            assert a.stride() == b.stride()
            np.testing.assert_array_equal(a.numpy(), b.numpy())


def test_run_takes_rows_of_channels_last_images() -> None:
    images = cr.tensor(RNG.standard_normal((11, 3, 8, 8)).astype(np.float32))
    labels = cr.arange(11) % 4

    def losses(images: Any, loop: bool) -> Any:
        cr.manual_seed(3)
        model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        optimizer = cr.optim.SGD(model.parameters(), lr=0.1)
        strides = set()

        def step(x: Any, y: Any) -> Any:
            strides.add(x.stride()[1:])
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            return loss

        if not loop:
            found = cr.compile(step).run(images, labels, batch_size=4, epochs=2)
        else:
            data = cr.utils.data.TensorDataset(images, labels)
            loader = cr.utils.data.DataLoader(data, 4, shuffle=True)
            found = np.array([float(step(*batch).item()) for _ in range(2) for batch in loader])
        assert len(strides) == 1
        return strides.pop(), found

    strides, found = losses(last(images), False)
    assert strides == (1, 24, 3)
    strides_of_loop, expected = losses(last(images), True)
    assert strides_of_loop == strides
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_allclose(found, losses(images, False)[1], rtol=1e-4)


@pytest.mark.parametrize("name", ["SGD", "AdamW"])
def test_parameters_that_a_user_made_channels_last(name: str) -> None:
    def train(convert: bool, late: bool = False) -> tuple[Any, Any]:
        cr.manual_seed(0)
        conv = nn.Conv2d(3, 4, 3)
        if convert:
            conv.weight = nn.Parameter(last(conv.weight.detach()))
            assert conv.weight.stride() == (27, 1, 9, 3)
        options = {"momentum": 0.9} if name == "SGD" else {}
        optimizer = getattr(cr.optim, name)(conv.parameters(), lr=0.1, **options)
        x = cr.tensor(np.random.default_rng(0).standard_normal((2, 3, 6, 6)).astype(np.float32))
        for i in range(5):
            if late and i == 2:  # its states are contiguous by now
                conv.weight.data = last(conv.weight.data)
            for _ in range(2):
                conv(x).square().mean().backward()
            nn.utils.clip_grad_norm_(conv.parameters(), 0.5)
            nn.utils.clip_grad_value_(conv.parameters(), 0.2)
            assert conv.weight.grad is not None
            assert late or conv.weight.grad.stride() == conv.weight.stride()
            optimizer.step()
            optimizer.zero_grad(set_to_none=i % 2 == 0)
        other = getattr(cr.optim, name)(conv.parameters(), lr=0.1, **options)
        other.load_state_dict(optimizer.state_dict())
        conv(x).square().mean().backward()
        other.step()
        return conv.state_dict()["weight"].numpy(), conv

    plain, _ = train(False)
    converted, conv = train(True)
    np.testing.assert_allclose(converted, plain, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(train(False, True)[0], plain, rtol=1e-5, atol=1e-6)
    other = nn.Conv2d(3, 4, 3)
    other.load_state_dict(conv.state_dict())
    np.testing.assert_array_equal(other.weight.detach().numpy(), converted)
