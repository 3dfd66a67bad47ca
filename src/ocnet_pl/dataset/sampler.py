"""Order of the training images, addressed by step, so that a resumed run continues where it stopped."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Sampler

from ocnet_pl.randomness import derive_seed


class Draw(NamedTuple):
    """One training sample.

    Attributes:
        image: index of the image in the set.
        position: position in the stream of all samples.
        batch: index of the batch over all processes.
    """

    image: int
    position: int
    batch: int = 0


class Stream:
    """Endless stream of training images, indexed by position.

    Every group of images has its own stream: position k is image `k mod n` of a permutation drawn for pass `k div n`,
    so each pass through a group shows each of its images once. The groups take turns, one chunk of positions at a time,
    in an order drawn for each round; a round has as many chunks as the set fills. After any number of rounds, the turns
    of a group are proportional to its size, up to half a turn for every group. With one group this is a plain shuffled
    stream.

    Args:
        groups: group of every image, 0, 1, ...
        chunk: consecutive positions that come from one group.
        seed: seed of the run.
    """

    def __init__(self, groups: Sequence[int], chunk: int, seed: int) -> None:
        group_of = np.asarray(groups)
        self.members = [np.flatnonzero(group_of == group) for group in np.unique(group_of)]
        self.chunk = chunk
        self.round_length = -(-len(group_of) // chunk)
        self.seed = seed
        self._round: tuple[int, list[tuple[int, int]]] = (-1, [])
        self._orders: dict[int, tuple[int, NDArray[np.int64]]] = {}

    def __getitem__(self, position: int) -> int:
        chunk, offset = divmod(position, self.chunk)
        group, turn = self._turn(chunk)
        images_before, place = divmod(turn * self.chunk + offset, len(self.members[group]))
        return int(self._order(group, images_before)[place])

    def _turn(self, chunk: int) -> tuple[int, int]:
        """Group of a chunk, and the number of earlier chunks of that group."""
        index, place = divmod(chunk, self.round_length)
        if self._round[0] != index:
            turns, after = (self._shares(n * self.round_length) for n in (index, index + 1))
            groups = np.repeat(range(len(turns)), np.subtract(after, turns))
            self._round = (index, [])
            for group in np.random.default_rng(derive_seed(self.seed, "turns", index)).permutation(groups).tolist():
                self._round[1].append((group, turns[group]))
                turns[group] += 1
        return self._round[1][place]

    def _shares(self, chunks: int) -> list[int]:
        """Chunks divided in proportion to the sizes of the groups; no share shrinks when the number of chunks grows."""
        shares, images = [], sum(map(len, self.members))
        for members in self.members:
            share = (2 * chunks * len(members) + images) // (2 * images)
            shares.append(share)
            chunks, images = chunks - share, images - len(members)
        return shares

    def _order(self, group: int, index: int) -> NDArray[np.int64]:
        """Images of a group in the order of one pass."""
        if group not in self._orders or self._orders[group][0] != index:
            generator = np.random.default_rng(derive_seed(self.seed, "order", group, index))
            self._orders[group] = (index, generator.permutation(self.members[group]))
        return self._orders[group][1]


class StepBatchSampler(Sampler[list[Draw]]):
    """Batches of one process, from index `start` to `stop`: slices of a `Stream`.

    Batches do not depend on earlier reads or on the number of workers; the stream does not depend on the number of
    processes.

    Args:
        num_images: number of images of the training set.
        batch_size: images per batch of a process.
        seed: seed of the run.
        start: index of the first batch; after a resume, the number of batches read before.
        stop: number of batches in the whole training.
        rank: rank of this process.
        world_size: number of processes.
        groups: group of every image; images of two groups never share a chunk. None: one group.
        chunk: consecutive positions that come from one group: the global batch.
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
        groups: Sequence[int] | None = None,
        chunk: int = 1,
    ) -> None:
        self.stream = Stream(groups or [0] * num_images, chunk, seed)
        self.batch_size = batch_size
        self.start = start
        self.stop = stop
        self.rank = rank
        self.world_size = world_size

    def __len__(self) -> int:
        """Number of batches in the whole training, including those before `start`, as Lightning expects."""
        return self.stop

    def __iter__(self) -> Iterator[list[Draw]]:
        for step in range(self.start, self.stop):
            batch = step * self.world_size + self.rank
            positions = range(batch * self.batch_size, (batch + 1) * self.batch_size)
            yield [Draw(self.stream[position], position, batch) for position in positions]


class ShardSampler(Sampler[int]):
    """Every image exactly once over all processes, without duplicates as padding, which would count images twice."""

    def __init__(self, num_images: int, rank: int = 0, world_size: int = 1) -> None:
        self.indices = range(rank, num_images, world_size)

    def __len__(self) -> int:
        return len(self.indices)

    def __iter__(self) -> Iterator[int]:
        return iter(self.indices)
