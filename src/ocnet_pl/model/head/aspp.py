"""Atrous spatial pyramid pooling, after DeepLabv3 (Chen et al. 2017), with the paper's 512 channels per branch."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ocnet_pl.model.layers import PooledContext, conv_norm_act


class ASPP(nn.Module):
    """Five branches and their fusion. (B, in_channels, H, W) -> (B, out_channels, H, W).

    Args:
        context: first branch, (B, in_channels, H, W) -> (B, branch_channels, H, W); None: the image pooling of
            DeepLabv3. ASP-OC puts object context pooling here.
        branch_channels: width of each branch; None: `out_channels`.
        dilations: dilations of the 3x3 branches.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int = 512,
        *,
        branch_channels: int | None = None,
        dilations: Sequence[int] = (12, 24, 36),
        dropout: float = 0.1,
        negative_slope: float = 0.01,
        context: nn.Module | None = None,
    ) -> None:
        super().__init__()
        width = branch_channels or out_channels
        self.out_channels = out_channels
        self.context = context or PooledContext(in_channels, width, negative_slope=negative_slope)
        self.point = conv_norm_act(in_channels, width, bias=False, negative_slope=negative_slope)
        self.dilated = nn.ModuleList(
            conv_norm_act(in_channels, width, 3, dilation=dilation, bias=False, negative_slope=negative_slope)
            for dilation in dilations
        )
        fused_channels = (2 + len(dilations)) * width
        self.fuse = conv_norm_act(fused_channels, out_channels, bias=False, negative_slope=negative_slope)
        self.dropout = nn.Dropout2d(dropout)

    def forward(self, features: Tensor) -> Tensor:
        branches = [self.context(features), self.point(features), *(conv(features) for conv in self.dilated)]
        return self.dropout(self.fuse(torch.cat(branches, 1)))
