"""The data sets of ``chainrule train``, as arrays: where they come from and how they are checked."""

from __future__ import annotations

import gzip
import hashlib
import math
import os
import urllib.request
import zlib
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

from chainrule.cli.errors import UserError, missing

Array = np.ndarray[Any, Any]


class Data(NamedTuple):
    """Images (N, 1, H, W) in float32, labels (N,) in int64; to train on, and held out."""

    source: str
    train_x: Array
    train_y: Array
    test_x: Array
    test_y: Array


def digits() -> Data:
    """scikit-learn's 1797 digits of 8 x 8 pixels; every fifth of a fixed shuffle is held out."""
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise missing("scikit-learn", "train digits") from None
    x, y = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(y))
    images = (x.reshape(-1, 1, 8, 8) / 8 - 1).astype(np.float32)
    held_out, rest = order[::5], np.delete(order, np.s_[::5])
    labels = y.astype(np.int64)
    return Data("scikit-learn", images[rest], labels[rest], images[held_out], labels[held_out])


# Fashion-MNIST: https://github.com/zalandoresearch/fashion-mnist, with the published MD5 sums.
ADDRESS = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"
DEBIAN = Path("/usr/share/datasets/fashion-mnist")  # the package dataset-fashion-mnist
FILES = {
    "train-images-idx3-ubyte": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
    "train-labels-idx1-ubyte": "25c81989df183df01b3e8a0aad5dffbe",
    "t10k-images-idx3-ubyte": "bef4ecab320f06d8554ea6380940ec79",
    "t10k-labels-idx1-ubyte": "bb300cfdad3c16e7a12a480ee83cd310",
}


def fashion_mnist(folder: str | None) -> Data:
    """70,000 pictures of clothes, 28 x 28, in 10 classes: from ``folder``, Debian's, the cache, or the network."""
    if folder is not None and not Path(folder).is_dir():
        raise UserError(f"--data {folder}: there is no such folder")
    given = [] if folder is None else [Path(folder), Path(folder) / "FashionMNIST" / "raw"]
    for place in (*given, DEBIAN):
        if found := _files_in(place):
            break
    else:
        found = _downloaded()
    train_x, train_y, test_x, test_y = (read_idx(path) for path in found)
    for x, y, at in ((train_x, train_y, found[0]), (test_x, test_y, found[2])):
        if x.ndim != 3 or y.ndim != 1 or len(x) != len(y):
            raise UserError(f"{at}: holds an array of shape {x.shape} for labels of shape {y.shape}")
        if x.shape[1:] != (28, 28) or len(x) == 0:
            raise UserError(f"{at}: holds {len(x)} images of {x.shape[1]} x {x.shape[2]}, want 28 x 28")
        if y.max() > 9:
            raise UserError(f"{at}: its labels go up to {y.max()}, want 0 to 9")
    return Data(
        str(found[0].parent), _scaled(train_x), train_y.astype(np.int64), _scaled(test_x), test_y.astype(np.int64)
    )


def _scaled(images: Array) -> Array:
    """To mean 0 and deviation 1, those of the training images."""
    return ((images[:, None] / np.float32(255) - np.float32(0.286)) / np.float32(0.353)).astype(np.float32)


def _files_in(folder: Path) -> list[Path] | None:
    """The four files there, plain or gzip; None if none is there."""
    found = [next((p for p in (folder / name, folder / f"{name}.gz") if p.is_file()), None) for name in FILES]
    absent = [name for name, path in zip(FILES, found, strict=True) if path is None]
    if len(absent) == len(FILES):
        return None
    if absent:
        raise UserError(f"{folder}: has some files of Fashion-MNIST, but neither {absent[0]} nor {absent[0]}.gz")
    return [path for path in found if path is not None]


def read_idx(path: Path) -> Array:
    """An IDX file of bytes, plain or gzip: 0, 0, 8, the number of axes, their sizes (big-endian), the bytes."""
    try:
        with open(path, "rb") as raw:
            packed = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            return _idx(gzip.open(raw) if packed else raw, path)  # type: ignore[arg-type]
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UserError(f"{path}: not a whole gzip file: {error}") from None
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}") from None


def _idx(stream: IO[bytes], path: Path) -> Array:
    head = stream.read(4)
    if len(head) < 4 or head[:3] != b"\0\0\x08" or not 1 <= head[3] <= 4:
        raise UserError(f"{path}: not an IDX file of bytes")
    shape = tuple(np.frombuffer(stream.read(4 * head[3]), ">u4").tolist())
    size = math.prod(shape)
    if len(shape) != head[3] or size > 2**31:
        raise UserError(f"{path}: not a whole IDX file")
    content = stream.read(size + 1)
    if len(content) != size:
        raise UserError(
            f"{path}: holds {'more' if len(content) > size else 'less'} than the {size} bytes that it declares"
        )
    return np.frombuffer(content, np.uint8).reshape(shape)


def cache_folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "chainrule" / "fashion-mnist"


def _downloaded() -> list[Path]:
    """The four files in the user's cache; those not there are fetched, and kept if their checksums are right."""
    folder = cache_folder()
    paths = []
    for name, checksum in FILES.items():
        path = folder / f"{name}.gz"
        if not (path.is_file() and _md5(path.read_bytes()) == checksum):
            _fetch(f"{ADDRESS}{name}.gz", path, checksum)
        paths.append(path)
    return paths


def _md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def _fetch(address: str, path: Path, checksum: str) -> None:
    print(f"fetching {address}", flush=True)
    try:
        with urllib.request.urlopen(address, timeout=30) as answer:
            data = answer.read()
    except OSError as error:
        raise UserError(
            f"Fashion-MNIST is not here and {address} can't be reached ({error}): give its folder with --data DIR, or "
            "install the Debian package dataset-fashion-mnist"
        ) from None
    if _md5(data) != checksum:
        raise UserError(f"{address}: its MD5 is {_md5(data)}, want {checksum}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        temporary.write_bytes(data)
        temporary.replace(path)
    except OSError as error:
        raise UserError(f"{path}: can't be written: {error.strerror}") from None
