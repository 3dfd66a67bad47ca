from typing import Any

import pytest
import torch
from torch import Tensor

from ocnet_pl.errors import UserError
from ocnet_pl.inference import MultiScale, SlidingWindow, WholeImage


class Pointwise:
    """Logits of a pixel depend on that pixel alone: every window and scale must give the same."""

    def map_logits(self, image: Tensor) -> Tensor:
        return torch.stack([image.float().mean(1), image[:, 0].float() * 2], 1)


@pytest.mark.parametrize("size", [(40, 60), (41, 67), (16, 90), (10, 12)])
def test_windows_cover_any_image(size: tuple[int, int]) -> None:
    image = torch.randint(0, 255, (2, 3, *size), dtype=torch.uint8)
    sliding = SlidingWindow((16, 24), (10, 16), batch_size=3)
    torch.testing.assert_close(sliding(Pointwise(), image).whole(), Pointwise().map_logits(image))


def test_overlaps_are_averaged() -> None:
    class Place:
        def map_logits(self, image: Tensor) -> Tensor:
            ramp = torch.arange(image.shape[-1], dtype=torch.float32)
            return ramp.expand(len(image), 2, *image.shape[-2:])

    image = torch.zeros(1, 3, 4, 12)
    logits = SlidingWindow((4, 8), (4, 4))(Place(), image).whole()[0, 0, 0]
    assert logits.tolist() == [0, 1, 2, 3, 2, 3, 4, 5, 4, 5, 6, 7]


def test_windows_leave_no_pixel_out() -> None:
    image = torch.randint(0, 255, (1, 3, 20, 50), dtype=torch.uint8)
    logits = SlidingWindow((8, 16), (513, 513))(Pointwise(), image).whole()
    torch.testing.assert_close(logits, Pointwise().map_logits(image))


@pytest.mark.parametrize("stride", [(0, 0), (4,), (4, -1), 4])
def test_an_impossible_stride_is_refused(stride: Any) -> None:
    with pytest.raises(UserError, match=r"^stride="):
        SlidingWindow((8, 16), stride)


@pytest.mark.parametrize("scales", [(), (1.0, 0), (-1,), 1.0])
def test_impossible_scales_are_refused(scales: Any) -> None:
    with pytest.raises(UserError, match=r"^scales="):
        MultiScale(scales)


def test_windows_come_in_batches_of_bounded_size() -> None:
    seen = []

    class Watch(Pointwise):
        def map_logits(self, image: Tensor) -> Tensor:
            seen.append(len(image))
            return super().map_logits(image)

    SlidingWindow((16, 16), (8, 8), batch_size=4)(Watch(), torch.zeros(1, 3, 48, 48))
    assert max(seen) == 4
    assert sum(seen) == 25


def test_scales_and_flips_of_a_pointwise_network_agree() -> None:
    y, x = torch.meshgrid(torch.linspace(20, 200, 48), torch.linspace(0, 200, 64), indexing="ij")
    image = torch.stack([y, x, x + y / 4]).unsqueeze(0)
    expected = Pointwise().map_logits(image)
    inner = (..., slice(4, -4), slice(4, -4))
    multi = MultiScale((0.75, 1.0, 1.25))(Pointwise(), image).whole()
    torch.testing.assert_close(multi[inner], expected[inner], atol=1.5, rtol=0)


def test_one_scale_without_flip_is_the_whole_image() -> None:
    image = torch.randint(0, 255, (1, 3, 20, 30), dtype=torch.uint8)
    one, whole = (protocol(Pointwise(), image).whole() for protocol in (MultiScale((1.0,), flip=False), WholeImage()))
    torch.testing.assert_close(one, whole)


def test_probabilities_are_averaged_as_such() -> None:
    class Sided(Pointwise):
        """Network with other logits on the left than on the right."""

        def map_logits(self, image: Tensor) -> Tensor:
            logits = super().map_logits(image)
            return logits * torch.linspace(0, 3, image.shape[-1])

    image = torch.rand(1, 3, 8, 8)
    straight, mirrored = Sided().map_logits(image), Sided().map_logits(image.flip(-1)).flip(-1)
    mean = MultiScale((1.0,), flip=True, average="probabilities")(Sided(), image).whole()
    expected = (straight.softmax(1) + mirrored.softmax(1)) / 2
    torch.testing.assert_close(mean.exp(), expected)
    assert not torch.allclose(expected, ((straight + mirrored) / 2).softmax(1), atol=1e-3), "averages of logits differ"
    with pytest.raises(UserError, match=r"average=votes.*logits.*probabilities"):
        MultiScale(average="votes")
