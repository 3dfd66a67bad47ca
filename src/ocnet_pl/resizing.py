"""Sizes of the protocols, and the resampling that training and testing share."""

from collections.abc import Sequence
from fractions import Fraction

import torch.nn.functional as F
from torch import Tensor

Size = tuple[int, int]
"""(height, width) in pixels."""


def short_side_size(height: int, width: int, short_side: int, max_long_side: int) -> Size:
    """Size whose short side is `short_side`, or less if the long side would exceed `max_long_side`.

    Sides are rounded down (CSAIL's mit_semseg/dataset.py).
    """
    # Fractions, because 450 / 131 * 131 in floats may round down to 449.
    scale = min(Fraction(short_side, min(height, width)), Fraction(max_long_side, max(height, width)))
    return max(1, int(height * scale)), max(1, int(width * scale))


def round_up(size: Sequence[int], multiple: int) -> Size:
    """Smallest size that is not smaller and whose sides are multiples."""
    height, width = (-(-side // multiple) * multiple for side in size)
    return height, width


def resize_image(image: Tensor, size: Sequence[int]) -> Tensor:
    """Resize bilinearly, antialiased like Pillow; uint8 stays uint8. (B, C, H, W) -> (B, C, *size)."""
    if tuple(image.shape[-2:]) == tuple(size):
        return image
    # PyTorch has a uint8 kernel on the CPU, five times as fast, and none on the GPU.
    supported = image.is_floating_point() or image.device.type == "cpu"
    pixels = image if supported else image.float()
    resized = F.interpolate(pixels, tuple(size), mode="bilinear", align_corners=False, antialias=True)
    return resized if supported else resized.round().to(image.dtype)
