"""Rows of logits are those of the whole, whatever is computed with them, and labels are their `argmax`."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from evaluation import Maps
from plain_evaluation import plain_labels, plain_logits
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from ocnet_pl import logits as module
from ocnet_pl.inference import AtTestSize, MultiScale, Protocol, SlidingWindow, WholeImage
from ocnet_pl.logits import Logits, MapLogits

PAIRS = [(1, 2), (4, 6)]
PROTOCOLS: dict[str, Protocol] = {
    "whole": WholeImage(),
    "flip": WholeImage(flip=True, mirror_pairs=PAIRS),
    "multi-scale": MultiScale(mirror_pairs=PAIRS),
    "probabilities": MultiScale(average="probabilities", mirror_pairs=PAIRS),
    "sliding": SlidingWindow((65, 49), (40, 33), batch_size=3),
    "sliding, flip": SlidingWindow((65, 49), (40, 33), flip=True, mirror_pairs=PAIRS),
    "test size": AtTestSize(WholeImage(flip=True), lambda height, width: (height + 30, width - 9)),
    "test size of scales": AtTestSize(MultiScale(average="probabilities"), lambda height, width: (77, 85)),
    "test size, other width": AtTestSize(WholeImage(flip=True), lambda height, width: (height, width - 9)),
    "test size, other height": AtTestSize(WholeImage(flip=True), lambda height, width: (height - 9, width)),
    "test size of windows": AtTestSize(SlidingWindow((65, 49), (40, 33)), lambda height, width: (77, 85)),
}
IMAGE = torch.zeros(2, 3, 97, 111, dtype=torch.uint8)
NETWORK = Maps(7)


@pytest.fixture(params=PROTOCOLS)
def protocol(request: pytest.FixtureRequest) -> Protocol:
    return PROTOCOLS[request.param]


def rows_in_blocks(logits: Logits, block: int) -> Tensor:
    height = logits.shape[2]
    return torch.cat([logits.rows(first, min(first + block, height)) for first in range(0, height, block)], 2)


def test_a_row_does_not_depend_on_its_block(protocol: Protocol) -> None:
    logits = protocol(NETWORK, IMAGE)
    whole = logits.whole()
    assert whole.shape == (2, 7, 97, 111)
    for block in (1, 2, 13, 97):
        assert torch.equal(rows_in_blocks(logits, block), whole)


def test_an_image_does_not_depend_on_its_batch(protocol: Protocol) -> None:
    logits = protocol(NETWORK, IMAGE)
    for index in range(2):
        assert torch.equal(logits.of_image(index).whole()[0], logits.whole()[index])


def test_labels_are_the_argmax(protocol: Protocol, monkeypatch: pytest.MonkeyPatch) -> None:
    logits = protocol(NETWORK, IMAGE)
    expected = logits.whole().argmax(1)
    monkeypatch.setattr(module, "_BLOCK_CPU", 2 * 7 * 111 * 4 * 5)  # five rows
    labels = logits.labels()
    assert labels.dtype == torch.uint8
    assert torch.equal(labels, expected)


def test_labels_are_those_of_logits_at_full_size(protocol: Protocol) -> None:
    logits = plain_logits(protocol, NETWORK, IMAGE)
    torch.testing.assert_close(protocol(NETWORK, IMAGE).whole(), logits, rtol=1e-4, atol=1e-4)
    best, second = logits.topk(2, 1).values.unbind(1)
    differ = protocol(NETWORK, IMAGE).labels() != plain_labels(protocol, NETWORK, IMAGE)
    assert not (differ & (best - second > 1e-4)).any()
    assert differ.sum() <= 2


@pytest.mark.parametrize("align_corners", [True, False])
@pytest.mark.parametrize("size", [(33, 40), (9, 5), (1, 1), (10, 64)])
@pytest.mark.parametrize("source", [(9, 13), (1, 2)])
def test_interpolation_is_that_of_pytorch(source: tuple[int, int], size: tuple[int, int], align_corners: bool) -> None:
    for values in (torch.randn(2, 3, *source), torch.randn(2, 3, *source, dtype=torch.float64)):
        expected = F.interpolate(values, size, mode="bilinear", align_corners=align_corners)
        ours = MapLogits(values).resized(size, align_corners=align_corners).whole()
        torch.testing.assert_close(ours, expected, rtol=1e-5, atol=1e-5)


def test_values_of_16_bits_are_interpolated_in_32() -> None:
    values = torch.randn(1, 3, 5, 6).bfloat16()
    expected = MapLogits(values.float()).resized((40, 48)).whole()
    assert torch.equal(MapLogits(values).resized((40, 48)).whole(), expected)


def test_a_network_that_diverged_gets_the_labels_of_argmax() -> None:
    values = torch.randn(1, 4, 6, 8)
    values[:, :, :, :2] = torch.nan
    values[:, 2, 3:] = torch.nan
    values[:, 1, :, 6:] = torch.inf
    values[:, 3, :, 6:] = torch.inf
    larger = MapLogits(values).resized((24, 32), align_corners=True)
    for logits in (MapLogits(values), larger):
        assert torch.equal(logits.labels(), logits.whole().argmax(1))
    expected = F.interpolate(values, (24, 32), mode="bilinear", align_corners=True)
    assert torch.equal(larger.whole().isfinite().all(1), expected.isfinite().all(1))


@pytest.mark.parametrize("name", ["whole", "flip", "multi-scale", "probabilities", "sliding"])
def test_labels_need_no_logits_at_full_size(name: str) -> None:
    image = torch.zeros(1, 3, 513, 1025, dtype=torch.uint8)
    with largest_tensor() as largest:
        PROTOCOLS[name](NETWORK, image).labels()
    assert 0 < largest[0] <= 7 * 513 * 1025 / 4


@contextmanager
def largest_tensor() -> Iterator[list[int]]:
    """Number of elements of the largest floating-point tensor that an operation returned."""
    largest = [0]

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            result = func(*args, **(kwargs or {}))
            for tensor in result if isinstance(result, tuple) else (result,):
                if isinstance(tensor, Tensor) and tensor.is_floating_point():
                    largest[0] = max(largest[0], tensor.numel())
            return result

    with Watch():
        yield largest
