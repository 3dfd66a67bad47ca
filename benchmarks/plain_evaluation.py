"""Naive evaluation of an image, the baseline of the benchmark: all logits at the image's size, then `argmax`."""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ocnet_pl.inference import AtTestSize, MultiScale, Protocol, SlidingWindow, WholeImage
from ocnet_pl.metrics import IGNORE
from ocnet_pl.resizing import resize_image


def plain_labels(protocol: Protocol, network: nn.Module, image: Tensor) -> Tensor:
    """Class of every pixel under a protocol of `ocnet_pl.inference`. (B, 3, H, W) -> (B, H, W) int64."""
    return plain_logits(protocol, network, image).argmax(1)


def plain_logits(protocol: Protocol, network: nn.Module, image: Tensor) -> Tensor:
    """Logits under a protocol of `ocnet_pl.inference`. (B, 3, H, W) -> (B, num_classes, H, W)."""
    kinds: dict[type, Callable[..., Tensor]] = {
        AtTestSize: _at_test_size,
        WholeImage: _whole,
        MultiScale: _multi_scale,
        SlidingWindow: _sliding,
    }
    return kinds[type(protocol)](protocol, network, image)


def plain_confusion(prediction: Tensor, label: Tensor, num_classes: int) -> Tensor:
    """Confusion matrix from bins of 64 bits, as `ocnet_pl.counting.confusion_matrix`."""
    truth = torch.where(label == IGNORE, num_classes, label).long()
    bins = torch.bincount((truth * num_classes + prediction).flatten(), minlength=(num_classes + 1) * num_classes)
    return bins.view(num_classes + 1, num_classes)[:num_classes]


def _at_test_size(protocol: AtTestSize, network: nn.Module, image: Tensor) -> Tensor:
    height, width = image.shape[-2:]
    logits = plain_logits(protocol.protocol, network, resize_image(image, protocol.test_size(height, width)))
    return _resize(logits, (height, width))


def _whole(protocol: WholeImage, network: nn.Module, image: Tensor) -> Tensor:
    logits: Tensor = network(image)
    if protocol.flip:
        logits = (logits + _mirror(network(image.flip(-1)), protocol.mirror_pairs)) / 2
    return logits


def _multi_scale(protocol: MultiScale, network: nn.Module, image: Tensor) -> Tensor:
    height, width = image.shape[-2:]
    total: Tensor | None = None
    for scale in protocol.scales:
        scaled = resize_image(image, (round(height * scale), round(width * scale)))
        for mirrored in (False, True) if protocol.flip else (False,):
            logits = _mirror(network(scaled.flip(-1)), protocol.mirror_pairs) if mirrored else network(scaled)
            logits = _resize(logits, (height, width)).float()
            part = logits.softmax(1) if protocol.average == "probabilities" else logits
            total = part if total is None else total + part
    assert total is not None
    mean = total / (len(protocol.scales) * (1 + protocol.flip))
    return mean.log() if protocol.average == "probabilities" else mean


def _sliding(protocol: SlidingWindow, network: nn.Module, image: Tensor) -> Tensor:
    size = [min(side, window) for side, window in zip(image.shape[-2:], protocol.window, strict=True)]
    tops, lefts = (
        [*range(0, side - window, stride), side - window]
        for side, window, stride in zip(image.shape[-2:], size, protocol.stride, strict=True)
    )
    windows = [
        (index, slice(None), slice(top, top + size[0]), slice(left, left + size[1]))
        for index in range(len(image)) for top in tops for left in lefts
    ]  # fmt: skip
    total, times = None, image.new_zeros(len(image), 1, *image.shape[-2:], dtype=torch.float32)
    for first in range(0, len(windows), protocol.batch_size):
        batch = windows[first : first + protocol.batch_size]
        logits = _whole(protocol.whole, network, torch.stack([image[window] for window in batch]))
        if total is None:
            total = logits.new_zeros(len(image), logits.shape[1], *image.shape[-2:], dtype=torch.float32)
        for window, one in zip(batch, logits, strict=True):
            total[window] += one
            times[window] += 1
    assert total is not None
    return total / times


def _resize(logits: Tensor, size: tuple[int, int]) -> Tensor:
    if logits.shape[-2:] == size:
        return logits
    return F.interpolate(logits, size, mode="bilinear", align_corners=False)


def _mirror(logits: Tensor, mirror_pairs: Sequence[Sequence[int]]) -> Tensor:
    channels = list(range(logits.shape[1]))
    for left, right in mirror_pairs:
        channels[left], channels[right] = right, left
    return logits.flip(-1)[:, channels] if mirror_pairs else logits.flip(-1)
