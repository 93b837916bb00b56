"""The command: what it prints, what it refuses in one line, where it finds its data."""

from __future__ import annotations

import gzip
import hashlib
import http.server
import importlib.util
import re
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import chainrule
from chainrule.cli import datasets, main
from chainrule.cli.errors import UserError

pytest.importorskip("tqdm")


@pytest.fixture(autouse=True)
def _unchanged_threads() -> Iterator[None]:
    before = chainrule.get_num_threads()
    yield
    chainrule.set_num_threads(before)


@pytest.fixture(autouse=True)
def _nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No data set on this machine, no network: what a test needs it sets up."""
    monkeypatch.setattr(datasets, "DEBIAN", tmp_path / "no-debian")
    monkeypatch.setattr(datasets, "ADDRESS", "http://127.0.0.1:9/")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def idx(x: np.ndarray) -> bytes:
    return struct.pack(f">I{x.ndim}I", 0x800 + x.ndim, *x.shape) + x.astype(np.uint8).tobytes()


def contents(train: int = 200, test: int = 50) -> dict[str, bytes]:
    """A tiny data set of the right form: class k is a bright stripe k."""
    rng = np.random.default_rng(0)
    files = {}
    for name, n in (("train", train), ("t10k", test)):
        y = np.arange(n) % 10
        x = rng.integers(0, 50, (n, 28, 28))
        x[np.arange(n), 2 * y + 3] = 250
        files[f"{name}-images-idx3-ubyte"] = idx(x)
        files[f"{name}-labels-idx1-ubyte"] = idx(y)
    return files


def write(folder: Path, files: dict[str, bytes], packed: bool = False) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (folder / f"{name}.gz" if packed else folder / name).write_bytes(gzip.compress(data) if packed else data)
    return folder


def fails(capsys: Any, *argv: str) -> str:
    """The one line that the command says when it refuses, with exit code 2."""
    try:
        code: Any = main(argv)
    except SystemExit as stop:
        code = stop.code
    said = capsys.readouterr().err
    assert code == 2
    assert said.count("\n") == 1
    assert "Traceback" not in said
    return str(said)


def test_info(capsys: Any) -> None:
    assert main(["info"]) == 0
    said = capsys.readouterr().out
    for fact in (chainrule.__version__, *chainrule.isa_available(), "threads", "compiler", "-O3"):
        assert fact in said


@pytest.mark.parametrize("command", [[sys.executable, "-m", "chainrule"]])
def test_as_a_module(command: list[str]) -> None:
    done = subprocess.run([*command, "info"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("chainrule")
    done = subprocess.run([*command, "train", "cifar"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("argv", "match"),
    [
        ([], "command"),
        (["fly"], "fly"),
        (["train"], "dataset"),
        (["train", "digits", "--epochs", "0"], "--epochs"),
        (["train", "digits", "--epochs", "1.5"], "--epochs"),
        (["train", "digits", "--batch-size", "-3"], "--batch-size"),
        (["train", "digits", "--lr", "nan"], "--lr"),
        (["train", "digits", "--lr", "0"], "--lr"),
        (["train", "digits", "--lr", "fast"], "--lr"),
        (["train", "digits", "--threads", "0"], "--threads"),
        (["train", "digits", "--threads", "1000000"], "--threads"),
        (["train", "digits", "--seed", "-1"], "--seed"),
        (["train", "digits", "--model", "rnn"], "--model"),
        (["train", "digits", "--optimizer", "lion"], "--optimizer"),
        (["train", "digits", "--data", "."], "--data is for fashion-mnist"),
        (["train", "digits", "--save", "/no/such/folder/f.safetensors"], "no folder /no/such/folder"),
        (["train", "digits", "--save", "/"], "is a folder"),
        (["train", "fashion-mnist", "--data", "/no/such/folder"], "no such folder"),
        (["train", "fashion-mnist"], r"can't be reached.*--data DIR.*dataset-fashion-mnist"),
    ],
)
def test_refusals(argv: list[str], match: str, capsys: Any) -> None:
    assert re.search(match, fails(capsys, *argv))


@pytest.mark.parametrize("package", ["sklearn", "tqdm", "safetensors"])
def test_a_missing_package_is_named_with_the_extra(package: str, monkeypatch: Any, capsys: Any, tmp_path: Path) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: None if name == package else find(name, *more))
    for module in [m for m in sys.modules if m.split(".")[0] == package]:
        monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setitem(sys.modules, package, None)
    said = fails(capsys, "train", "digits", "--epochs", "1", "--save", str(tmp_path / "f.safetensors"))
    assert "pip install 'chainrule[demo]'" in said


BROKEN: dict[str, Any] = {
    "no-idx": b"hello",
    "empty": b"",
    "other-type": struct.pack(">I3I", 0xD03, 1, 28, 28) + bytes(4 * 784),
    "header-cut": struct.pack(">II", 0x803, 5),
    "short": lambda good: good[:-1],
    "long": lambda good: good + b"x",
    "huge": struct.pack(">I3I", 0x803, 2**32 - 1, 2**32 - 1, 2**32 - 1),
    "gzip-cut": lambda good: gzip.compress(good)[:-9],
    "gzip-broken": lambda good: gzip.compress(good)[:100] + b"\xff" * 50 + gzip.compress(good)[150:],
    "wrong-size": idx(np.zeros((200, 8, 8))),
    "wrong-count": idx(np.zeros((199, 28, 28))),
    "wrong-axes": idx(np.zeros((200, 784))),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_broken_images(kind: str, tmp_path: Path, capsys: Any) -> None:
    files = contents()
    name = "train-images-idx3-ubyte"
    files[name] = BROKEN[kind](files[name]) if callable(BROKEN[kind]) else BROKEN[kind]
    said = fails(capsys, "train", "fashion-mnist", "--data", str(write(tmp_path / "data", files)))
    assert name in said


def test_labels_out_of_range(tmp_path: Path, capsys: Any) -> None:
    files = contents()
    files["t10k-labels-idx1-ubyte"] = idx(np.full(50, 10))
    assert "up to 10" in fails(capsys, "train", "fashion-mnist", "--data", str(write(tmp_path / "data", files)))


def test_a_missing_file_is_named(tmp_path: Path, capsys: Any) -> None:
    files = contents()
    del files["t10k-labels-idx1-ubyte"]
    said = fails(capsys, "train", "fashion-mnist", "--data", str(write(tmp_path / "data", files)))
    assert "neither t10k-labels-idx1-ubyte nor t10k-labels-idx1-ubyte.gz" in said


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("place", ["data", "data/FashionMNIST/raw", "debian"])
def test_where_the_files_are_found(place: str, packed: bool, tmp_path: Path, monkeypatch: Any) -> None:
    write(tmp_path / place, contents(), packed)
    (tmp_path / "data").mkdir(exist_ok=True)
    monkeypatch.setattr(datasets, "DEBIAN", tmp_path / "debian")
    data = datasets.fashion_mnist(str(tmp_path / "data"))
    assert data.source == str(tmp_path / place)
    assert data.train_x.shape == (200, 1, 28, 28)
    assert (data.train_x.dtype, data.train_y.dtype) == (np.float32, np.int64)
    np.testing.assert_array_equal(data.test_y, np.arange(50) % 10)


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The published address, here: serves the tiny data set and notes what is asked for."""
    files = {f"/{name}.gz": gzip.compress(data) for name, data in contents().items()}
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(files[self.path])

        def log_message(self, *args: Any) -> None:
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(datasets, "ADDRESS", f"http://127.0.0.1:{server.server_port}/")
    sums = {name: hashlib.md5(files[f"/{name}.gz"]).hexdigest() for name in datasets.FILES}
    monkeypatch.setattr(datasets, "FILES", sums)
    yield asked
    server.shutdown()
    server.server_close()


