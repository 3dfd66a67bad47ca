"""UPerNet (Xiao et al. 2018, "Unified Perceptual Parsing for Scene Understanding", arXiv:1807.10221, section 3.2)."""

from collections.abc import Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ocnet_pl.model.layers import conv_norm_act, grid_average
from ocnet_pl.resizing import Size


class UPerNet(nn.Module):
    """Pooling pyramid on the last stage, then a feature pyramid over all four stages.

    Stages (B, C_i, h_i, w_i) of strides 4, 8, 16 and 32 -> (B, out_channels, h_1, w_1), at the first stage's stride.

    It follows the authors' network for ADE20K. The pyramid averages over grids of cells, where the paper pools regions.
    Deviations: the loss reads logits at the image's size, not at stride 4; the classifier starts from PyTorch's initial
    values; labels for scenes, parts and materials are not used.

    Args:
        in_channels: channels of the four stages.
        out_channels: width of the feature pyramid (512 in the authors' UPerNet, 256 in UPerNet-lite).
        pool_channels: width of each grid of the pooling pyramid; None: out_channels.
        grids: cells per side of the pooling pyramid.
        negative_slope: slope of the leaky ReLU; 0 is the authors' ReLU.
    """

    levels: ClassVar[tuple[int, ...]] = (-4, -3, -2, -1)

    def __init__(
        self,
        in_channels: Sequence[int],
        out_channels: int = 512,
        *,
        pool_channels: int | None = None,
        grids: Sequence[int] = (1, 2, 3, 6),
        negative_slope: float = 0.0,
    ) -> None:
        super().__init__()
        width = pool_channels or out_channels
        *earlier, last = in_channels

        def layer(channels: int, out: int, kernel_size: int = 1) -> nn.Sequential:
            return conv_norm_act(channels, out, kernel_size, bias=False, negative_slope=negative_slope)

        self.out_channels = out_channels
        self.grids = tuple(grids)
        self.pools = nn.ModuleList(layer(last, width) for _ in grids)
        self.pyramid = layer(last + len(self.grids) * width, out_channels, 3)
        self.lateral = nn.ModuleList(layer(channels, out_channels) for channels in earlier)
        self.smooth = nn.ModuleList(layer(out_channels, out_channels, 3) for _ in earlier)
        self.fuse = layer(len(in_channels) * out_channels, out_channels, 3)
        self.apply(_initialize)

    def forward(self, *stages: Tensor) -> Tensor:
        running = self._pooled(stages[-1])
        pyramid = [running]
        for stage, lateral, smooth in zip(stages[-2::-1], self.lateral[::-1], self.smooth[::-1], strict=True):
            features = lateral(stage)
            running = features + _upsample(running, features.shape[2:])
            pyramid.insert(0, smooth(running))  # the sum that goes on is not smoothed
        size = pyramid[0].shape[2:]
        return self.fuse(torch.cat([_upsample(level, size) for level in pyramid], 1))

    def _pooled(self, features: Tensor) -> Tensor:
        """Pooling pyramid, (B, C, h, w) -> (B, out_channels, h, w).

        Convolutions come after the upsampling. Batch norm therefore sees h * w values of the 1x1 grid, and trains with
        one image per process.
        """
        size = features.shape[2:]
        averages = [_upsample(grid_average(features, grid), size) for grid in self.grids]
        pooled = [pool(average) for pool, average in zip(self.pools, averages, strict=True)]
        return self.pyramid(torch.cat([features, *pooled], 1))


def _upsample(features: Tensor, size: Size | torch.Size) -> Tensor:
    """Bilinear without aligned corners, unlike in the rest of the network."""
    return F.interpolate(features, tuple(size), mode="bilinear", align_corners=False)


def _initialize(module: nn.Module) -> None:
    """Initial values of the authors: He et al.'s normal distribution; batch norm with weight 1 and bias 1e-4."""
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.constant_(module.bias, 1e-4)
