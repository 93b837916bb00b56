"""``chainrule train``: written as a script for PyTorch would be, and so an example of one for chainrule."""

from __future__ import annotations

import argparse
import importlib.util
import time
from pathlib import Path
from typing import Any

import chainrule
from chainrule import nn, optim
from chainrule.cli import datasets
from chainrule.cli.errors import UserError, missing
from chainrule.nn import functional as F
from chainrule.utils.data import DataLoader, TensorDataset

RATES = {"sgd": 0.1, "momentum": 0.02, "adam": 2e-3, "adamw": 2e-3}
EPOCHS = {"digits": 20, "fashion-mnist": 3}
BATCH_SIZES = {"digits": 32, "fashion-mnist": 64}


def make_model(kind: str, dataset: str) -> nn.Module:
    """An MLP, or a CNN of LeNet-5's class: two convolutions with pooling, then linear layers."""
    side = 8 if dataset == "digits" else 28
    if kind == "mlp":
        return nn.Sequential(
            nn.Flatten(),
            nn.Linear(side * side, 256),
            nn.ReLU(),
            nn.Linear(256, 128),
            nn.ReLU(),
            nn.Linear(128, 10),
        )
    if dataset == "digits":
        return nn.Sequential(
            nn.Conv2d(1, 32, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(32, 64, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(64 * 2 * 2, 10),
        )
    return nn.Sequential(
        nn.Conv2d(1, 16, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 5),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(32 * 5 * 5, 120),
        nn.ReLU(),
        nn.Linear(120, 84),
        nn.ReLU(),
        nn.Linear(84, 10),
    )


def make_optimizer(kind: str, model: nn.Module, lr: float) -> optim.Optimizer:
    if kind == "adam":
        return optim.Adam(model.parameters(), lr=lr)
    if kind == "adamw":
        return optim.AdamW(model.parameters(), lr=lr)
    return optim.SGD(model.parameters(), lr=lr, momentum=0.9 if kind == "momentum" else 0)


class LinearDecay:
    """Lowers the learning rate in even steps to 0."""

    def __init__(self, optimizer: optim.Optimizer, steps: int) -> None:
        self.optimizer, self.steps, self.taken = optimizer, steps, 0
        self.start = [group["lr"] for group in optimizer.param_groups]

    def step(self) -> None:
        self.taken += 1
        for group, start in zip(self.optimizer.param_groups, self.start, strict=True):
            group["lr"] = start * max(0.0, 1 - self.taken / self.steps)


def train_epoch(model: nn.Module, optimizer: optim.Optimizer, schedule: LinearDecay, batches: Any) -> float:
    """One pass over the data; returns the mean loss."""
    model.train()
    total, count = 0.0, 0
    for x, y in batches:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        schedule.step()
        total += loss.item() * len(y)
        count += len(y)
    return total / count


@chainrule.no_grad()
def accuracy(model: nn.Module, loader: DataLoader) -> float:
    """The share of the loader's samples that the model gets right."""
    model.eval()
    right, count = 0, 0
    for x, y in loader:
        right += (model(x).argmax(1) == y).sum().item()
        count += len(y)
    return right / count


def train(args: argparse.Namespace) -> None:
    try:
        from tqdm import tqdm
    except ImportError:
        raise missing("tqdm", "train") from None
    if args.dataset == "digits" and args.data is not None:
        raise UserError("--data is for fashion-mnist: the digits come with scikit-learn")
    if args.save:
        check_savable(Path(args.save))
    if args.threads:
        chainrule.set_num_threads(args.threads)
    chainrule.manual_seed(args.seed)
    data = datasets.digits() if args.dataset == "digits" else datasets.fashion_mnist(args.data)
    batch_size = args.batch_size or BATCH_SIZES[args.dataset]
    loader = DataLoader(TensorDataset(data.train_x, data.train_y), batch_size=batch_size, shuffle=True)
    held_out = DataLoader(TensorDataset(data.test_x, data.test_y), batch_size=1000)
    model = make_model(args.model, args.dataset)
    lr, epochs = args.lr or RATES[args.optimizer], args.epochs or EPOCHS[args.dataset]
    optimizer = make_optimizer(args.optimizer, model, lr)
    schedule = LinearDecay(optimizer, epochs * len(loader))
    print(
        f"{args.dataset} from {data.source}: {len(data.train_y)} samples, {len(data.test_y)} held out; "
        f"{args.model}, {sum(p.numel() for p in model.parameters())} parameters; {args.optimizer}; "
        f"{chainrule.get_num_threads()} threads",
        flush=True,
    )
    for epoch in range(1, epochs + 1):
        begin = time.perf_counter()
        batches = tqdm(loader, f"epoch {epoch}/{epochs}", leave=False, disable=None)
        loss = train_epoch(model, optimizer, schedule, batches)
        rate = len(data.train_y) / (time.perf_counter() - begin)
        print(
            f"epoch {epoch}/{epochs}  loss {loss:.4f}  held-out accuracy {100 * accuracy(model, held_out):.2f} %  "
            f"{rate:.0f} samples/s",
            flush=True,
        )
    if args.save:
        try:
            chainrule.save(model.state_dict(), args.save)
        except OSError as error:
            raise UserError(f"--save {args.save}: {error.strerror or error}") from None
        print(f"saved {args.save}")


def check_savable(path: Path) -> None:
    """Before the training, not after it."""
    if importlib.util.find_spec("safetensors") is None:
        raise missing("safetensors", "--save")
    if path.is_dir():
        raise UserError(f"--save {path}: is a folder, want a file's name")
    if not path.parent.is_dir():
        raise UserError(f"--save {path}: there is no folder {path.parent}")
