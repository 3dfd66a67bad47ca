"""BiSeNet (Yu et al. 2018, "BiSeNet: Bilateral Segmentation Network", arXiv:1808.00897, sections 3.1 to 3.3)."""

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ocnet_pl.model.contract import Batch, Criterion
from ocnet_pl.model.layers import PooledContext, conv_norm_act, initialize_he, upsample


class AttentionRefinement(nn.Module):
    """3x3 conv-norm-act, each channel multiplied by a gate. (B, in, h, w) -> (B, out, h, w).

    The gate is computed from the mean of the channels: 1x1 convolution, batch norm, sigmoid.
    """

    def __init__(self, in_channels: int, out_channels: int, *, negative_slope: float = 0.0) -> None:
        super().__init__()
        self.reduce = conv_norm_act(in_channels, out_channels, 3, bias=False, negative_slope=negative_slope)
        self.gate = nn.Sequential(
            nn.Conv2d(out_channels, out_channels, 1, bias=False), nn.BatchNorm2d(out_channels), nn.Sigmoid()
        )

    def forward(self, features: Tensor) -> Tensor:
        reduced = self.reduce(features)
        gated: Tensor = reduced * self.gate(F.adaptive_avg_pool2d(reduced, 1))
        return gated


class FeatureFusion(nn.Module):
    """Fusion of two maps of `channels / 2` channels: concat, 1x1 conv-norm-act, and a gated copy added.

    Two maps (B, channels / 2, h, w) -> (B, channels, h, w).
    """

    def __init__(self, channels: int, *, negative_slope: float = 0.0) -> None:
        super().__init__()
        self.fuse = conv_norm_act(channels, channels, bias=False, negative_slope=negative_slope)
        self.gate = nn.Sequential(
            nn.Conv2d(channels, channels, 1, bias=False),
            nn.LeakyReLU(negative_slope, inplace=True),
            nn.Conv2d(channels, channels, 1, bias=False),
            nn.Sigmoid(),
        )

    def forward(self, spatial: Tensor, context: Tensor) -> Tensor:
        fused = self.fuse(torch.cat([spatial, context], 1))
        joined: Tensor = fused + fused * self.gate(F.adaptive_avg_pool2d(fused, 1))
        return joined


class BiSeNet(nn.Module):
    """Spatial path on the image and context path on the last two stages, fused.

    Stages (B, C_i, h_i, w_i) of strides 16 and 32, image (B, 3, H, W) -> (B, out_channels, ceil(H / 8), ceil(W / 8)).

    In training the context path has classifiers at strides 16 and 8, whose losses are added. It follows the first
    author's network for ResNet-101 (TorchSeg), whose attention refinement has a 3x3 convolution before the gate and one
    after each sum; the paper's figure has neither.

    Deviations: the network's classifier starts from PyTorch's initial values; weight decay applies to all parameters;
    all layers have one learning rate unless `head_lr_factor` is set.

    Args:
        in_channels: channels of the two stages.
        num_classes: number of classes, for the classifiers of the context path.
        out_channels: width of the layer before each of the three classifiers.
        context_channels: width of the context path, and of the spatial path's output.
        spatial_channels: width inside the spatial path.
        context_weight: weight of the loss of each classifier of the context path.
        negative_slope: slope of the leaky ReLU; 0 is the authors' ReLU.
    """

    levels: ClassVar[tuple[int, ...]] = (-2, -1)
    reads_image: ClassVar[bool] = True

    def __init__(
        self,
        in_channels: Sequence[int],
        num_classes: int,
        out_channels: int = 256,
        *,
        context_channels: int = 128,
        spatial_channels: int = 64,
        context_weight: float = 1.0,
        negative_slope: float = 0.0,
    ) -> None:
        super().__init__()

        def layer(channels: int, out: int, kernel_size: int = 3, stride: int = 1) -> nn.Sequential:
            return conv_norm_act(channels, out, kernel_size, stride=stride, bias=False, negative_slope=negative_slope)

        def refinement(channels: int) -> AttentionRefinement:
            return AttentionRefinement(channels, context_channels, negative_slope=negative_slope)

        def classifier() -> nn.Sequential:
            return nn.Sequential(layer(context_channels, out_channels), nn.Conv2d(out_channels, num_classes, 1))

        stride16, stride32 = in_channels
        self.out_channels = out_channels
        self.context_weight = context_weight
        self.spatial_path = nn.Sequential(
            layer(3, spatial_channels, 7, 2),
            layer(spatial_channels, spatial_channels, 3, 2),
            layer(spatial_channels, spatial_channels, 3, 2),
            layer(spatial_channels, context_channels, 1),
        )
        self.global_context = PooledContext(stride32, context_channels, negative_slope=negative_slope)
        self.refinement32 = refinement(stride32)
        self.refinement16 = refinement(stride16)
        self.smooth16 = layer(context_channels, context_channels)
        self.smooth8 = layer(context_channels, context_channels)
        self.classifier16 = classifier()
        self.classifier8 = classifier()
        self.fusion = FeatureFusion(2 * context_channels, negative_slope=negative_slope)
        self.reduce = layer(2 * context_channels, out_channels)
        self.apply(initialize_he)

    def forward(self, stride16: Tensor, stride32: Tensor, *, image: Tensor) -> Tensor:
        return self._paths(stride16, stride32, image)[0]

    def supervised(self, stride16: Tensor, stride32: Tensor, *, image: Tensor) -> tuple[Tensor, Mapping[str, Tensor]]:
        features, context16, context8 = self._paths(stride16, stride32, image)
        return features, {"context16": self.classifier16(context16), "context8": self.classifier8(context8)}

    def losses(self, extras: Mapping[str, Tensor], batch: Batch, criterion: Criterion) -> dict[str, Tensor]:
        label = batch["label"].long()
        return {
            name: self.context_weight * criterion(upsample(logits, label.shape[-2:]), label)
            for name, logits in extras.items()
        }

    def _paths(self, stride16: Tensor, stride32: Tensor, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Map for the classifier, and the context path at strides 16 and 8."""
        spatial = self.spatial_path(image)
        context32 = self.global_context(stride32) + self.refinement32(stride32)
        context16 = self.smooth16(upsample(context32, stride16.shape[-2:]))
        context8 = self.smooth8(upsample(self.refinement16(stride16) + context16, spatial.shape[-2:]))
        return self.reduce(self.fusion(spatial, context8)), context16, context8
