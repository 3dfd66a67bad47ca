from itertools import chain

import pytest

from ocnet_pl.dataset.sampler import Draw, ShardSampler, StepBatchSampler


def stream(**arguments: int) -> list[list[Draw]]:
    return list(StepBatchSampler(**{"num_images": 10, "batch_size": 4, "seed": 3, "stop": 12} | arguments))


def test_a_resumed_stream_reads_on_where_the_unbroken_one_reads() -> None:
    assert stream(start=5) == stream()[5:]


def test_every_pass_shows_every_image_once() -> None:
    draws = list(chain(*stream(stop=10)))
    passes = [sorted(draw.image for draw in draws[i : i + 10]) for i in range(0, 40, 10)]
    assert passes == [list(range(10))] * 4
    orders = {tuple(draw.image for draw in draws[i : i + 10]) for i in range(0, 40, 10)}
    assert len(orders) == 4


@pytest.mark.parametrize("world_size", [2, 4])
def test_processes_share_one_stream(world_size: int) -> None:
    shards = [stream(batch_size=4 // world_size, rank=rank, world_size=world_size) for rank in range(world_size)]
    together = [list(chain(*batches)) for batches in zip(*shards, strict=True)]
    assert together == stream()


def test_accumulated_micro_batches_are_the_same_stream() -> None:
    assert list(chain(*stream(batch_size=2, stop=24))) == list(chain(*stream()))


def test_seeds_differ() -> None:
    assert stream(seed=1) != stream(seed=2)


@pytest.mark.parametrize(("images", "world_size"), [(5, 2), (7, 3), (4, 4), (2, 3)])
def test_evaluation_counts_every_image_once(images: int, world_size: int) -> None:
    shards = [list(ShardSampler(images, rank, world_size)) for rank in range(world_size)]
    assert sorted(chain(*shards)) == list(range(images))
