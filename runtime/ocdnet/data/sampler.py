"""Which samples a process reads, and in which order."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np


class EpochSampler:
    """Training order: (epoch, index) pairs, a function of (seed, epoch) alone.

    The ranks' shards are equally long. They are disjoint, except that the first samples of the
    order come again where the last round would be too short. The number of workers plays no part.

    Args:
        length: number of samples of the dataset.
        seed: of the run.
        shuffle: whether each epoch has its own random order.
        rank: of this process.
        world_size: number of processes.
    """

    def __init__(
        self, length: int, seed: int, shuffle: bool, rank: int = 0, world_size: int = 1
    ) -> None:
        self.length, self.seed, self.shuffle = length, seed, shuffle
        self.rank, self.world_size = rank, world_size
        self.epoch = 0
        self._skip = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that the next iteration reads."""
        self.epoch = epoch

    def skip(self, n_samples: int) -> None:
        """Leave out this rank's first samples in the next iteration (a resumed epoch), once."""
        self._skip = n_samples

    def __len__(self) -> int:
        """This rank's samples in a whole epoch, skipped or not."""
        return math.ceil(self.length / self.world_size)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        order = np.arange(self.length)
        if self.shuffle:
            order = np.random.default_rng([self.seed, self.epoch]).permutation(self.length)
        padded = np.resize(order, len(self) * self.world_size)  # repeats from the start
        start, self._skip = self._skip, 0
        epoch = self.epoch
        for index in padded[self.rank :: self.world_size][start:].tolist():
            yield epoch, index


class ShardBatches:
    """Evaluation order: every index once over all ranks, in the same number of batches on each.

    Shards differ by one sample at most. Where one has no sample left its batch is empty: all ranks
    must take part in each step that they do together.

    Args:
        length: number of samples of the dataset.
        batch_size: samples of a batch.
        rank: of this process.
        world_size: number of processes.
    """

    def __init__(self, length: int, batch_size: int, rank: int = 0, world_size: int = 1) -> None:
        self._indices, self.batch_size = range(rank, length, world_size), batch_size
        self._longest = math.ceil(length / world_size)

    def __len__(self) -> int:
        return math.ceil(self._longest / self.batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        for start in range(0, self._longest, self.batch_size):
            yield list(self._indices[start : start + self.batch_size])
