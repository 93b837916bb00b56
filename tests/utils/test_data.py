"""Data sets, samplers, collation, the DataLoader and the gather under it."""

from __future__ import annotations

import collections
from itertools import chain
from typing import Any

import numpy as np
import pytest

from chainrule import _core
from chainrule.random import Generator, manual_seed
from chainrule.tensor import Tensor
from chainrule.utils.data import (
    BatchSampler,
    ConcatDataset,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
    default_collate,
    default_convert,
    random_split,
)


def generator(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def pairs(n: int = 10) -> TensorDataset:
    return TensorDataset(np.arange(n * 6, dtype=np.float32).reshape(n, 2, 3), np.arange(n))


def labels(loader: DataLoader) -> list[list[int]]:
    return [y.numpy().tolist() for _, y in loader]


@pytest.mark.parametrize("dtype", ["f4", "f8", ">f4", "i1", "u1", "i8", "?", "f2", "c16", "S3", "M8[s]", "i4,f8"])
@pytest.mark.parametrize("shape", [(7,), (7, 1), (7, 5), (7, 3, 2), (7, 0)])
def test_gather_rows_of_any_dtype(dtype: str, shape: tuple[int, ...], rng: np.random.Generator) -> None:
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    x = np.frombuffer(rng.integers(0, 2, size, np.uint8).tobytes(), dtype).reshape(shape)
    index = np.array([6, 0, 0, -1, 3, -7])
    got = _core.gather_rows(x, index)
    assert got.dtype == x.dtype
    assert got.shape == (6, *shape[1:])
    assert got.tobytes() == x[index].tobytes()


@pytest.mark.parametrize(
    "view",
    [
        lambda x: x[::2],
        lambda x: x[::-1],
        lambda x: x[:, ::2],
        lambda x: x.T,
        lambda x: x[:, None],
        lambda x: np.broadcast_to(x[0], x.shape),
        lambda x: x[:0],
    ],
)
def test_gather_rows_of_views(view: Any, threads: int) -> None:
    x = view(np.arange(200).reshape(20, 10))
    index = np.arange(len(x))[::-1]
    np.testing.assert_array_equal(_core.gather_rows(x, index), x[index])


def test_gather_of_many_chunks(threads: int, rng: np.random.Generator) -> None:
    x = rng.standard_normal((1000, 777)).astype(np.float32)
    index = rng.integers(0, 1000, 5000)
    np.testing.assert_array_equal(_core.gather_rows(x, index), x[index])
    wide = rng.standard_normal((3, 200_000))
    np.testing.assert_array_equal(_core.gather_rows(wide, np.array([2, 0, 1, 2])), wide[[2, 0, 1, 2]])


@pytest.mark.parametrize(
    ("x", "index", "error", "match"),
    [
        (np.zeros((3, 2)), np.array([3]), IndexError, "index 3 at place 0 is out of range for 3 rows"),
        (np.zeros((3, 2)), np.array([0, -4]), IndexError, "index -4 at place 1"),
        (np.zeros((0, 2)), np.array([0]), IndexError, "index 0"),
        (np.zeros((3, 2)), np.array([2**62]), IndexError, "out of range"),
        (np.zeros((3, 2)), np.array([0], np.int32), TypeError, "'index'"),
        (np.zeros((3, 2)), np.array([0.0]), TypeError, "'index'"),
        (np.zeros((3, 2)), np.array([[0]]), ValueError, "'index'"),
        (np.zeros((3, 2)), [0], TypeError, "'index'"),
        (np.zeros(()), np.array([0]), ValueError, "'x'"),
        ([1, 2], np.array([0]), TypeError, "'x'"),
        (np.array([None]), np.array([0]), TypeError, "'x'"),
    ],
)
def test_gather_refuses(x: Any, index: Any, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=f"^gather_rows.*{match}"):
        _core.gather_rows(x, index)


@pytest.mark.parametrize(("drop_last", "sizes"), [(False, [4, 4, 2]), (True, [4, 4])])
def test_batches_in_order(drop_last: bool, sizes: list[int]) -> None:
    loader = DataLoader(pairs(), batch_size=4, drop_last=drop_last)
    assert len(loader) == len(sizes)
    seen = 0
    for (x, y), size in zip(loader, sizes, strict=True):
        assert isinstance(x, Tensor)
        assert x.shape == (size, 2, 3)
        assert (x.dtype, y.dtype) == (np.float32, np.int64)
        np.testing.assert_array_equal(y.numpy(), np.arange(seen, seen + size))
        np.testing.assert_array_equal(x.numpy()[:, 0, 0], 6 * y.numpy())
        seen += size


def test_a_batch_is_a_copy() -> None:
    data = pairs()
    next(iter(DataLoader(data, batch_size=4)))[0].numpy()[...] = -1
    assert data.tensors[0].numpy().min() == 0


def test_shuffle_is_a_permutation_by_the_seed_and_new_in_each_pass() -> None:
    first, second = (DataLoader(pairs(), 3, shuffle=True, generator=generator()) for _ in range(2))
    passes = [labels(first), labels(first)]
    assert [labels(second), labels(second)] == passes
    assert passes[0] != passes[1]
    for p in passes:
        assert sorted(chain(*p)) == list(range(10))
    assert labels(DataLoader(pairs(), 3, shuffle=True, generator=generator(1))) != passes[0]


def test_shuffle_follows_manual_seed() -> None:
    loader = DataLoader(pairs(), 3, shuffle=True)
    manual_seed(5)
    a = labels(loader)
    manual_seed(5)
    assert labels(loader) == a


class Squares(Dataset[Any]):
    def __init__(self, n: int) -> None:
        self.n = n

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, i: int) -> Any:
        if not 0 <= i < self.n:
            raise IndexError(i)
        return np.full(3, i * i, np.float32), i


