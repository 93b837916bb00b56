"""save and load: round trips, refusals, and crashes at every step of writing."""

from __future__ import annotations

import io
import os
import pickle
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chainrule import optim
from chainrule.serialization import load, save
from chainrule.tensor import Tensor

pytest.importorskip("safetensors")

DTYPES = ["f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "?"]


def weights(value: float = 1.0) -> dict[str, Tensor]:
    return {"layer.weight": Tensor(np.full((3, 4), value, np.float32)), "layer.bias": Tensor(np.zeros(3))}


def assert_same(a: Any, b: Any) -> None:
    assert type(a) is type(b)
    if isinstance(a, Tensor):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a.numpy(), b.numpy())
    elif isinstance(a, dict):
        assert list(a) == list(b)
        for k in a:
            assert_same(a[k], b[k])
    elif isinstance(a, (list, tuple)):
        assert len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            assert_same(x, y)
    else:
        assert a == b or (a != a and b != b)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(), (0,), (3, 0, 2), (1,), (2, 3, 5)])
def test_every_dtype_and_shape(dtype: str, shape: tuple[int, ...], tmp_path: Path, rng: np.random.Generator) -> None:
    x = np.asarray(rng.integers(0, 2, shape)).astype(dtype)
    save({"x": x, "y": Tensor(x)}, tmp_path / "f")
    for loaded in load(tmp_path / "f").values():
        assert loaded.dtype == x.dtype
        assert loaded.shape == shape
        np.testing.assert_array_equal(loaded.numpy(), x)


@pytest.mark.parametrize("view", [lambda x: x.T, lambda x: x[::-1, ::2], lambda x: x.astype(">f8")])
def test_views_are_saved_as_they_look(view: Any, tmp_path: Path) -> None:
    x = view(np.arange(24.0).reshape(4, 6))
    save({"x": x}, str(tmp_path / "f"))
    np.testing.assert_array_equal(load(str(tmp_path / "f"))["x"].numpy(), x)


def test_loaded_tensors_may_be_written(tmp_path: Path) -> None:
    save(weights(), tmp_path / "f")
    x = load(tmp_path / "f")["layer.weight"].numpy()
    x[...] = 7
    assert load(tmp_path / "f")["layer.weight"].numpy().max() == 1


def test_other_tools_read_the_file_and_we_read_theirs(tmp_path: Path) -> None:
    import safetensors.numpy as other

    save(weights(), tmp_path / "ours")
    theirs = other.load_file(tmp_path / "ours")
    assert set(theirs) == set(weights())
    other.save_file(theirs, tmp_path / "theirs")
    assert_same(dict(sorted(load(tmp_path / "theirs").items())), dict(sorted(weights().items())))


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW"])
def test_a_whole_checkpoint(name: str, tmp_path: Path) -> None:
    p = Tensor(np.ones(3, np.float32), requires_grad=True)
    p.grad = Tensor(np.ones(3, np.float32))
    options: dict[str, Any] = {"momentum": 0.9} if name == "SGD" else {"betas": (0.5, 0.75), "amsgrad": True}
    opt = getattr(optim, name)([p], lr=0.1, **options)
    opt.step()
    checkpoint = {"model": weights(), "optimizer": opt.state_dict(), "epoch": 3, "best": float("nan"), "note": "é\n"}
    save(checkpoint, tmp_path / "f")
    loaded = load(tmp_path / "f")
    assert_same(loaded, checkpoint)
    other = getattr(optim, name)([Tensor(p.detach().numpy().copy(), requires_grad=True)], lr=9.0)
    other.load_state_dict(loaded["optimizer"])
    assert_same(other.state_dict(), opt.state_dict())


def test_names_that_collide_when_joined(tmp_path: Path) -> None:
    tree = {"a": {"b": Tensor(np.zeros(1))}, "a.b": Tensor(np.ones(1)), 1: {"x": None}, "1": {"x": [True, (2, 0.5)]}}
    save(tree, tmp_path / "f")
    assert_same(load(tmp_path / "f"), tree)


