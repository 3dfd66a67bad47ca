"""PSANet (Zhao et al. 2018, "PSANet: Point-wise Spatial Attention Network for Scene Parsing", ECCV 2018, section 3).

Layers follow the authors' PyTorch code (hszhao/semseg, `model/psanet.py`).
"""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from ocnet_pl.arguments import ArgumentError
from ocnet_pl.errors import UserError
from ocnet_pl.model.contract import Attention
from ocnet_pl.model.layers import conv_norm_act, symbolic, upsample
from ocnet_pl.resizing import Size

Direction = Literal["collect", "distribute"]

DIRECTIONS: tuple[Direction, Direction] = ("collect", "distribute")

Pairs = tuple[Tensor, Tensor | None]
"""Channel of A_i that holds the logit of j, [j, i], (N, N); and the pairs beyond the mask, None if there are none."""

UNCROPPED_MASK = (59, 59)
"""Mask where images are not cropped: that of 473x473 crops, which have maps of 60x60."""


class PointwiseSpatialAttention(nn.Module):
    """One of PSANet's two branches. (B, in, H, W) -> (B, channels, h, w), the map shrunk to h = (H - 1) // shrink + 1.

    Every position i predicts a logit for each offset of the mask, A_i[offset]. `collect`: position i receives from j
    with weight softmax over j of A_i[j - i]. `distribute`: position j receives from i with weight softmax over i of
    A_i[j - i], where i decides. The logits of offsets become a map of N x N pairs by one gather.

    As an `Attention`, a row of `collect` or `distribute` holds the weights with which one position receives from all,
    as in the forward pass; so both kinds of rows sum to 1. (What a position gives in `distribute` does not.)

    Args:
        in_channels: channels of the input.
        channels: width of the branch.
        mask_size: offsets (vertical, horizontal) that a position predicts, both odd; in compact form, the shrunk map.
        direction: kind of the branch.
        shrink: factor by which the map is shrunk.
        compact: one logit for each absolute position instead of each offset; only maps of one size fit.
        weigh_far_pairs: give pairs farther apart than the mask the logit 0, as the authors' operator does; False: they
            get no weight.
        negative_slope: slope of the leaky ReLU.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        mask_size: Size,
        direction: Direction,
        *,
        shrink: int = 2,
        compact: bool = False,
        weigh_far_pairs: bool = False,
        negative_slope: float = 0.0,
    ) -> None:
        super().__init__()
        self.name = direction
        self.mask_size = mask_size
        self.shrink = shrink
        self.compact = compact
        self.weigh_far_pairs = weigh_far_pairs
        self.reduce = conv_norm_act(in_channels, channels, bias=False, negative_slope=negative_slope)
        self.attention = conv_norm_act(channels, channels, bias=False, negative_slope=negative_slope)
        self.logits = nn.Conv2d(channels, mask_size[0] * mask_size[1], 1, bias=False)

    def forward(self, features: Tensor, pairs: Pairs | None = None) -> Tensor:
        """(B, in, H, W) -> (B, channels, h, w); `pairs` for the size, to share them among branches."""
        reduced = self.reduced(features)
        weights = self._logits(reduced, pairs or self.pairs(features)).softmax(1 if self.name == "collect" else 2)
        if self.name == "distribute":
            weights = weights.transpose(1, 2)
        return (reduced.flatten(2) @ weights).unflatten(2, reduced.shape[2:])

    def reduced(self, features: Tensor) -> Tensor:
        """Map whose positions attend to each other, (B, channels, h, w)."""
        return upsample(self.reduce(features), self.size(features))

    def size(self, features: Tensor) -> Size:
        return shrunk(features.shape[2:], self.shrink)

    def pairs(self, features: Tensor) -> Pairs:
        """Pairs of the shrunk map's positions, for features (B, in, H, W)."""
        size = self.size(features)
        if self.compact:
            if symbolic(size):
                raise UserError("PSANet with compact=true: its map has one size; give the size of the images")
            if size != self.mask_size:
                raise UserError(
                    f"PSANet with compact=true: its map is {self.mask_size[0]}x{self.mask_size[1]}, not "
                    f"{size[0]}x{size[1]}; test with inference=sliding"
                )
            positions = torch.arange(size[0] * size[1], device=features.device)
            return positions[:, None].expand(-1, len(positions)), None
        (down, far_down), (across, far_across) = (
            _offsets(side, offsets, features.device) for side, offsets in zip(size, self.mask_size, strict=True)
        )
        channel = down[:, None, :, None] * self.mask_size[1] + across[:, None, :]
        fits = not symbolic(size) and all(
            side <= offsets // 2 + 1 for side, offsets in zip(size, self.mask_size, strict=True)
        )
        far = None if fits else far_down[:, None, :, None] | far_across[:, None, :]
        return channel.flatten(2).flatten(0, 1), None if far is None else far.flatten(2).flatten(0, 1)

    def rows(self, features: Tensor, points: Tensor) -> Tensor:
        reduced = self.reduced(features)
        hidden, (x, y) = self.attention(reduced), points.T
        size, (channel, far) = self.size(features), self.pairs(features)
        at = y * size[1] + x
        if self.name == "collect":  # the logits that the points themselves predict
            logits = self.logits(hidden[:, :, y, x].unsqueeze(3))[0, :, :, 0]
            logits, far = logits.gather(0, channel[:, at]).T, None if far is None else far[:, at].T
        else:
            logits = self.logits(hidden).flatten(2)[0]
            logits, far = logits.gather(0, channel[at]), None if far is None else far[at]
        return self._without(logits, far).softmax(1).unflatten(1, size)

    def reach(self, x: int, y: int, size: Size) -> Tensor:
        if self.compact or self.weigh_far_pairs:
            return torch.ones(size, dtype=torch.bool)
        down, across = (
            (torch.arange(side) - at).abs() <= offsets // 2
            for side, at, offsets in zip(size, (y, x), self.mask_size, strict=True)
        )
        return down[:, None] & across

    def _logits(self, reduced: Tensor, pairs: Pairs) -> Tensor:
        """Logits of all pairs, [:, j, i] = A_i[j - i]. (B, channels, h, w) -> (B, N, N)."""
        channel, far = pairs
        logits = self.logits(self.attention(reduced)).flatten(2)
        return self._without(logits.gather(1, channel.expand(logits.shape[0], -1, -1)), far)

    def _without(self, logits: Tensor, far: Tensor | None) -> Tensor:
        return logits if far is None else logits.masked_fill(far, 0.0 if self.weigh_far_pairs else -torch.inf)


