"""Test protocols: (network, image (B, 3, H, W)) -> logits of the image, computed a few rows at a time."""

from collections.abc import Callable, Sequence
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from ocnet_pl.arguments import Positive, PositiveNumber, checked
from ocnet_pl.arguments import Size as GivenSize
from ocnet_pl.logits import Logits, MapLogits, Mean, MirrorPairs, Tiled
from ocnet_pl.model.network import Network
from ocnet_pl.resizing import Size, resize_image

Protocol = Callable[[Network, Tensor], Logits]


class WholeImage:
    """One forward pass over the whole image (the paper's single-scale test), or the mean of it and a mirrored one.

    Args:
        flip: average the logits of the image and of its mirror image (LIP's test).
        mirror_pairs: left and right classes of the data set.
    """

    @checked
    def __init__(self, flip: bool = False, mirror_pairs: MirrorPairs = ()) -> None:
        self.flip = flip
        self.mirror_pairs = tuple(tuple(pair) for pair in mirror_pairs)

    def __call__(self, network: Network, image: Tensor) -> Logits:
        """(B, 3, H, W) -> logits (B, num_classes, H, W)."""
        logits = _logits(network, image)
        if not self.flip:
            return logits
        return Mean([logits, _logits(network, image, self.mirror_pairs)])


class AtTestSize:
    """Protocol applied at the data set's test size; its logits are resized to the image's own size.

    Args:
        protocol: protocol at the test size.
        test_size: rule of the data set: (height, width) of an image -> (height, width) of the test.
    """

    def __init__(self, protocol: Protocol, test_size: Callable[[int, int], Size]) -> None:
        self.protocol = protocol
        self.test_size = test_size

    def __call__(self, network: Network, image: Tensor) -> Logits:
        """(B, 3, H, W) -> logits (B, num_classes, H, W)."""
        height, width = image.shape[-2:]
        return self.protocol(network, resize_image(image, self.test_size(height, width))).resized((height, width))


def size_in_testing(protocol: Protocol, height: int, width: int) -> Size:
    """Size (height, width) to which a protocol first resizes an image of a size."""
    return protocol.test_size(height, width) if isinstance(protocol, AtTestSize) else (height, width)


class SlidingWindow:
    """Overlapping windows over an image of any size; logits are averaged where windows overlap.

    The last window of a row or column is moved inward to end at the border; an image smaller than the window is one
    window of its own size. Of every window only the small map of the network is kept.

    Args:
        window: size (height, width) of a window; None: 512x512, for data sets that do not crop in training.
        stride: distance (vertical, horizontal) between windows; larger ones are cut to the window, so that every pixel
            lies in a window.
        batch_size: windows in one forward pass.
        flip: average each window with its mirror image.
        mirror_pairs: left and right classes of the data set.
    """

    @checked
    def __init__(
        self,
        window: GivenSize | None,
        stride: GivenSize,
        batch_size: Positive = 4,
        flip: bool = False,
        mirror_pairs: MirrorPairs = (),
    ) -> None:
        self.window = (512, 512) if window is None else tuple(window)
        self.stride = tuple(map(min, stride, self.window))
        self.batch_size = batch_size
        self.whole = WholeImage(flip, mirror_pairs)

    def __call__(self, network: Network, image: Tensor) -> Logits:
        """(B, 3, H, W) -> logits (B, num_classes, H, W)."""
        height, width = (min(side, window) for side, window in zip(image.shape[-2:], self.window, strict=True))
        tops = _starts(image.shape[-2], height, self.stride[0])
        lefts = _starts(image.shape[-1], width, self.stride[1])
        places = [(index, top, left) for index in range(len(image)) for top in tops for left in lefts]
        windows: list[Logits] = []
        for first in range(0, len(places), self.batch_size):
            batch = places[first : first + self.batch_size]
            pixels = torch.stack([image[i, :, top : top + height, left : left + width] for i, top, left in batch])
            logits = self.whole(network, pixels)
            windows += [logits.of_image(index) for index in range(len(batch))]
        return Tiled(windows, places, image.shape)


class MultiScale:
    """Mean over several scales of the image, each with its mirror image (paper, section 4.1: 0.75, 1 and 1.25).

    Args:
        scales: factors of the image's size.
        flip: add the mirror image at every scale.
        average: "logits" (the authors' Cityscapes test) or "probabilities" (CSAIL's ADE20K test).
        mirror_pairs: left and right classes of the data set.
    """

    @checked
    def __init__(
        self,
        scales: Annotated[Sequence[PositiveNumber], Field(min_length=1)] = (0.75, 1.0, 1.25),
        flip: bool = True,
        average: Literal["logits", "probabilities"] = "logits",
        mirror_pairs: MirrorPairs = (),
    ) -> None:
        self.scales = tuple(scales)
        self.flip = flip
        self.average = average
        self.mirror_pairs = tuple(tuple(pair) for pair in mirror_pairs)

    def __call__(self, network: Network, image: Tensor) -> Logits:
        """(B, 3, H, W) -> mean logits, or logarithms of mean probabilities, (B, num_classes, H, W)."""
        height, width = image.shape[-2:]
        parts: list[Logits] = []
        for scale in self.scales:
            scaled = resize_image(image, (round(height * scale), round(width * scale)))
            parts.append(_logits(network, scaled).resized((height, width)))
            if self.flip:
                parts.append(_logits(network, scaled, self.mirror_pairs).resized((height, width)))
        return Mean(parts, probabilities=self.average == "probabilities")


def _logits(network: Network, image: Tensor, mirror_pairs: MirrorPairs | None = None) -> Logits:
    """Logits of one forward pass; with `mirror_pairs`, over the mirror image, mirrored back."""
    height, width = image.shape[-2:]
    map_logits = MapLogits(network.map_logits(image if mirror_pairs is None else image.flip(-1)))
    return map_logits.resized((height, width), align_corners=True, mirror_pairs=mirror_pairs)


def _starts(side: int, window: int, stride: int) -> list[int]:
    """Starts of the windows along a side: at every stride, the last one moved to end at the border."""
    return [*range(0, side - window, stride), side - window]
