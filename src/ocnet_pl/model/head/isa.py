"""ISA (Huang et al. 2019, "Interlaced Sparse Self-Attention for Semantic Segmentation", arXiv:1907.12273, section 3).

Layers are those of the authors' openseg.pytorch (`isa_block.py` and `isanet.py`).
"""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ocnet_pl.arguments import ArgumentError
from ocnet_pl.model.attention import attend, attention_rows
from ocnet_pl.model.contract import Attention
from ocnet_pl.model.layers import conv_norm_act, two_layer_transform
from ocnet_pl.model.partition import cell_image, cell_tokens, interlaced_image, interlaced_tokens
from ocnet_pl.resizing import Size


class GroupedAttention(nn.Module):
    """Attention inside each group of positions. (B, channels, H, W) -> the same shape; the input is not added.

    Args:
        channels: channels of the input and of the value.
        key_channels: width of query and key; similarities are scaled by 1 / sqrt(key_channels).
        split: (map, groups per side) -> tokens of each group.
        join: the inverse, (tokens, groups per side, size) -> map.
        negative_slope: slope of the leaky ReLU.
    """

    def __init__(
        self,
        channels: int,
        key_channels: int,
        split: Callable[[Tensor, Size], Tensor],
        join: Callable[[Tensor, Size, Size], Tensor],
        *,
        negative_slope: float,
    ) -> None:
        super().__init__()
        self.split, self.join = split, join
        self.query = two_layer_transform(channels, key_channels, bias=False, negative_slope=negative_slope)
        self.key = two_layer_transform(channels, key_channels, bias=False, negative_slope=negative_slope)
        self.value = nn.Conv2d(channels, channels, 1, bias=False)
        self.project = conv_norm_act(channels, channels, bias=False, negative_slope=negative_slope)

    def forward(self, features: Tensor, groups: Size) -> Tensor:
        query, key = self.query_key(features, groups)
        context = attend(query, key, self.split(self.value(features), groups))
        height, width = features.shape[2:]
        return self.project(self.join(context, groups, (height, width)))

    def query_key(self, features: Tensor, groups: Size) -> tuple[Tensor, Tensor]:
        """Tokens of each group, (B * groups, positions, key_channels) twice."""
        return self.split(self.query(features), groups), self.split(self.key(features), groups)


