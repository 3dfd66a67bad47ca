"""Pyramid pooling module, after PSPNet (Zhao et al. 2017, section 3.2)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ocnet_pl.model.layers import PooledContext, conv_norm_act


class PPM(nn.Module):
    """Averages over grids of cells, 3x3 fusion with the features. (B, in, H, W) -> (B, out, H, W)."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int = 512,
        *,
        grids: Sequence[int] = (1, 2, 3, 6),
        dropout: float = 0.1,
        negative_slope: float = 0.01,
    ) -> None:
        super().__init__()
        self.out_channels = out_channels
        self.pools = nn.ModuleList(
            PooledContext(in_channels, out_channels, grid, negative_slope=negative_slope) for grid in grids
        )
        fused_channels = in_channels + len(grids) * out_channels
        self.fuse = conv_norm_act(fused_channels, out_channels, 3, bias=False, negative_slope=negative_slope)
        self.dropout = nn.Dropout2d(dropout)

    def forward(self, features: Tensor) -> Tensor:
        pooled = [pool(features) for pool in self.pools]
        return self.dropout(self.fuse(torch.cat([features, *pooled], 1)))
