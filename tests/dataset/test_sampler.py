"""Order of the training images, and shards of the evaluation images."""

from collections import Counter
from itertools import chain
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from ocnet_pl.dataset.cityscapes import Cityscapes
from ocnet_pl.dataset.sampler import Draw, StepBatchSampler, Stream

ORIENTATIONS = [int(number % 4 == 0) for number in range(50)]
"""Group of every image: 13 of one, 37 of the other."""


def stream(**arguments: object) -> list[list[Draw]]:
    return list(StepBatchSampler(**{"num_images": 10, "batch_size": 4, "seed": 3, "stop": 12} | arguments))


def places(batches: list[list[Draw]]) -> list[tuple[int, int]]:
    """Image and position of every draw."""
    return [draw[:2] for draw in chain(*batches)]


def test_a_resumed_stream_continues_the_unbroken_one() -> None:
    assert stream(start=5) == stream()[5:]


def test_every_pass_shows_every_image_once() -> None:
    draws = list(chain(*stream(stop=10)))
    passes = [sorted(draw.image for draw in draws[i : i + 10]) for i in range(0, 40, 10)]
    assert passes == [list(range(10))] * 4
    orders = {tuple(draw.image for draw in draws[i : i + 10]) for i in range(0, 40, 10)}
    assert len(orders) == 4


@pytest.mark.parametrize("groups", [None, [0, 1] * 5])
@pytest.mark.parametrize("world_size", [2, 4])
def test_processes_share_one_stream(world_size: int, groups: list[int] | None) -> None:
    arguments = {"groups": groups, "chunk": 4}
    shards = [
        stream(batch_size=4 // world_size, rank=rank, world_size=world_size, **arguments) for rank in range(world_size)
    ]
    together = [places(list(batches)) for batches in zip(*shards, strict=True)]
    assert together == [places([batch]) for batch in stream(**arguments)]


@pytest.mark.parametrize("groups", [None, [0, 1] * 5])
def test_accumulated_micro_batches_are_the_same_stream(groups: list[int] | None) -> None:
    arguments = {"groups": groups, "chunk": 4}
    assert places(stream(batch_size=2, stop=24, **arguments)) == places(stream(**arguments))


def test_a_batch_has_one_index_over_all_processes() -> None:
    shards = [stream(batch_size=2, rank=rank, world_size=2) for rank in range(2)]
    numbers = [{draw.batch for draw in batch} for batches in zip(*shards, strict=True) for batch in batches]
    assert numbers == [{number} for number in range(24)]


def test_seeds_differ() -> None:
    assert stream(seed=1) != stream(seed=2)


@pytest.mark.parametrize("world_size", [1, 2, 3, 5])
def test_evaluation_counts_every_image_once(world_size: int, cityscapes_tree: Path) -> None:
    seen: list[int] = []
    for rank in range(world_size):
        data = Cityscapes(str(cityscapes_tree), num_workers=0)
        data.trainer = SimpleNamespace(global_rank=rank, world_size=world_size)
        seen += [int(batch["index"]) for batch in data.evaluation_dataloader("val")]
    assert sorted(seen) == list(range(5))


def grouped(**arguments: object) -> list[list[Draw]]:
    settings = {"num_images": 50, "batch_size": 4, "groups": ORIENTATIONS, "chunk": 4, "stop": 200}
    return stream(**(settings | arguments))


def test_a_batch_is_of_one_group() -> None:
    batches = [{ORIENTATIONS[draw.image] for draw in batch} for batch in grouped()]
    assert set(map(len, batches)) == {1}
    drawn = [group for batch in batches[:39] for group in batch]
    assert drawn != sorted(drawn), "the groups take turns"
    assert drawn[:13] != drawn[13:26], "in an order drawn anew"


def test_a_resumed_stream_of_groups_continues() -> None:
    for start in (1, 12, 13, 57):
        assert grouped(start=start) == grouped()[start:]


def test_every_pass_through_a_group_shows_each_of_its_images_once() -> None:
    draws = list(chain(*grouped()))
    for group in (0, 1):
        own = [draw.image for draw in draws if ORIENTATIONS[draw.image] == group]
        size = ORIENTATIONS.count(group)
        for first in range(0, len(own) - size, size):
            assert len(set(own[first : first + size])) == size


def test_groups_are_shown_by_their_sizes() -> None:
    for batches in (39, 100, 200):
        shown = Counter(draw.image for draw in chain(*grouped(stop=batches)))
        mean = batches * 4 / 50
        assert all(abs(shown[image] - mean) < 2 for image in range(50))


def test_shares_of_many_groups_grow_and_add_up() -> None:
    groups = np.repeat(np.arange(6), [1, 40, 2, 7, 1, 30])
    stream = Stream(groups.tolist(), 4, 0)
    shares = np.array([stream._shares(chunks) for chunks in range(300)])
    assert (shares.sum(1) == np.arange(300)).all()
    assert (np.diff(shares, axis=0) >= 0).all()
    assert np.abs(shares - np.outer(np.arange(300), np.bincount(groups) / len(groups))).max() < 6 / 2


def test_one_group_equals_no_groups() -> None:
    assert grouped(groups=[0] * 50) == grouped(groups=None) == grouped(groups=None, chunk=1)
