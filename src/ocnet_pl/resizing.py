"""Sizes that protocols bring images to, and the resampling that does it: one for training and testing."""

from collections.abc import Sequence
from fractions import Fraction

import torch.nn.functional as F
from torch import Tensor

Size = tuple[int, int]
"""(height, width) in pixels."""


def short_side_size(height: int, width: int, short_side: int, max_long_side: int) -> Size:
    """Size at which the short side is `short_side`, or less where the long one would pass `max_long_side`.

    Sides are cut down to whole pixels (CSAIL's mit_semseg/dataset.py).
    """
    # Fractions, because 450 / 131 * 131 in floats may be cut down to 449.
    scale = min(Fraction(short_side, min(height, width)), Fraction(max_long_side, max(height, width)))
    return max(1, int(height * scale)), max(1, int(width * scale))


def round_up(size: Sequence[int], multiple: int) -> Size:
    """The next size whose sides are multiples."""
    height, width = (-(-side // multiple) * multiple for side in size)
    return height, width


def resize_image(image: Tensor, size: Sequence[int]) -> Tensor:
    """Bilinear, antialiased where it shrinks, as Pillow does. Bytes give bytes. (B, C, H, W) -> (B, C, *size)."""
    if tuple(image.shape[-2:]) == tuple(size):
        return image
    # PyTorch has a kernel for bytes on the CPU, five times as fast, and none on the GPU.
    as_it_is = image.is_floating_point() or image.device.type == "cpu"
    pixels = image if as_it_is else image.float()
    resized = F.interpolate(pixels, tuple(size), mode="bilinear", align_corners=False, antialias=True)
    return resized if as_it_is else resized.round().to(image.dtype)


def resize_logits(logits: Tensor, size: Sequence[int]) -> Tensor:
    """Undoes `resize_image` on logits, pixel centre on pixel centre. (B, K, H, W) -> (B, K, *size)."""
    if tuple(logits.shape[-2:]) == tuple(size):
        return logits
    return F.interpolate(logits, tuple(size), mode="bilinear", align_corners=False)
