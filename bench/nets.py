"""Nets of the bench beyond a row of layers, written once for PyTorch's API: ``torch`` is that module or chainrule."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

Arrays = tuple[np.ndarray, ...]


@dataclass(frozen=True)
class Net:
    """``model(torch)`` makes the module, ``loss(torch, model, *batch)`` its loss on one batch.

    ``tolerance`` is what three steps' losses may differ by, relative. Adam's first steps are of size lr whatever a
    gradient's size: where rounding decides the sign of one near zero, a net with batch norm drifts within a few steps.
    """

    name: str
    model: Callable[[Any], Any]
    batch: Callable[[np.random.Generator], Arrays]
    loss: Callable[..., Any]
    tolerance: float = 1e-4


def classified(torch: Any, model: Any, x: Any, y: Any) -> Any:
    return torch.nn.functional.cross_entropy(model(x), y)


def next_token(torch: Any, model: Any, tokens: Any, targets: Any) -> Any:
    logits = model(tokens)
    return torch.nn.functional.cross_entropy(logits.reshape(-1, logits.shape[-1]), targets.reshape(-1))


def text(rng: np.random.Generator, rows: int, length: int, vocabulary: int) -> Arrays:
    tokens = rng.integers(0, vocabulary, (rows, length + 1))
    return np.ascontiguousarray(tokens[:, :-1]), np.ascontiguousarray(tokens[:, 1:])


def neumf(torch: Any) -> Any:
    """Neural matrix factorisation (He et al., 2017): tables of 6040 users and 3706 items."""
    nn = torch.nn

    class NeuMF(nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.user_product, self.item_product = nn.Embedding(6040, 32), nn.Embedding(3706, 32)
            self.user, self.item = nn.Embedding(6040, 32), nn.Embedding(3706, 32)
            self.mlp = nn.Sequential(
                nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 16), nn.ReLU()
            )
            self.out = nn.Linear(48, 1)

        def forward(self, user: Any, item: Any) -> Any:
            product = self.user_product(user) * self.item_product(item)
            deep = self.mlp(torch.cat([self.user(user), self.item(item)], 1))
            return self.out(torch.cat([product, deep], 1)).squeeze(1)

    return NeuMF()


def rated(torch: Any, model: Any, user: Any, item: Any, liked: Any) -> Any:
    return torch.nn.functional.binary_cross_entropy_with_logits(model(user, item), liked)


def gpt(torch: Any, vocabulary: int = 65, length: int = 64, width: int = 128, heads: int = 4, layers: int = 4) -> Any:
    nn, F = torch.nn, torch.nn.functional

    class Block(nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
            self.attn, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
            self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

        def forward(self, x: Any) -> Any:
            b, t, _ = x.shape
            q, k, v = (
                part.view(b, t, heads, width // heads).transpose(1, 2)
                for part in self.attn(self.ln_1(x)).split(width, dim=2)
            )
            seen = F.scaled_dot_product_attention(q, k, v, is_causal=True)
            x = x + self.proj(seen.transpose(1, 2).reshape(b, t, width))
            return x + self.mlp(self.ln_2(x))

    class GPT(nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.wte, self.wpe = nn.Embedding(vocabulary, width), nn.Embedding(length, width)
            self.h = nn.Sequential(*(Block() for _ in range(layers)))
            self.ln_f, self.head = nn.LayerNorm(width), nn.Linear(width, vocabulary, bias=False)

        def forward(self, tokens: Any) -> Any:
            return self.head(self.ln_f(self.h(self.wte(tokens) + self.wpe.weight)))

    return GPT()


def char_lstm(torch: Any, vocabulary: int = 65, width: int = 256) -> Any:
    nn = torch.nn

    class CharLSTM(nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Embedding(vocabulary, width)
            self.lstm = nn.LSTM(width, width, batch_first=True)
            self.head = nn.Linear(width, vocabulary)

        def forward(self, tokens: Any) -> Any:
            return self.head(self.lstm(self.embed(tokens))[0])

    return CharLSTM()


def resnet20(torch: Any) -> Any:
    """The CIFAR net of He et al. (2015), with 1x1 convolutions where the size changes."""
    nn, F = torch.nn, torch.nn.functional

    class Block(nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self, inside: int, outside: int, stride: int) -> None:
            super().__init__()
            self.conv1 = nn.Conv2d(inside, outside, 3, stride=stride, padding=1, bias=False)
            self.conv2 = nn.Conv2d(outside, outside, 3, padding=1, bias=False)
            self.bn1, self.bn2 = nn.BatchNorm2d(outside), nn.BatchNorm2d(outside)
            same = stride == 1 and inside == outside
            self.short = nn.Identity() if same else nn.Conv2d(inside, outside, 1, stride=stride, bias=False)

        def forward(self, x: Any) -> Any:
            h = F.relu(self.bn1(self.conv1(x)))
            return F.relu(self.bn2(self.conv2(h)) + self.short(x))

    blocks, inside = [], 16
    for outside, stride in ((16, 1), (32, 2), (64, 2)):
        for i in range(3):
            blocks.append(Block(inside, outside, stride if i == 0 else 1))
            inside = outside
    stem = (nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU())
    return nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))


def images(rng: np.random.Generator) -> Arrays:
    return rng.standard_normal((128, 3, 32, 32), dtype=np.float32), rng.integers(0, 10, 128)


def ratings(rng: np.random.Generator) -> Arrays:
    return rng.integers(0, 6040, 1024), rng.integers(0, 3706, 1024), rng.integers(0, 2, 1024).astype(np.float32)


NETS = [
    Net("NeuMF, batch 1024", neumf, ratings, rated),
    Net("nanoGPT, 4 layers, 128 wide, batch 12x64", gpt, lambda rng: text(rng, 12, 64, 65), next_token),
    Net("char LSTM, H 256, batch 32x64", char_lstm, lambda rng: text(rng, 32, 64, 65), next_token),
    Net("ResNet-20, batch 128", resnet20, images, classified, 2e-3),
]
