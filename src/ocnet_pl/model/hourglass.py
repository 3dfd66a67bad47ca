"""Hourglass (Newell et al. 2016, arXiv:1603.06937), as the authors of MuLA build it (pytorch-mula)."""

import torch.nn.functional as F
from torch import Tensor, nn

from ocnet_pl.errors import UserError
from ocnet_pl.model.layers import upsample

HALVINGS = 4
"""Times that an hourglass halves its map."""


class PreactivatedResidual(nn.Module):
    """Residual block with norm and activation before each convolution. (B, C, h, w), same shape."""

    def __init__(self, channels: int, *, negative_slope: float = 0.0) -> None:
        super().__init__()
        half, layers = max(1, channels // 2), list[nn.Module]()
        for into, out, kernel_size in ((channels, half, 1), (half, half, 3), (half, channels, 1)):
            layers += [
                nn.BatchNorm2d(into),
                nn.LeakyReLU(negative_slope, inplace=True),
                nn.Conv2d(into, out, kernel_size, padding=kernel_size // 2, bias=False),
            ]
        self.layers = nn.Sequential(*layers)

    def forward(self, features: Tensor) -> Tensor:
        residual: Tensor = self.layers(features)
        return features + residual


class Hourglass(nn.Module):
    """Pyramid of four halvings and back, a residual block on each side of each size. (B, C, h, w), same shape.

    Args:
        channels: channels of all maps.
        negative_slope: slope of the leaky ReLU.

    Raises:
        UserError: in `forward`, for a map with a side below 16.
    """

    def __init__(self, channels: int, *, negative_slope: float = 0.0) -> None:
        super().__init__()

        def blocks(number: int) -> nn.ModuleList:
            return nn.ModuleList(PreactivatedResidual(channels, negative_slope=negative_slope) for _ in range(number))

        self.down = blocks(HALVINGS)
        self.bottom = PreactivatedResidual(channels, negative_slope=negative_slope)
        self.up = blocks(HALVINGS)
        self.output = nn.Sequential(nn.BatchNorm2d(channels), nn.LeakyReLU(negative_slope, inplace=True))

    def forward(self, features: Tensor) -> Tensor:
        height, width = features.shape[-2:]
        if height < 2**HALVINGS or width < 2**HALVINGS:
            raise UserError(
                f"hourglass: a map of {height}x{width} cannot be halved {HALVINGS} times; use images of at least "
                f"{2**HALVINGS} positions a side"
            )
        sizes = []
        for block in self.down:
            sizes.append(block(features))
            features = F.max_pool2d(sizes[-1], 2)
        features = self.bottom(features)
        for block, finer in zip(self.up, reversed(sizes), strict=True):
            features = block(finer + upsample(features, finer.shape[-2:]))
        output: Tensor = self.output(features)
        return output
