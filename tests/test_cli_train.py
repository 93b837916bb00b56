"""The command trains: every model and optimizer, to the accuracy that the README promises."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import chainrule
from chainrule.cli import datasets, main
from tests.test_cli import contents, write

pytest.importorskip("tqdm")


@pytest.fixture(autouse=True)
def _unchanged_threads() -> Iterator[None]:
    before = chainrule.get_num_threads()
    yield
    chainrule.set_num_threads(before)


def accuracies(said: str) -> list[float]:
    return [float(x) for x in re.findall(r"held-out accuracy ([\d.]+) %  \d+ samples/s", said)]


@pytest.mark.parametrize("model", ["mlp", "cnn"])
@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adam", "adamw"])
def test_every_model_and_optimizer_learns(model: str, optimizer: str, tmp_path: Path, capsys: Any) -> None:
    folder = write(tmp_path / "data", contents())
    argv = ["train", "fashion-mnist", "--data", str(folder), "--model", model, "--optimizer", optimizer]
    assert main([*argv, "--epochs", "6", "--batch-size", "10", "--threads", "2"]) == 0
    assert accuracies(capsys.readouterr().out)[-1] >= 90


def test_digits_reach_97_percent(capsys: Any) -> None:
    pytest.importorskip("sklearn")
    assert main(["train", "digits"]) == 0
    said = capsys.readouterr().out
    assert len(accuracies(said)) == 20
    assert accuracies(said)[-1] >= 97


def test_the_seed_decides_everything(capsys: Any) -> None:
    pytest.importorskip("sklearn")
    runs = []
    for seed, threads in (("3", "1"), ("3", "2"), ("4", "2")):
        assert main(["train", "digits", "--epochs", "2", "--seed", seed, "--threads", threads]) == 0
        runs.append(re.findall(r"loss [\d.]+  held-out accuracy [\d.]+", capsys.readouterr().out))
    assert runs[0] == runs[1] != runs[2]


def test_saved_weights_load_into_the_model(tmp_path: Path, capsys: Any) -> None:
    pytest.importorskip("sklearn")
    pytest.importorskip("safetensors")
    from chainrule.cli.train import accuracy, make_model
    from chainrule.utils.data import DataLoader, TensorDataset

    file = tmp_path / "model.safetensors"
    assert main(["train", "digits", "--epochs", "1", "--save", str(file)]) == 0
    said = accuracies(capsys.readouterr().out)[-1]
    model = make_model("cnn", "digits")
    model.load_state_dict(chainrule.load(file))
    data = datasets.digits()
    loader = DataLoader(TensorDataset(data.test_x, data.test_y), batch_size=1000)
    assert f"{100 * accuracy(model, loader):.2f}" == f"{said:.2f}"
