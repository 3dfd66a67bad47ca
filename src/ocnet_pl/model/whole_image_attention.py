"""Attention between all positions of a map, which the systems with non-local blocks share."""

import torch
from torch import Tensor, nn

from ocnet_pl.model.attention import attend, attention_rows
from ocnet_pl.model.layers import image_of, tokens
from ocnet_pl.resizing import Size


class WholeImageAttention(nn.Module):
    """Weighted sum over all positions, without a map in memory. A system's block derives from it.

    Args:
        channels: channels of the input.
        key_channels: width of query and key.
        value_channels: width of the value.
        scale: factor of the similarities; None: 1 / sqrt(key_channels).
    """

    name = "whole image"

    def __init__(self, channels: int, key_channels: int, value_channels: int, *, scale: float | None = None) -> None:
        super().__init__()
        self.scale = scale
        self.query = nn.Conv2d(channels, key_channels, 1)
        self.key = nn.Conv2d(channels, key_channels, 1)
        self.value = nn.Conv2d(channels, value_channels, 1)

    def context(self, features: Tensor) -> Tensor:
        """(B, channels, H, W) -> (B, value_channels, H, W)."""
        query, key, value = (tokens(layer(features)) for layer in (self.query, self.key, self.value))
        return image_of(attend(query, key, value, self.scale), features.shape[2:])

    def size(self, features: Tensor) -> Size:
        height, width = features.shape[2:]
        return height, width

    def rows(self, features: Tensor, points: Tensor) -> Tensor:
        x, y = points.T
        query = self.query(features)[0, :, y, x].T
        key = tokens(self.key(features))[0]
        return attention_rows(query, key, self.scale).unflatten(1, features.shape[2:])

    def reach(self, x: int, y: int, size: Size) -> Tensor:
        return torch.ones(size, dtype=torch.bool)
