"""Scale-adaptive convolution (Zhang et al. 2017, "Scale-Adaptive Convolutions for Scene Parsing", ICCV).

Our reading: the authors published no code, and details were not verified against the paper (docs/systems.md).
"""

from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import register_flop_formula
from torchvision.ops import deform_conv2d

from ocnet_pl.model.layers import without_autocast


def scale_adaptive_conv(
    features: Tensor, scale: Tensor, weight: Tensor, bias: Tensor | None = None, *, stride: int = 1, dilation: int = 1
) -> Tensor:
    """3x3 convolution whose dilation is multiplied by a factor at every position.

    Output at position t: b + sum over i, j in {-1, 0, 1} of W_ij x(t + scale(t) * dilation * (i, j)), bilinear between
    positions and zero outside. It runs on torchvision's deformable convolution, in float32 under autocast as well.

    Args:
        features: (B, C, H, W).
        scale: factor of each output position, (B, 1, h, w).
        weight: (out, C, 3, 3).
        bias: (out,).
        stride: stride of the output positions.
        dilation: dilation at a factor of 1.

    Returns:
        (B, out, h, w), of the type of the features.
    """
    steps = dilation * torch.arange(-1, 2, dtype=torch.float32, device=features.device)
    taps = torch.cartesian_prod(steps, steps).flatten().view(1, -1, 1, 1)  # (y, x) of each of the nine
    with without_autocast(features):
        precision = torch.promote_types(features.dtype, torch.float32)  # never less than float32
        offsets = (scale.to(precision) - 1) * taps.to(precision)
        output = deform_conv2d(
            features.to(precision),
            offsets,
            weight.to(precision),
            None if bias is None else bias.to(precision),
            stride=stride,
            padding=dilation,
            dilation=dilation,
        )
    return output.to(features.dtype)


@register_flop_formula(torch.ops.torchvision.deform_conv2d)
def _operations(_: Any, weight: Any, *__: Any, out_shape: Any, **___: Any) -> int:
    """Operations of a deformable convolution, from shapes; torch's counter does not know them. Sampling is left out."""
    return 2 * prod(out_shape) * prod(weight[1:])


class ScaleAdaptiveConv2d(nn.Conv2d):
    """3x3 convolution that chooses the factor of its dilation at every position. It replaces a 3x3 convolution.

    The factor is a 3x3 convolution of the same input with one output. It starts at 1 everywhere, as a convolution with
    a fixed dilation. It has no loss of its own.

    Args:
        replaced: the convolution, whose weights and their names stay.
        min_scale: smallest factor.
    """

    def __init__(self, replaced: nn.Conv2d, min_scale: float = 0.1) -> None:
        super().__init__(
            replaced.in_channels,
            replaced.out_channels,
            3,
            stride=replaced.stride,  # type: ignore[arg-type]
            padding=replaced.dilation,  # type: ignore[arg-type]
            dilation=replaced.dilation,  # type: ignore[arg-type]
            bias=replaced.bias is not None,
            device="meta",
        )
        self.weight, self.bias = replaced.weight, replaced.bias
        self.min_scale = min_scale
        self.scale = nn.Conv2d(self.in_channels, 1, 3, stride=self.stride, padding=1)  # type: ignore[arg-type]
        nn.init.zeros_(self.scale.weight)
        nn.init.ones_(self.scale.bias)  # type: ignore[arg-type]

    def forward(self, features: Tensor) -> Tensor:
        with without_autocast(features):  # a factor of half precision would move samples by pixels
            precise = features.to(torch.promote_types(features.dtype, torch.float32))
            scale = self.scale(precise).clamp_min(self.min_scale)
        return scale_adaptive_conv(
            features, scale, self.weight, self.bias, stride=self.stride[0], dilation=self.dilation[0]
        )
