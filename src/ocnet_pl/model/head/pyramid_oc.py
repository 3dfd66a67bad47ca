"""Pyramid-OC (paper, section 3.2 and figure 2c)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ocnet_pl.model.contract import Attention
from ocnet_pl.model.layers import conv_norm_act
from ocnet_pl.model.object_context_pooling import ObjectContextPooling


class PyramidOC(nn.Module):
    """Object context pooling inside the cells of four grids. (B, in_channels, H, W) -> (B, out_channels, H, W).

    Args:
        key_channels: width of query and key; None: half of `out_channels` (256 of 512).
        identity_channels: width of the identity path; None: four times `out_channels` (2048 of 512).
        grids: cells per side, one branch for each.
        reduction_negative_slope: slope in the reduction; 1 is the authors' code, which has no activation there.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int = 512,
        *,
        key_channels: int | None = None,
        identity_channels: int | None = None,
        grids: Sequence[int] = (1, 2, 3, 6),
        share_query_key: bool = True,
        zero_init: bool = True,
        key_momentum: float | None = None,
        dropout: float = 0.05,
        negative_slope: float = 0.01,
        reduction_negative_slope: float | None = None,
    ) -> None:
        super().__init__()
        identity_channels = identity_channels or 4 * out_channels
        self.out_channels = out_channels
        reduction_slope = negative_slope if reduction_negative_slope is None else reduction_negative_slope
        self.reduce = conv_norm_act(in_channels, out_channels, 3, negative_slope=reduction_slope)
        self.identity = conv_norm_act(out_channels, identity_channels, negative_slope=negative_slope)
        self.pools = nn.ModuleList(
            ObjectContextPooling(
                out_channels,
                key_channels=key_channels or out_channels // 2,
                value_channels=out_channels,
                out_channels=out_channels,
                grid=grid,
                share_query_key=share_query_key,
                zero_init=zero_init,
                key_momentum=key_momentum,
                negative_slope=negative_slope,
            )
            for grid in grids
        )
        fused_channels = identity_channels + len(grids) * out_channels
        self.fuse = conv_norm_act(fused_channels, out_channels, negative_slope=negative_slope)
        self.dropout = nn.Dropout2d(dropout)

    def forward(self, features: Tensor) -> Tensor:
        reduced = self.reduce(features)
        contexts = [pool(reduced) for pool in self.pools]
        return self.dropout(self.fuse(torch.cat([self.identity(reduced), *contexts], 1)))

    def attended(self, features: Tensor) -> list[tuple[Attention, Tensor]]:
        reduced = self.reduce(features)
        return [(pool, reduced) for pool in self.pools]  # type: ignore[misc]
