"""SS-NAN (Zhao et al. 2017, "Self-Supervised Neural Aggregation Networks for Human Parsing", CVPR workshops).

Layers follow a public re-implementation (llltttppp/SS-NAN, Keras); the paper was not read.
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar

from torch import Tensor, nn

from ocnet_pl.model.contract import Batch, Criterion
from ocnet_pl.model.scale_attention import ScaleAttention, at_own_size, attend_scales, scale_terms, term_of


class SSNAN(nn.Module):
    """Features of the image at several scales, summed with weights that are predicted at every position.

    Last stage of each scale (B, in, h_s, w_s) -> logits (B, K, h, w), at the size of scale 1.

    In training each scale has a loss of its own, through the one classifier. Structure weights belong to
    the system (`loss/structure.py`).

    Deviations: all parts train together, where the public code trains one scale, then the attention, then with the
    structure loss. There the classifier of the first step is not that of the sum; here one classifier reads the sum and
    each scale. How the image is resized was not read: here bilinear with aligned corners.

    Args:
        in_channels: channels of the last stage.
        num_classes: number of classes.
        attention_channels: width inside the attention.
        image_scales: scales of the image.
        scale_weight: weight of the loss of each scale; at 1 the sum and each scale weigh the same.
        dropout: dropout of single values inside the attention.
    """

    ends_in_logits: ClassVar[bool] = True

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        *,
        attention_channels: int = 512,
        image_scales: Sequence[float] = (0.5, 0.75, 1.0),
        scale_weight: float = 1.0,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        self.image_scales = tuple(image_scales)
        self.scale_weight = scale_weight
        scales = len(self.image_scales)
        self.attention = ScaleAttention(in_channels, attention_channels, scales, kernel_size=3, dropout=dropout)
        self.classifier = nn.Conv2d(in_channels, num_classes, 3, padding=1)

    def forward(self, *maps: Tensor) -> Tensor:
        return self._fused(at_own_size(maps, self.image_scales))

    def supervised(self, *maps: Tensor) -> tuple[Tensor, Mapping[str, Tensor]]:
        features = at_own_size(maps, self.image_scales)
        names = map(term_of, self.image_scales)
        return self._fused(features), {name: self.classifier(one) for name, one in zip(names, features, strict=True)}

    def losses(self, extras: Mapping[str, Tensor], batch: Batch, criterion: Criterion) -> dict[str, Tensor]:
        return scale_terms(extras, batch, criterion, self.scale_weight)

    def _fused(self, features: Sequence[Tensor]) -> Tensor:
        logits: Tensor = self.classifier(attend_scales(self.attention(features), features))
        return logits
