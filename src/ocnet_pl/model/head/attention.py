"""Attention (Chen et al. 2016, "Attention to Scale: Scale-aware Semantic Image Segmentation", arXiv:1511.03339).

Layers follow LIP_SSL (Gong et al. 2017, "Look into Person", arXiv:1703.05446), which trains it on LIP.
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar

from torch import Tensor, nn

from ocnet_pl.model.contract import Batch, Criterion
from ocnet_pl.model.scale_attention import ScaleAttention, at_own_size, attend_scales, scale_terms, term_of


class Attention(nn.Module):
    """Scores of the image at several scales, summed with weights that are predicted at every position.

    Last stage of each scale (B, in, h_s, w_s) -> logits (B, K, h, w), at the size of scale 1.

    Each scale has the two layers before the classifier of DeepLab-LargeFOV and the classifier, all shared. In training
    each scale has a loss of its own.

    Deviations: the public network is VGG-16, whose own layers these two are; here they follow any backbone, with
    PyTorch's initial values. The loss of a scale reads logits at the image's size, theirs at the size of the scale's
    map. How they resize the image was not read: here bilinear with aligned corners.

    Args:
        in_channels: channels of the last stage.
        num_classes: number of classes.
        out_channels: width of the two layers before the classifier.
        attention_channels: width inside the attention.
        dilation: dilation of the first layer.
        image_scales: scales of the image.
        scale_weight: weight of the loss of each scale.
        dropout: dropout of single values after both layers, and inside the attention.
    """

    ends_in_logits: ClassVar[bool] = True

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        *,
        out_channels: int = 1024,
        attention_channels: int = 512,
        dilation: int = 12,
        image_scales: Sequence[float] = (1.0, 0.75, 0.5),
        scale_weight: float = 1.0,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        self.image_scales = tuple(image_scales)
        self.scale_weight = scale_weight
        self.large_view = nn.Sequential(
            nn.Conv2d(in_channels, out_channels, 3, padding=dilation, dilation=dilation),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            nn.Conv2d(out_channels, out_channels, 1),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
        )
        self.classifier = nn.Conv2d(out_channels, num_classes, 1)
        scales = len(self.image_scales)
        self.attention = ScaleAttention(out_channels, attention_channels, scales, dropout=dropout)

    def forward(self, *maps: Tensor) -> Tensor:
        return self._fused(maps)[0]

    def supervised(self, *maps: Tensor) -> tuple[Tensor, Mapping[str, Tensor]]:
        fused, scores = self._fused(maps)
        return fused, {term_of(scale): one for scale, one in zip(self.image_scales, scores, strict=True)}

    def losses(self, extras: Mapping[str, Tensor], batch: Batch, criterion: Criterion) -> dict[str, Tensor]:
        return scale_terms(extras, batch, criterion, self.scale_weight)

    def _fused(self, maps: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Sum of the scores, and the scores of each scale at their own sizes."""
        features = [self.large_view(one) for one in maps]
        scores: list[Tensor] = [self.classifier(one) for one in features]
        weights = self.attention(at_own_size(features, self.image_scales))
        return attend_scales(weights, at_own_size(scores, self.image_scales)), scores
