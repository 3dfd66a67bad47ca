"""Attention to image scales (Chen et al. 2016, "Attention to Scale", arXiv:1511.03339; SS-NAN, CVPR-W 2017)."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from ocnet_pl.model.contract import Batch, Criterion
from ocnet_pl.model.layers import upsample


class ScaleAttention(nn.Module):
    """Weights of image scales at every position. Maps (B, C, h, w), one for each scale -> (B, scales, h, w).

    The maps are concatenated: 3x3 convolution, ReLU, dropout, a convolution to one channel for each scale, softmax over
    the scales in float32. It has no norms, as in both public codes.

    Args:
        channels: channels of each map.
        hidden_channels: width between the two convolutions.
        scales: number of scales.
        kernel_size: kernel of the second convolution: 1 in Attention, 3 in SS-NAN.
        dropout: dropout of single values.
    """

    def __init__(
        self, channels: int, hidden_channels: int, scales: int, *, kernel_size: int = 1, dropout: float = 0.5
    ) -> None:
        super().__init__()
        self.scores = nn.Sequential(
            nn.Conv2d(scales * channels, hidden_channels, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            nn.Conv2d(hidden_channels, scales, kernel_size, padding=kernel_size // 2),
        )

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        scores: Tensor = self.scores(torch.cat(list(maps), 1))
        return scores.softmax(1, dtype=torch.promote_types(scores.dtype, torch.float32))


def attend_scales(weights: Tensor, maps: Sequence[Tensor]) -> Tensor:
    """Sum of maps (B, C, h, w), one for each scale, with the weights (B, scales, h, w) -> (B, C, h, w)."""
    by_scale = weights.to(maps[0].dtype).split(1, 1)
    first, *others = (weight * features for weight, features in zip(by_scale, maps, strict=True))
    return sum(others, start=first)


def at_own_size(maps: Sequence[Tensor], scales: Sequence[float]) -> list[Tensor]:
    """Maps of all scales at the size of the map of scale 1."""
    size = maps[list(scales).index(1.0)].shape[-2:]
    return [upsample(features, size) for features in maps]


def scale_terms(logits: Mapping[str, Tensor], batch: Batch, criterion: Criterion, weight: float) -> dict[str, Tensor]:
    """Weighted losses of the logits (B, K, h, w) of each scale, read at the labels' size."""
    label = batch["label"].long()
    return {name: weight * criterion(upsample(one, label.shape[-2:]), label) for name, one in logits.items()}


def term_of(scale: float) -> str:
    """Name of the loss of a scale, e.g. scale75."""
    return f"scale{100 * scale:g}"
