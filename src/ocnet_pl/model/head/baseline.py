"""Dilated FCN without context, the reference of all other heads (paper, table 1, first row)."""

from torch import Tensor, nn

from ocnet_pl.model.layers import conv_norm_act


class Baseline(nn.Module):
    """3x3 reduction and dropout. (B, in_channels, H, W) -> (B, out_channels, H, W)."""

    def __init__(
        self, in_channels: int, out_channels: int = 512, *, dropout: float = 0.05, negative_slope: float = 0.01
    ) -> None:
        super().__init__()
        self.out_channels = out_channels
        self.reduce = conv_norm_act(in_channels, out_channels, 3, negative_slope=negative_slope)
        self.dropout = nn.Dropout2d(dropout)

    def forward(self, features: Tensor) -> Tensor:
        return self.dropout(self.reduce(features))