def test_file_objects() -> None:
    buffer = io.BytesIO()
    save({"model": weights(), "epoch": 1}, buffer)
    buffer.seek(0)
    assert_same(load(buffer, map_location="cpu", weights_only=True), {"model": weights(), "epoch": 1})


@pytest.mark.parametrize(
    ("bad", "match"),
    [
        (np.zeros(3), "'obj'"),
        ([1], "'obj'"),
        ({"x": np.array([None])}, "'x' has dtype object"),
        ({"x": np.array(["a"])}, "'x' has dtype"),
        ({"x": {"y": object()}}, "'x.y' is a object"),
        ({"x": {(1, 2): 3}}, "a key of x"),
        ({"x": {1.5: 3}}, "a key of x"),
    ],
)
def test_what_cannot_be_saved_leaves_the_old_file(bad: Any, match: str, tmp_path: Path) -> None:
    save(weights(1), tmp_path / "f")
    with pytest.raises(TypeError, match=match):
        save(bad, tmp_path / "f")
    assert_same(dict(sorted(load(tmp_path / "f").items())), dict(sorted(weights(1).items())))
    assert os.listdir(tmp_path) == ["f"]


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_an_error_while_writing_leaves_the_old_file(step: str, tmp_path: Path, monkeypatch: Any) -> None:
    save(weights(1), tmp_path / "f")

    def fails(*_: Any) -> None:
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(os, step, fails)
        with pytest.raises(OSError, match="disk full"):
            save(weights(2), tmp_path / "f")
    assert load(tmp_path / "f")["layer.weight"].numpy().max() == 1
    assert os.listdir(tmp_path) == ["f"]


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_process_that_dies_while_writing_leaves_the_old_file(step: str, tmp_path: Path) -> None:
    save(weights(1), tmp_path / "f")
    program = (
        "import os, sys, numpy as np\n"
        "from chainrule.serialization import save\n"
        f"os.{step} = lambda *a: os._exit(9)\n"
        "save({'layer.weight': np.full((3, 4), 2.0)}, sys.argv[1])\n"
    )
    assert subprocess.run([sys.executable, "-c", program, str(tmp_path / "f")], check=False).returncode == 9
    assert load(tmp_path / "f")["layer.weight"].numpy().max() == 1


def test_the_file_reaches_the_disk_before_its_name_does(tmp_path: Path, monkeypatch: Any) -> None:
    done: list[str] = []
    fsync, replace = os.fsync, os.replace

    def traced_fsync(descriptor: int) -> None:
        done.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        fsync(descriptor)

    def traced_replace(a: Any, b: Any) -> None:
        assert Path(a).parent == Path(b).parent
        done.append("rename")
        replace(a, b)

    monkeypatch.setattr(os, "fsync", traced_fsync)
    monkeypatch.setattr(os, "replace", traced_replace)
    save(weights(), tmp_path / "f")
    assert done == ["file", "rename", "folder"]


def test_permissions_are_the_users_default(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        save(weights(), tmp_path / "f")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "f").stat().st_mode) == 0o644


def test_bad_files_are_refused(tmp_path: Path) -> None:
    save(weights(), tmp_path / "good")
    good = (tmp_path / "good").read_bytes()
    bad = {
        "empty": b"",
        "short": good[:-1],
        "long": good + b"x",
        "header": good[:20],
        "huge": b"\xff" * 8 + good[8:],
        "pickle": pickle.dumps({"x": 1}),
        "text": b"hello, this is no such file",
    }
    for name, content in bad.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=f"load: .*{name} is not a whole safetensors file"):
            load(tmp_path / name)
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "nowhere")


def test_without_the_package_the_error_names_the_extra(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setitem(sys.modules, "safetensors", None)
    monkeypatch.setitem(sys.modules, "safetensors.numpy", None)
    for call in (lambda: save(weights(), tmp_path / "f"), lambda: load(tmp_path / "f")):
        with pytest.raises(ImportError, match=r"pip install 'chainrule\[safetensors\]'"):
            call()
