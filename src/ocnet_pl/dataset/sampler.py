"""Which image stands where in training: addressed by step, so that a resumed run reads on where it stopped."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Sampler

from ocnet_pl.randomness import derive_seed


class Draw(NamedTuple):
    """One training sample: which image of the set, and its position in the stream of all samples."""

    image: int
    position: int


class StepBatchSampler(Sampler[list[Draw]]):
    """Batches of one process, from batch number `start` to `stop`.

    Position k of the stream is image `k mod n` of a permutation drawn for pass `k div n`; batch number b of a
    process is a slice of the stream. Nothing depends on what was read before, on the number of workers, or
    (as a stream) on the number of processes.

    Args:
        num_images: n, of the training set.
        batch_size: images a process takes at a time.
        seed: of the run.
        start: number of the first batch, so many were read before a resume.
        stop: number of batches in the whole training.
        rank: of this process.
        world_size: number of processes.
    """

    def __init__(
        self,
        num_images: int,
        batch_size: int,
        seed: int,
        *,
        start: int = 0,
        stop: int,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self.num_images = num_images
        self.batch_size = batch_size
        self.seed = seed
        self.start = start
        self.stop = stop
        self.rank = rank
        self.world_size = world_size
        self._order: tuple[int, NDArray[np.int64]] = (-1, np.empty(0, np.int64))

    def __len__(self) -> int:
        """Batches of the whole training, those before `start` too: what Lightning counts against."""
        return self.stop

    def __iter__(self) -> Iterator[list[Draw]]:
        for batch in range(self.start, self.stop):
            first = (batch * self.world_size + self.rank) * self.batch_size
            yield [Draw(self._image(position), position) for position in range(first, first + self.batch_size)]

    def _image(self, position: int) -> int:
        epoch, offset = divmod(position, self.num_images)
        if self._order[0] != epoch:
            generator = np.random.default_rng(derive_seed(self.seed, "order", epoch))
            self._order = (epoch, generator.permutation(self.num_images))
        return int(self._order[1][offset])


class ShardSampler(Sampler[int]):
    """Every image exactly once over all processes: no padding with duplicates, which would count images twice."""

    def __init__(self, num_images: int, rank: int = 0, world_size: int = 1) -> None:
        self.indices = range(rank, num_images, world_size)

    def __len__(self) -> int:
        return len(self.indices)

    def __iter__(self) -> Iterator[int]:
        return iter(self.indices)
