"""Layers around a context block, which Non-local and CCNet share."""

import torch
from torch import Tensor, nn

from ocnet_pl.model.contract import Attention
from ocnet_pl.model.layers import conv_norm_act


class ContextBlockHead(nn.Module):
    """Reduction, context block, smoothing, fusion of [input, smoothed]. (B, in, H, W) -> (B, out_channels, H, W).

    All three convolutions are 3x3, without bias. The fusion reads the backbone's features themselves.

    Args:
        in_channels: channels of the last stage.
        context: block, (B, out_channels, H, W) -> the same shape; it is a `contract.Attention` as well.
        out_channels: width of the head.
        dropout: channel dropout before the classifier.
        negative_slope: slope of the leaky ReLU; 0 is ReLU.
    """

    def __init__(
        self, in_channels: int, context: nn.Module, out_channels: int, *, dropout: float, negative_slope: float
    ) -> None:
        super().__init__()

        def layer(channels: int) -> nn.Sequential:
            return conv_norm_act(channels, out_channels, 3, bias=False, negative_slope=negative_slope)

        self.out_channels = out_channels
        self.reduce = layer(in_channels)
        self.context = context
        self.smooth = layer(out_channels)
        self.fuse = layer(in_channels + out_channels)
        self.dropout = nn.Dropout2d(dropout)

    def forward(self, features: Tensor) -> Tensor:
        smoothed = self.smooth(self.context(self.reduce(features)))
        return self.dropout(self.fuse(torch.cat([features, smoothed], 1)))

    def attended(self, features: Tensor) -> list[tuple[Attention, Tensor]]:
        return [(self.context, self.reduce(features))]  # type: ignore[list-item]