def test_a_download_is_kept_in_the_cache(server: list[str], tmp_path: Path) -> None:
    first = datasets.fashion_mnist(None)
    assert first.source == str(tmp_path / "cache" / "chainrule" / "fashion-mnist")
    assert len(server) == 4
    assert len(datasets.fashion_mnist(None).train_y) == 200
    assert len(server) == 4
    broken = tmp_path / "cache" / "chainrule" / "fashion-mnist" / "t10k-labels-idx1-ubyte.gz"
    broken.write_bytes(b"broken")
    assert len(datasets.fashion_mnist(None).test_y) == 50
    assert server[4:] == ["/t10k-labels-idx1-ubyte.gz"]


def test_a_download_with_another_checksum_is_not_kept(server: list[str], tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setitem(datasets.FILES, "train-labels-idx1-ubyte", "0" * 32)
    with pytest.raises(UserError, match="MD5"):
        datasets.fashion_mnist(None)
    names = [p.name for p in (tmp_path / "cache" / "chainrule" / "fashion-mnist").iterdir()]
    assert names == ["train-images-idx3-ubyte.gz"]


def test_the_published_checksums_are_built_in() -> None:
    assert datasets.FILES["train-images-idx3-ubyte"] == "8d4fb7e6c68d591d4c3dfef9ec88bf0d"
    assert len(set(datasets.FILES.values())) == 4


def test_a_reader_that_leaves_is_no_error() -> None:
    """As with ``chainrule info | head -1``: no traceback, neither from print nor from the last flush."""
    with subprocess.Popen(
        [sys.executable, "-m", "chainrule", "info"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(60) == 1
