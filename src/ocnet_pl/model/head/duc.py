"""Dense upsampling convolution of DUC-HDC.

Wang et al. 2018, "Understanding Convolution for Semantic Segmentation", arXiv:1702.08502. The hybrid dilated
convolution of its backbone is `create_backbone(block_dilations=...)`.
"""

from collections.abc import Sequence
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn


class DUC(nn.Module):
    """Logits of a finer map from four dilated convolutions. (B, in_channels, h, w) -> (B, num_classes, h', w').

    Each 3x3 convolution gives factor^2 values for every class and position. Their sum is rearranged, so that a position
    becomes a square of factor x factor (section 3.1; authors' `network_duc_hdc.py`). No norm, no activation.

    The network aligns the corners of maps. A map of h positions therefore becomes one of (h - 1) * factor + 1: the
    positions beyond the last pixel are cut off. With crops of 769 and the factor 4 that is 385, every second pixel.

    Deviations: the loss reads logits at the image's size, not at stride 2; initial values are uniform, which the
    authors' initialiser ("Xavier", fan-in, magnitude 2.34) is by default.

    Args:
        in_channels: channels of the last stage.
        num_classes: number of classes.
        factor: upsampling factor: 4 gives stride 2 from stride 8 (the published network), 8 gives the image's size.
        dilations: dilation of each convolution.
        cut: cut off the positions beyond the last pixel. False is the authors' form, for sides that divide by 8.
    """

    ends_in_logits: ClassVar[bool] = True

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        *,
        factor: int = 4,
        dilations: Sequence[int] = (6, 12, 18, 24),
        cut: bool = True,
    ) -> None:
        super().__init__()
        self.factor = factor
        self.cut = cut
        self.dilated = nn.ModuleList(
            nn.Conv2d(in_channels, factor**2 * num_classes, 3, padding=dilation, dilation=dilation)
            for dilation in dilations
        )
        self.apply(_initialize)

    def forward(self, features: Tensor) -> Tensor:
        first, *others = self.dilated
        total = first(features)
        for conv in others:
            total = total + conv(features)
        logits = F.pixel_shuffle(total, self.factor)
        if not self.cut:
            return logits
        height, width = ((side - 1) * self.factor + 1 for side in features.shape[2:])
        return logits[..., :height, :width]


def _initialize(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d):
        bound = (2.34 / module.weight[0].numel()) ** 0.5
        nn.init.uniform_(module.weight, -bound, bound)
        nn.init.zeros_(module.bias)  # type: ignore[arg-type]