def test_the_gather_and_the_samples_one_by_one_agree() -> None:
    n = 17
    whole = TensorDataset(np.stack([Squares(n)[i][0] for i in range(n)]), np.arange(n))
    subset = list(range(16, 0, -2))
    for a, b in ((Squares(n), whole), (Subset(Squares(n), subset), Subset(whole, subset))):
        for shuffle in (False, True):
            one, many = (DataLoader(d, 5, shuffle=shuffle, generator=generator(3)) for d in (a, b))
            for (x, y), (u, v) in zip(one, many, strict=True):
                np.testing.assert_array_equal(x.numpy(), u.numpy())
                np.testing.assert_array_equal(y.numpy(), v.numpy())
                assert (x.dtype, y.dtype) == (u.dtype, v.dtype)


def test_a_subset_of_a_subset_is_gathered() -> None:
    data = Subset(Subset(pairs(), [9, 7, 5, 3]), [3, 0])
    assert labels(DataLoader(data, 2)) == [[3, 9]]


def test_a_subset_out_of_range_is_refused() -> None:
    with pytest.raises(IndexError, match="index 99"):
        labels(DataLoader(Subset(pairs(), [99]), 1))


def test_collate_fn_gets_the_samples() -> None:
    loader = DataLoader(Squares(5), 2, collate_fn=lambda batch: [i for _, i in batch])
    assert list(loader) == [[0, 1], [2, 3], [4]]


def test_samplers() -> None:
    loader = DataLoader(pairs(), 2, sampler=SubsetRandomSampler([1, 3, 5], generator()))
    assert sorted(chain(*labels(loader))) == [1, 3, 5]
    assert len(loader) == 2
    loader = DataLoader(pairs(), batch_sampler=[[0, 9], [4]])
    assert labels(loader) == [[0, 9], [4]]
    loader = DataLoader(pairs(), batch_sampler=BatchSampler(SequentialSampler(range(10)), 4, True))
    assert labels(loader) == [[0, 1, 2, 3], [4, 5, 6, 7]]
    drawn = list(RandomSampler(range(3), replacement=True, num_samples=50, generator=generator()))
    assert set(drawn) == {0, 1, 2}
    assert len(drawn) == 50
    assert len(list(RandomSampler(range(3), num_samples=7, generator=generator()))) == 7


