"""OCR (Yuan et al. 2020, "Object-Contextual Representations for Semantic Segmentation", arXiv:1909.11065, section 3.2).

Layers are those of the authors' openseg.pytorch (`spatial_ocr_block.py` and `ocrnet.py`).
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from ocnet_pl.model.attention import attend, attention_rows
from ocnet_pl.model.contract import Attention
from ocnet_pl.model.layers import conv_norm_act, image_of, tokens, two_layer_transform, upsample, without_autocast
from ocnet_pl.resizing import Size


@dataclass(frozen=True)
class RegionAttention:
    """Attention of positions to regions, followed by the regions' own weights of all positions.

    Attributes:
        query: transform of the features, (1, C, H, W) -> (1, d, H, W).
        key: keys of the regions, (K, d).
        regions: weights of the positions in each region, (K, H, W); each region sums to 1.
    """

    query: nn.Module
    key: Tensor
    regions: Tensor
    name: str = "object regions"

    def size(self, features: Tensor) -> Size:
        height, width = features.shape[2:]
        return height, width

    def rows(self, features: Tensor, points: Tensor) -> Tensor:
        x, y = points.T
        of_regions = attention_rows(self.query(features)[0, :, y, x].T, self.key)
        return torch.einsum("pk,khw->phw", of_regions, self.regions)

    def reach(self, x: int, y: int, size: Size) -> Tensor:
        return torch.ones(size, dtype=torch.bool)


class OCR(nn.Module):
    """Context from one region for each class. (B, in, H, W) -> (B, out_channels, H, W).

    The logits of the auxiliary classifier say how much each position belongs to the region of a class. A region is the
    mean of the positions with these weights, and each position attends to all regions. The auxiliary classifier
    therefore runs in tests as well, and learns from the main loss, too.

    Args:
        in_channels: channels of the last stage.
        out_channels: width of the head.
        key_channels: width of query, key and value; None: half of out_channels.
        dropout: channel dropout before the classifier.
        negative_slope: slope of the leaky ReLU; 0 is ReLU.
    """

    reads_auxiliary: ClassVar[bool] = True

    def __init__(
        self,
        in_channels: int,
        out_channels: int = 512,
        *,
        key_channels: int | None = None,
        dropout: float = 0.05,
        negative_slope: float = 0.0,
    ) -> None:
        super().__init__()
        width = key_channels or max(1, out_channels // 2)
        self.out_channels = out_channels
        self.reduce = conv_norm_act(in_channels, out_channels, 3, negative_slope=negative_slope)
        self.query = two_layer_transform(out_channels, width, negative_slope=negative_slope)
        self.key = two_layer_transform(out_channels, width, negative_slope=negative_slope)
        self.value = conv_norm_act(out_channels, width, negative_slope=negative_slope)
        self.project = conv_norm_act(width, out_channels, negative_slope=negative_slope)
        self.fuse = conv_norm_act(2 * out_channels, out_channels, negative_slope=negative_slope)
        self.dropout = nn.Dropout2d(dropout)

    def forward(self, features: Tensor, *, auxiliary: Tensor) -> Tensor:
        reduced = self.reduce(features)
        regions = region_features(reduced, region_weights(reduced, auxiliary))
        query, key, value = tokens(self.query(reduced)), tokens(self.key(regions)), tokens(self.value(regions))
        context = self.project(image_of(attend(query, key, value), reduced.shape[2:]))
        return self.dropout(self.fuse(torch.cat([context, reduced], 1)))

    def attended(self, features: Tensor, *, auxiliary: Tensor) -> list[tuple[Attention, Tensor]]:
        reduced = self.reduce(features)
        weights = region_weights(reduced, auxiliary)
        key = tokens(self.key(region_features(reduced, weights)))[0]
        return [(RegionAttention(self.query, key, weights[0]), reduced)]


def region_weights(features: Tensor, logits: Tensor) -> Tensor:
    """Weights of the positions in the region of each class, (B, K, H, W): softmax over the positions, in float32.

    A position of a large map has a weight near 1e-4, where half precision is coarse.

    Args:
        features: (B, C, H, W), of the size that the weights get.
        logits: (B, K, h, w).
    """
    logits = upsample(logits, features.shape[2:])
    exact = torch.promote_types(logits.dtype, torch.float32)
    return logits.flatten(2).softmax(2, dtype=exact).unflatten(2, features.shape[2:])


def region_features(features: Tensor, weights: Tensor) -> Tensor:
    """Features of each region, (B, C, H, W) and (B, K, H, W) -> (B, C, K, 1); summed in float32."""
    with without_autocast(features):
        rows = tokens(features).to(weights.dtype)
        return (weights.flatten(2) @ rows).transpose(1, 2).unsqueeze(3).to(features.dtype)
