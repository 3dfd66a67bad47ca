"""Stages of the backbone as a head reads them: some of them, at one scale of the image or at several."""

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor, nn

from ocnet_pl.arguments import refuse
from ocnet_pl.model.contract import head_levels, image_scales
from ocnet_pl.model.layers import rescaled


class Stages(NamedTuple):
    """Maps of one image, (B, C, h, w) each.

    Attributes:
        of_image: stages of the backbone at the image's own size, in ascending order.
        of_head: maps that the head reads: all its levels at its first scale, then at the next.
    """

    of_image: list[Tensor]
    of_head: list[Tensor]


def read_stages(backbone: nn.Module, levels: Sequence[int], head: nn.Module, normalized: Tensor) -> Stages:
    """Stages of the normalised image (B, 3, H, W); `levels` are those that the backbone returns."""
    by_scale: dict[float, list[Tensor]] = {scale: backbone(rescaled(normalized, scale)) for scale in image_scales(head)}
    read = [levels.index(level) for level in head_levels(head)]
    return Stages(by_scale[1.0], [maps[index] for maps in by_scale.values() for index in read])


def require_scales(head: nn.Module) -> None:
    """Raise ArgumentError: scales that repeat, that are not above 0, or without the image's own size."""
    scales = image_scales(head)
    if 1.0 not in scales or len(set(scales)) < len(scales) or min(scales) <= 0:
        raise refuse("head.image_scales", list(scales), "different factors above 0, 1 among them")
