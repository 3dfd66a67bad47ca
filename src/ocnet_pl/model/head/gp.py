"""Global pooling, after ParseNet (Liu et al. 2015): Base-OC with equal weights for all pixels."""

import torch
from torch import Tensor, nn

from ocnet_pl.model.layers import PooledContext, conv_norm_act


class GP(nn.Module):
    """Reduction, fusion of [global average, features]. (B, in_channels, H, W) -> (B, out_channels, H, W).

    ParseNet normalises both parts with L2; here both end in a batch norm.
    """

    def __init__(
        self, in_channels: int, out_channels: int = 512, *, dropout: float = 0.05, negative_slope: float = 0.01
    ) -> None:
        super().__init__()
        self.out_channels = out_channels
        self.reduce = conv_norm_act(in_channels, out_channels, 3, negative_slope=negative_slope)
        self.pool = PooledContext(out_channels, out_channels, negative_slope=negative_slope)
        self.fuse = conv_norm_act(2 * out_channels, out_channels, negative_slope=negative_slope)
        self.dropout = nn.Dropout2d(dropout)

    def forward(self, features: Tensor) -> Tensor:
        reduced = self.reduce(features)
        return self.dropout(self.fuse(torch.cat([self.pool(reduced), reduced], 1)))
