"""DataLoader: batches of a data set, in order or shuffled."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any

import numpy as np

from chainrule.random import Generator
from chainrule.utils.data.collate import default_collate, default_convert
from chainrule.utils.data.dataset import Dataset, IterableDataset, Subset, TensorDataset
from chainrule.utils.data.sampler import BatchSampler, RandomSampler, SequentialSampler

__all__ = ["DataLoader"]

Array = np.ndarray[Any, Any]


class DataLoader:
    """Iterates over batches of ``dataset``; each pass with ``shuffle`` has a new order.

    As ``torch.utils.data.DataLoader``, except that batches are always made in the calling thread: what configures
    workers and pinned memory (``num_workers``, ``pin_memory``, ``timeout``, ``worker_init_fn``,
    ``multiprocessing_context``, ``prefetch_factor``, ``persistent_workers``, ``pin_memory_device``) is accepted and
    ignored. A :class:`TensorDataset`, or a :class:`Subset` of one, is gathered in C++, a whole batch at a time.
    """

    def __init__(
        self,
        dataset: Dataset[Any],
        batch_size: int | None = 1,
        shuffle: bool | None = None,
        sampler: Iterable[Any] | None = None,
        batch_sampler: Iterable[Any] | None = None,
        num_workers: int = 0,
        collate_fn: Callable[[list[Any]], Any] | None = None,
        pin_memory: bool = False,
        drop_last: bool = False,
        timeout: float = 0,
        worker_init_fn: Callable[[int], None] | None = None,
        multiprocessing_context: Any = None,
        generator: Generator | None = None,
        *,
        prefetch_factor: int | None = None,
        persistent_workers: bool = False,
        pin_memory_device: str = "",
    ) -> None:
        if num_workers < 0:
            raise ValueError(f"DataLoader: argument 'num_workers' is {num_workers}, want 0 or more")
        stream = isinstance(dataset, IterableDataset)
        if stream and (shuffle or sampler is not None or batch_sampler is not None):
            raise ValueError("DataLoader with IterableDataset: expected no shuffle, sampler or batch_sampler")
        if sampler is not None and shuffle:
            raise ValueError("sampler option is mutually exclusive with shuffle")
        if batch_sampler is not None:
            if batch_size != 1 or shuffle or sampler is not None or drop_last:
                raise ValueError(
                    "batch_sampler option is mutually exclusive with batch_size, shuffle, sampler, and drop_last"
                )
            batch_size = None
        elif batch_size is None and drop_last:
            raise ValueError("batch_size=None option disables auto-batching and is mutually exclusive with drop_last")
        if sampler is None and not stream:
            sampler = RandomSampler(dataset, generator=generator) if shuffle else SequentialSampler(dataset)  # type: ignore[arg-type]
        if batch_size is not None:
            batch_sampler = BatchSampler(() if sampler is None else sampler, batch_size, drop_last)
        self.dataset = dataset
        self.batch_size = batch_size
        self.drop_last = drop_last
        self.sampler = sampler
        self.batch_sampler = batch_sampler
        self.num_workers = num_workers
        self.generator = generator
        self.collate_fn = collate_fn or (default_convert if batch_sampler is None else default_collate)

    def __iter__(self) -> Iterator[Any]:
        if isinstance(self.dataset, IterableDataset):
            return self._stream()
        if self.batch_sampler is None:
            return (self.collate_fn(self.dataset[i]) for i in self.sampler)  # type: ignore[union-attr]
        source = _in_memory(self.dataset)
        if source is not None and self.collate_fn is default_collate:
            return self._gathered(*source)
        return (self.collate_fn([self.dataset[i] for i in batch]) for batch in self.batch_sampler)

    def __len__(self) -> int:
        return len(self.sampler if self.batch_sampler is None else self.batch_sampler)  # type: ignore[arg-type]

    def _gathered(self, tensors: TensorDataset, rows: Array | None) -> Iterator[Any]:
        batches: Iterable[Any] = self.batch_sampler  # type: ignore[assignment]
        if isinstance(batches, BatchSampler) and isinstance(batches.sampler, (RandomSampler, SequentialSampler)):
            batches = batches.arrays(batches.sampler.order())
        for batch in batches:
            index = np.asarray(batch, np.int64)
            yield tensors.batch(index if rows is None else rows[index])

    def _stream(self) -> Iterator[Any]:
        samples = iter(self.dataset)
        if self.batch_size is None:
            yield from map(self.collate_fn, samples)
            return
        while batch := list(islice(samples, self.batch_size)):
            if len(batch) < self.batch_size and self.drop_last:
                return
            yield self.collate_fn(batch)


def _in_memory(dataset: Dataset[Any]) -> tuple[TensorDataset, Array | None] | None:
    """The TensorDataset under subsets of subsets, with the rows that they choose; None if it is something else."""
    rows: Array | None = None
    while type(dataset) is Subset:
        chosen = np.asarray(dataset.indices, np.int64)
        rows, dataset = chosen if rows is None else chosen[rows], dataset.dataset
    return (dataset, rows) if type(dataset) is TensorDataset else None