class InterlacedAttention(nn.Module):
    """Attention between distant positions, then between near ones. (B, channels, H, W) -> the same shape.

    With a factor of (8, 8), the first attention joins the positions at intervals of 8, the second those of each 8x8
    block. The map is padded with zeros to multiples of the factor, and the padding takes part: it has keys and enters
    the statistics of the norms, as in the authors' code.

    Its map is the product of both. Weights on padding are left out, since its value is zero, and each row is divided by
    the rest.

    Args:
        channels: channels of the input.
        key_channels: width of query and key.
        factor: interval of the distant positions, and size (height, width) of a block.
        negative_slope: slope of the leaky ReLU.
    """

    def __init__(self, channels: int, key_channels: int, factor: Size, *, negative_slope: float) -> None:
        super().__init__()
        self.factor = factor
        self.long_range = GroupedAttention(
            channels, key_channels, interlaced_tokens, interlaced_image, negative_slope=negative_slope
        )
        self.short_range = GroupedAttention(
            channels, key_channels, cell_tokens, cell_image, negative_slope=negative_slope
        )

    @property
    def name(self) -> str:
        return f"interlaced, {self.factor[0]}x{self.factor[1]}"

    def forward(self, features: Tensor) -> Tensor:
        padded = self._padded(features)
        mixed = self.short_range(self.long_range(padded, self.factor), self._blocks(_size(features)))
        return self._cut(mixed, features.shape[2:])

    def size(self, features: Tensor) -> Size:
        height, width = features.shape[2:]
        return height, width

    def rows(self, features: Tensor, points: Tensor) -> Tensor:
        padded = self._padded(features)
        blocks = self._blocks(_size(features))
        query, key = self.long_range.query_key(padded, self.factor)
        near_query, near_key = self.short_range.query_key(self.long_range(padded, self.factor), blocks)
        top, left = (before for before, _ in self._padding(features.shape[2:]))
        rows = []
        for x, y in points.tolist():
            down, row = divmod(y + top, self.factor[0])
            across, column = divmod(x + left, self.factor[1])
            # Blocks are the positions of the groups, and groups are the positions of the blocks, in the same order.
            block, group = down * blocks[1] + across, row * self.factor[1] + column
            near = attention_rows(near_query[block, group][None], near_key[block])
            far = attention_rows(query[:, block, None], key)[:, 0]
            rows.append(interlaced_image((near.T * far)[..., None], self.factor, _size(padded))[0, 0])
        inside = self._cut(torch.stack(rows), features.shape[2:])
        return inside / inside.sum((1, 2), keepdim=True)

    def reach(self, x: int, y: int, size: Size) -> Tensor:
        return torch.ones(size, dtype=torch.bool)

    def _padding(self, size: Sequence[int]) -> list[tuple[int, int]]:
        """Positions added before and after, for each side."""
        whole = [count * factor for count, factor in zip(self._blocks(size), self.factor, strict=True)]
        added = [padded - side for padded, side in zip(whole, size, strict=True)]
        return [(one // 2, one - one // 2) for one in added]

    def _padded(self, features: Tensor) -> Tensor:
        (top, bottom), (left, right) = self._padding(features.shape[2:])
        return F.pad(features, (left, right, top, bottom))

    def _cut(self, padded: Tensor, size: Sequence[int]) -> Tensor:
        (top, _), (left, _) = self._padding(size)
        return padded[..., top : top + size[0], left : left + size[1]]

    def _blocks(self, size: Sequence[int]) -> Size:
        """Number of blocks along both sides, the last one padded; in a form that can be exported for any size."""
        height, width = ((side + factor - 1) // factor for side, factor in zip(size, self.factor, strict=True))
        return height, width


class ISA(nn.Module):
    """Interlaced sparse attention, fused with its input. (B, in, H, W) -> (B, out_channels, H, W).

    The authors' runs on Cityscapes have a leaky ReLU of slope 0.01, which is part of their norm layer there.

    Args:
        in_channels: channels of the last stage.
        out_channels: width of the head.
        key_channels: width of query and key; None: half of out_channels.
        factors: one `InterlacedAttention` for each, side by side.
        dropout: channel dropout before the classifier.
        negative_slope: slope of the leaky ReLU; 0 is ReLU.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int = 512,
        *,
        key_channels: int | None = None,
        factors: Sequence[Sequence[int]] = ((8, 8),),
        dropout: float = 0.05,
        negative_slope: float = 0.0,
    ) -> None:
        super().__init__()
        width = key_channels or max(1, out_channels // 2)
        count = len(factors)
        self.out_channels = out_channels
        self.reduce = conv_norm_act(in_channels, out_channels, 3, bias=False, negative_slope=negative_slope)
        self.blocks = nn.ModuleList(
            InterlacedAttention(out_channels, width, _pair(factor), negative_slope=negative_slope) for factor in factors
        )
        self.widen = (
            conv_norm_act(out_channels, count * out_channels, bias=False, negative_slope=negative_slope)
            if count > 1
            else nn.Identity()
        )
        self.fuse = conv_norm_act(2 * count * out_channels, out_channels, bias=False, negative_slope=negative_slope)
        self.dropout = nn.Dropout2d(dropout)

    def forward(self, features: Tensor) -> Tensor:
        reduced = self.reduce(features)
        contexts = [block(reduced) for block in self.blocks]
        return self.dropout(self.fuse(torch.cat([self.widen(reduced), *contexts], 1)))

    def attended(self, features: Tensor) -> list[tuple[Attention, Tensor]]:
        reduced = self.reduce(features)
        return [(block, reduced) for block in self.blocks]  # type: ignore[misc]


def _pair(factor: Sequence[int]) -> Size:
    if len(factor) != 2 or min(factor) < 1:
        raise ArgumentError(f"factors={list(factor)}: expected two numbers of 1 or more for each factor; give [[8, 8]]")
    return factor[0], factor[1]


def _size(features: Tensor) -> Size:
    height, width = features.shape[2:]
    return height, width
