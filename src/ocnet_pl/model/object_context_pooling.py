"""Object context pooling (paper, section 3.1, equations 1 and 2)."""

from collections.abc import Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ocnet_pl.model.attention import attend, attention_rows
from ocnet_pl.model.layers import conv_norm_act, upsample
from ocnet_pl.model.partition import cell_around, cell_image, cell_tokens, spans
from ocnet_pl.resizing import Size

CALLED_ONCE = 0.1
"""Momentum of PyTorch's batch norm."""
CALLED_TWICE = 1 - (1 - CALLED_ONCE) ** 2
"""Momentum that moves the statistics as far as two calls on one batch."""


class ObjectContextPooling(nn.Module):
    """Sum over all pixels, weighted by how likely they belong to the object category of the pixel.

    Args:
        in_channels: channels of the input.
        key_channels: width d of query and key; similarities are scaled by 1 / sqrt(d).
        value_channels: width of the value.
        out_channels: channels after the output transform W.
        grid: cells per side of the partition that the attention stays in (Pyramid-OC).
        downsample: factor of a max-pool before the attention; the result is upsampled (2 in ASP-OC).
        share_query_key: use one transform for query and key (authors' code; the paper has two).
        zero_init: initialise W with zeros, so that the context fades in (authors' code).
        negative_slope: slope of the leaky ReLU in the query and key transforms.
        key_momentum: momentum of the running statistics of the query and key norms. None: 0.1, or 0.19 = 1 - 0.9^2 if
            the transform is shared: the authors' code calls it twice in a forward pass.
    """

    def __init__(
        self,
        in_channels: int,
        key_channels: int,
        value_channels: int,
        out_channels: int,
        *,
        grid: int = 1,
        downsample: int = 1,
        share_query_key: bool = True,
        zero_init: bool = True,
        negative_slope: float = 0.01,
        key_momentum: float | None = None,
    ) -> None:
        super().__init__()
        self.grid = grid
        self.downsample = downsample
        if key_momentum is None:
            key_momentum = CALLED_TWICE if share_query_key else CALLED_ONCE
        transform = partial(
            conv_norm_act, in_channels, key_channels, negative_slope=negative_slope, momentum=key_momentum
        )
        self.key = transform()
        self.query = None if share_query_key else transform()
        self.value = nn.Conv2d(in_channels, value_channels, 1)
        self.project = nn.Conv2d(value_channels, out_channels, 1)
        if zero_init:
            nn.init.zeros_(self.project.weight)
            if self.project.bias is not None:
                nn.init.zeros_(self.project.bias)

    def transforms(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Query, key and value maps. (B, in, H, W) -> (B, d, h, w) twice and (B, v, h, w)."""
        pooled = self.pooled(features)
        return *self.query_key(pooled), self.value(pooled)

    def pooled(self, features: Tensor) -> Tensor:
        """Features at the resolution of the attention. (B, in, H, W) -> (B, in, h, w)."""
        if self.downsample == 1:
            return features
        # A side shorter than the window is one window; PyTorch would return an empty map.
        window = [min(side, self.downsample) for side in features.shape[2:]]
        return F.max_pool2d(features, window)

    @property
    def name(self) -> str:
        """Name of the map for readers."""
        return "whole image" if self.grid == 1 else f"{self.grid}x{self.grid} cells"

    def size(self, features: Tensor) -> Size:
        """Size (h, w) of the attention's positions, for features (B, C, H, W)."""
        height, width = features.shape[2:]
        return max(1, height // self.downsample), max(1, width // self.downsample)

    def query_key(self, pooled: Tensor) -> tuple[Tensor, Tensor]:
        """Query and key maps. (B, in, h, w) -> (B, d, h, w) twice."""
        key = self.key(pooled)
        return key if self.query is None else self.query(pooled), key

    def forward(self, features: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> (B, out_channels, H, W)."""
        query, key, value = self.transforms(features)
        columns = list(spans(value.shape[3], self.grid))
        context = _join(
            [
                _join([self._pool(query, key, value, row, column) for column in columns], 3)
                for row in spans(value.shape[2], self.grid)
            ],
            2,
        )
        return upsample(self.project(context), features.shape[-2:])

    def rows(self, features: Tensor, points: Tensor) -> Tensor:
        """Rows of the object context map: the weights of all positions in `forward`'s sum for some of them.

        Args:
            features: (1, in_channels, H, W), the input of `forward`.
            points: positions (x, y) in the map of `size(features)`, (P, 2).

        Returns:
            (P, h, w): the softmax over the cell of the point, zero outside; each row sums to 1.
        """
        query, key = self.query_key(self.pooled(features))
        rows = key.new_zeros(len(points), *key.shape[2:])
        for row, (x, y) in zip(rows, points.tolist(), strict=True):
            here = self._cell(x, y, key.shape[2:])
            keys = key[0, :, *here]
            row[here] = attention_rows(query[0, :, y, x][None], keys.flatten(1).T).view(keys.shape[1:])
        return rows

    def reach(self, x: int, y: int, size: Size) -> Tensor:
        """Mask (h, w) of the positions in the same cell."""
        reached = torch.zeros(size, dtype=torch.bool)
        reached[self._cell(x, y, size)] = True
        return reached

    def _cell(self, x: int, y: int, size: Sequence[int]) -> tuple[slice, slice]:
        return cell_around(y, size[0], self.grid), cell_around(x, size[1], self.grid)

    def _pool(
        self, query: Tensor, key: Tensor, value: Tensor, row: tuple[slice, int], column: tuple[slice, int]
    ) -> Tensor:
        """Attention inside all cells of one size, at once."""
        here = (slice(None), slice(None), row[0], column[0])
        cells = (row[1], column[1])
        keys = cell_tokens(key[here], cells)
        queries = keys if query is key else cell_tokens(query[here], cells)
        values = value[here]
        context = attend(queries, keys, cell_tokens(values, cells))
        return cell_image(context, cells, (values.shape[2], values.shape[3]))


def _join(parts: list[Tensor], dimension: int) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts, dimension)
