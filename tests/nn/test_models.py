"""Whole models, one source for both libraries: same outputs, gradients and buffers as PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import chainrule
from tests.nn.parity import OURS, THEIRS, assert_same, model_with, torch


def mlp(lib: Any) -> Any:
    nn = lib.nn
    return nn.Sequential(
        nn.Flatten(), nn.Linear(64, 33), nn.ReLU(), nn.Linear(33, 20), nn.Tanh(), nn.Linear(20, 17, bias=False),
        nn.GELU(), nn.LayerNorm(17), nn.Linear(17, 10),
    )  # fmt: skip


def lenet(lib: Any) -> Any:
    nn, F = lib.nn, lib.F

    class LeNet(nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.conv1 = nn.Conv2d(1, 6, 5, padding=2)
            self.conv2 = nn.Conv2d(6, 16, kernel_size=5)
            self.fc1 = nn.Linear(16 * 3 * 3, 30)
            self.fc2 = nn.Linear(30, 10)

        def forward(self, x: Any) -> Any:
            x = F.max_pool2d(F.relu(self.conv1(x)), 2)
            x = F.avg_pool2d(F.relu(self.conv2(x)), 2, stride=1, padding=1)
            x = x.view(x.size(0), -1)
            return self.fc2(F.silu(self.fc1(x)))

    return LeNet()


def resnet(lib: Any) -> Any:
    nn, F = lib.nn, lib.F

    class Block(nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self, channels: int, out: int, stride: int) -> None:
            super().__init__()
            self.conv1 = nn.Conv2d(channels, out, 3, stride, 1, bias=False)
            self.bn1 = nn.BatchNorm2d(out)
            self.conv2 = nn.Conv2d(out, out, 3, 1, "same", groups=2, bias=False)
            self.bn2 = nn.BatchNorm2d(out, momentum=None)
            self.downsample = nn.Sequential(nn.Conv2d(channels, out, 1, stride, bias=False), nn.BatchNorm2d(out))

        def forward(self, x: Any) -> Any:
            y = F.relu(self.bn1(self.conv1(x)), inplace=True)
            return F.relu(self.bn2(self.conv2(y)) + self.downsample(x))

    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), Block(8, 8, 1), Block(8, 16, 2), nn.LeakyReLU(0.1),
        nn.AdaptiveAvgPool2d((1, 1)), nn.Flatten(), nn.BatchNorm1d(16, affine=False), nn.Linear(16, 10),
    )  # fmt: skip


def transformer(lib: Any) -> Any:
    nn, F = lib.nn, lib.F

    class Attention(nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self, dim: int, heads: int) -> None:
            super().__init__()
            self.heads = heads
            self.qkv = nn.Linear(dim, 3 * dim)
            self.out = nn.Linear(dim, dim)

        def forward(self, x: Any) -> Any:
            batch, time, dim = x.shape
            q, k, v = self.qkv(x).view(batch, time, 3, self.heads, dim // self.heads).permute(2, 0, 3, 1, 4)
            scores = (q @ k.transpose(-2, -1)) / (dim // self.heads) ** 0.5
            mixed = F.softmax(scores, dim=-1) @ v
            return self.out(mixed.transpose(1, 2).reshape(batch, time, dim))

    class Block(nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self, dim: int) -> None:
            super().__init__()
            self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
            self.attention = Attention(dim, 3)
            self.mlp = nn.Sequential(nn.Linear(dim, 4 * dim), nn.GELU(approximate="tanh"), nn.Linear(4 * dim, dim))

        def forward(self, x: Any) -> Any:
            x = x + self.attention(self.norm1(x))
            return x + self.mlp(self.norm2(x))

    class Transformer(nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.token = nn.Embedding(50, 24, padding_idx=0)
            self.position = nn.Parameter(self.token.weight[:11].detach().clone())
            self.blocks = nn.ModuleList([Block(24) for _ in range(2)])
            self.head = nn.Linear(24, 10)

        def forward(self, ids: Any) -> Any:
            x = self.token(ids) + self.position
            for block in self.blocks:
                x = block(x)
            return self.head(x.mean(dim=1))

    return Transformer()


MODELS: dict[str, tuple[Any, Any]] = {
    "mlp": (mlp, lambda rng: rng.standard_normal((13, 8, 8), np.float32)),
    "lenet": (lenet, lambda rng: rng.standard_normal((5, 1, 12, 12), np.float32)),
    "resnet": (resnet, lambda rng: rng.standard_normal((6, 3, 9, 9), np.float32)),
    "transformer": (transformer, lambda rng: rng.integers(0, 50, (4, 11))),
}


@pytest.mark.parametrize("train", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("name", MODELS)
def test_outputs_gradients_and_buffers_are_pytorchs(name: str, train: bool) -> None:
    make, inputs = MODELS[name]
    assert_same(make, [inputs(np.random.default_rng(1))], train)


@pytest.mark.parametrize("name", MODELS)
def test_our_state_loads_into_pytorch(name: str) -> None:
    make, inputs = MODELS[name]
    ours, theirs = make(OURS).eval(), make(THEIRS).eval()
    theirs.load_state_dict({k: torch.from_numpy(v.numpy().copy()) for k, v in ours.state_dict().items()})
    x = inputs(np.random.default_rng(1))
    with chainrule.no_grad(), torch.no_grad():
        got, expected = ours.double()(wide(OURS, x)).numpy(), theirs.double()(wide(THEIRS, x)).numpy()
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-12 * np.abs(expected).max())


def wide(lib: Any, x: np.ndarray) -> Any:
    return lib.tensor(x.astype(np.float64) if x.dtype == np.float32 else x)


@pytest.mark.parametrize("name", ["mlp", "lenet", "resnet"])
def test_steps_of_gradient_descent_follow_pytorch(name: str) -> None:
    """In float64, where rounding does not hide a wrong update of a parameter or of a running statistic."""
    make, inputs = MODELS[name]
    rng = np.random.default_rng(2)
    torch.manual_seed(5)
    state = make(THEIRS).state_dict()
    models = [(lib, model_with(lib, make, state, "float64", True)) for lib in (OURS, THEIRS)]
    for _ in range(3):
        x = inputs(rng)
        target = rng.integers(0, 10, len(x))
        for lib, model in models:
            model.zero_grad()
            lib.F.cross_entropy(model(wide(lib, x)), lib.tensor(target)).backward()
            with lib.no_grad():
                for p in model.parameters():
                    p -= 0.1 * p.grad
    (_, ours), (_, theirs) = models
    for key, value in theirs.state_dict().items():
        np.testing.assert_allclose(ours.state_dict()[key].numpy(), value.numpy(), rtol=1e-9, atol=1e-11, err_msg=key)
