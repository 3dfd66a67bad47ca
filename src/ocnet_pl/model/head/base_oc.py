"""Base-OC (paper, section 3.2 and figure 2b)."""

import torch
from torch import Tensor, nn

from ocnet_pl.model.contract import Attention
from ocnet_pl.model.layers import conv_norm_act
from ocnet_pl.model.object_context_pooling import ObjectContextPooling


class BaseOC(nn.Module):
    """Reduction, object context pooling, fusion of [context, features]. (B, in, H, W) -> (B, out, H, W).

    Args:
        key_channels: width of query, key and value; None: half of `out_channels` (256 of 512).
        downsample: factor of a max-pool before the attention (the authors suggest 2 for small GPUs).
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int = 512,
        *,
        key_channels: int | None = None,
        downsample: int = 1,
        share_query_key: bool = True,
        zero_init: bool = True,
        key_momentum: float | None = None,
        dropout: float = 0.05,
        negative_slope: float = 0.01,
    ) -> None:
        super().__init__()
        width = key_channels or out_channels // 2
        self.out_channels = out_channels
        self.reduce = conv_norm_act(in_channels, out_channels, 3, negative_slope=negative_slope)
        self.pool = ObjectContextPooling(
            out_channels,
            key_channels=width,
            value_channels=width,
            out_channels=out_channels,
            downsample=downsample,
            share_query_key=share_query_key,
            zero_init=zero_init,
            key_momentum=key_momentum,
            negative_slope=negative_slope,
        )
        self.fuse = conv_norm_act(2 * out_channels, out_channels, negative_slope=negative_slope)
        self.dropout = nn.Dropout2d(dropout)

    def forward(self, features: Tensor) -> Tensor:
        reduced = self.reduce(features)
        return self.dropout(self.fuse(torch.cat([self.pool(reduced), reduced], 1)))

    def attended(self, features: Tensor) -> list[tuple[Attention, Tensor]]:
        return [(self.pool, self.reduce(features))]