class PSANet(nn.Module):
    """Attention that a position collects and distributes, beside the features. (B, in, H, W) -> (B, out, H, W).

    Deviations from the authors' code: the attended map is resized to that of the input, where theirs returns to
    2 h - 1 and needs odd sides; on maps larger than those of training, pairs beyond the mask get no weight.

    Args:
        in_channels: channels of the last stage.
        map_size: (h, w) of the last map on training crops; None: images are not cropped.
        out_channels: width of the fused output.
        channels: width of each branch; None: out_channels.
        mask_size: offsets (vertical, horizontal) that a position predicts, both odd; None: all offsets of a shrunk
            training map (`UNCROPPED_MASK` if images are not cropped).
        directions: branches in the order of their concatenation.
        shrink: see `PointwiseSpatialAttention`, also for the next two.
        compact: one logit for each absolute position.
        weigh_far_pairs: logit 0 for pairs beyond the mask.
        dropout: channel dropout before the classifier.
        negative_slope: slope of the leaky ReLU; 0 is the authors' ReLU.
    """

    def __init__(
        self,
        in_channels: int,
        map_size: Size | None = None,
        out_channels: int = 512,
        *,
        channels: int | None = None,
        mask_size: Sequence[int] | None = None,
        directions: Sequence[Direction] = DIRECTIONS,
        shrink: int = 2,
        compact: bool = False,
        weigh_far_pairs: bool = False,
        dropout: float = 0.1,
        negative_slope: float = 0.0,
    ) -> None:
        super().__init__()
        if not directions or set(directions) - set(DIRECTIONS) or len(set(directions)) < len(directions):
            raise ArgumentError(f"directions={list(directions)}: expected collect, distribute or both")
        width = channels or out_channels
        mask = _mask(map_size, mask_size, shrink, compact=compact)

        def branch(direction: Direction) -> PointwiseSpatialAttention:
            return PointwiseSpatialAttention(
                in_channels, width, mask, direction, shrink=shrink, compact=compact,
                weigh_far_pairs=weigh_far_pairs, negative_slope=negative_slope,
            )  # fmt: skip

        self.out_channels = out_channels
        self.branches = nn.ModuleDict({direction: branch(direction) for direction in directions})
        self.project = conv_norm_act(len(directions) * width, in_channels, bias=False, negative_slope=negative_slope)
        self.fuse = conv_norm_act(2 * in_channels, out_channels, 3, bias=False, negative_slope=negative_slope)
        self.dropout = nn.Dropout2d(dropout)

    def forward(self, features: Tensor) -> Tensor:
        return self.dropout(self.fuse(self.with_context(features)))

    def with_context(self, features: Tensor) -> Tensor:
        """Features and what they receive, (B, in, H, W) -> (B, 2 in, H, W)."""
        branches = [*self.branches.values()]
        pairs = branches[0].pairs(features)  # type: ignore[operator]
        context = self.project(torch.cat([branch(features, pairs) for branch in branches], 1))
        return torch.cat([features, upsample(context, features.shape[2:])], 1)

    def attended(self, features: Tensor) -> list[tuple[Attention, Tensor]]:
        return [(branch, features) for branch in self.branches.values()]  # type: ignore[misc]


def shrunk(size: Sequence[int], shrink: int) -> Size:
    """Size (h, w) of a map after shrinking."""
    height, width = ((side - 1) // shrink + 1 for side in size)
    return height, width


def _mask(map_size: Size | None, mask_size: Sequence[int] | None, shrink: int, *, compact: bool) -> Size:
    """Size of the mask: the given one, or the one that a training map needs."""
    if mask_size is not None:
        if len(mask_size) != 2 or (not compact and not all(side > 0 and side % 2 for side in mask_size)):
            raise ArgumentError(f"mask_size={list(mask_size)}: expected two odd numbers, e.g. [97,97]")
        return mask_size[0], mask_size[1]
    if map_size is None:
        if compact:
            raise ArgumentError("compact=true: needs maps of one size; set dataset.crop_size or compact=false")
        return UNCROPPED_MASK
    height, width = shrunk(map_size, shrink)
    return (height, width) if compact else (2 * height - 1, 2 * width - 1)


def _offsets(side: int, offsets: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Index of the offset from i to j along an axis, [j, i], and the pairs beyond the mask; (side, side) each."""
    positions = torch.arange(side, device=device)
    index = positions[:, None] - positions + offsets // 2
    return index.clamp(0, offsets - 1), (index < 0) | (index >= offsets)