def test_without_batching() -> None:
    x, i = list(DataLoader(Squares(3), batch_size=None))[2]
    np.testing.assert_array_equal(x.numpy(), [4, 4, 4])
    assert i == 2


def test_streams() -> None:
    class Stream(IterableDataset[int]):
        def __iter__(self) -> Any:
            return iter(range(5))

    assert [b.numpy().tolist() for b in DataLoader(Stream(), 2)] == [[0, 1], [2, 3], [4]]
    assert [b.numpy().tolist() for b in DataLoader(Stream(), 2, drop_last=True)] == [[0, 1], [2, 3]]
    with pytest.raises(ValueError, match="IterableDataset"):
        DataLoader(Stream(), shuffle=True)


@pytest.mark.parametrize(
    "options",
    [
        {"batch_size": 0},
        {"batch_size": -1},
        {"batch_size": 2.5},
        {"batch_size": True},
        {"num_workers": -1},
        {"shuffle": True, "sampler": [0]},
        {"batch_sampler": [[0]], "batch_size": 2},
        {"batch_sampler": [[0]], "shuffle": True},
        {"batch_size": None, "drop_last": True},
    ],
)
def test_bad_options(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        DataLoader(pairs(), **options)


def test_worker_options_are_accepted() -> None:
    loader = DataLoader(pairs(), 5, num_workers=2, pin_memory=True, persistent_workers=True)
    assert labels(loader) == [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9]]


def test_tensor_dataset_refuses() -> None:
    with pytest.raises(ValueError, match="Size mismatch"):
        TensorDataset(np.zeros(3), np.zeros(4))
    with pytest.raises(ValueError, match="at least one"):
        TensorDataset()
    with pytest.raises(ValueError, match="no dimensions"):
        TensorDataset(np.zeros(()))


def test_random_split() -> None:
    parts = random_split(pairs(), [7, 3], generator())
    assert [len(p) for p in parts] == [7, 3]
    assert sorted([*parts[0].indices, *parts[1].indices]) == list(range(10))
    assert [len(p) for p in random_split(pairs(11), [0.5, 0.3, 0.2], generator())] == [6, 3, 2]
    for bad in ([7, 4], [0.5, 0.6], [11, -1]):
        with pytest.raises(ValueError, match="Sum of input lengths"):
            random_split(pairs(), bad)


def test_concatenation() -> None:
    both = Squares(3) + Squares(2)
    assert isinstance(both, ConcatDataset)
    assert [i for _, i in (both[k] for k in range(5))] == [0, 1, 2, 0, 1]
    assert both[-1][1] == 1
    with pytest.raises(IndexError):
        both[5]


Point = collections.namedtuple("Point", "x y")


def test_default_collate() -> None:
    a = default_collate([{"x": np.float32([1, 2]), "name": "p"}, {"x": np.float32([3, 4]), "name": "q"}])
    np.testing.assert_array_equal(a["x"].numpy(), [[1, 2], [3, 4]])
    assert a["name"] == ["p", "q"]
    point = default_collate([Point(1, 2.5), Point(3, 4.5)])
    assert (point.x.dtype, point.y.dtype) == (np.int64, np.float64)
    assert default_collate([True, False]).dtype == np.bool_
    assert default_collate([np.float32(1), np.float32(2)]).dtype == np.float32
    np.testing.assert_array_equal(default_collate([Tensor(np.ones(2)), Tensor(np.zeros(2))]).numpy(), [[1, 1], [0, 0]])
    with pytest.raises(RuntimeError, match="equal size"):
        default_collate([[1, 2], [1]])
    with pytest.raises(ValueError, match="shapes differ"):
        default_collate([np.zeros(2), np.zeros(3)])
    with pytest.raises(TypeError, match="found"):
        default_collate([object()])


def test_default_convert() -> None:
    x = np.zeros(3)
    assert default_convert((x, "a"))[0].numpy() is x
    assert default_convert({"k": [1]}) == {"k": [1]}
