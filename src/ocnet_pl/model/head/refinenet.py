"""RefineNet (Lin et al. 2017, "RefineNet: Multi-Path Refinement Networks", arXiv:1611.06612, section 3)."""

from collections.abc import Sequence
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from ocnet_pl.model.layers import upsample


class ResidualConvolution(nn.Module):
    """Residual unit without norm: act, 3x3 convolution, act, 3x3 convolution, added. (B, C, h, w), same shape."""

    def __init__(self, channels: int, *, negative_slope: float = 0.0) -> None:
        super().__init__()
        self.first_activation = nn.LeakyReLU(negative_slope)
        self.first = _conv(channels, channels, bias=True)
        self.second_activation = nn.LeakyReLU(negative_slope)
        self.second = _conv(channels, channels)

    def forward(self, features: Tensor) -> Tensor:
        first = self.first(self.first_activation(features))
        residual: Tensor = self.second(self.second_activation(first))
        return features + residual


class ChainedPooling(nn.Module):
    """Chain of max-pools and convolutions, the input and every link summed. (B, C, h, w), same shape.

    Args:
        channels: channels of the map.
        length: links of the chain.
        improved: convolution before pooling, as in the authors' later models; False: pooling first, as in the paper.
    """

    def __init__(self, channels: int, length: int = 4, *, improved: bool = False) -> None:
        super().__init__()
        self.improved = improved
        self.convolutions = nn.ModuleList(_conv(channels, channels) for _ in range(length))

    def forward(self, features: Tensor) -> Tensor:
        total = link = features
        for convolution in self.convolutions:
            link = _pool(convolution(link)) if self.improved else convolution(_pool(link))
            total = total + link
        return total


class RefinementStage(nn.Module):
    """One stage of the backbone joined with the coarser path. (B, in, h, w), (B, width, h', w') -> (B, out, h, w).

    Args:
        in_channels: channels of the backbone's stage.
        width: width of the refinement block, and channels of the coarser path.
        out_channels: channels that the next stage expects; None: no convolution at the end.
        coarsest: there is no coarser path, and no convolution before the sum.
        improved: see `ChainedPooling`.
        negative_slope: slope of the leaky ReLU.
    """

    def __init__(
        self,
        in_channels: int,
        width: int,
        out_channels: int | None,
        *,
        coarsest: bool = False,
        improved: bool = False,
        negative_slope: float = 0.0,
    ) -> None:
        super().__init__()

        def residual(units: int) -> nn.Sequential:
            return nn.Sequential(*(ResidualConvolution(width, negative_slope=negative_slope) for _ in range(units)))

        self.reduce = _conv(in_channels, width)
        self.adapt = residual(2)
        self.project: nn.Module = nn.Identity() if coarsest else _conv(width, width)
        self.activation = nn.LeakyReLU(negative_slope)
        self.pooling = ChainedPooling(width, improved=improved)
        self.refine = residual(3)
        self.output: nn.Module = nn.Identity() if out_channels is None else _conv(width, out_channels)

    def forward(self, stage: Tensor, coarser: Tensor | None = None) -> Tensor:
        joined = self.project(self.adapt(self.reduce(stage)))
        if coarser is not None:
            joined = joined + upsample(coarser, joined.shape[-2:])
        refined: Tensor = self.output(self.refine(self.pooling(self.activation(joined))))
        return refined


class RefineNet(nn.Module):
    """Cascade of refinement stages over all four stages, from coarse to fine.

    Stages (B, C_i, h_i, w_i) of strides 4, 8, 16 and 32 -> logits (B, num_classes, h_1, w_1). No layer has a norm.

    It follows the networks that the authors published for Cityscapes and VOC, with four pools in a chain.
    Deviations: the loss reads logits at the image's size, not at stride 4; norm statistics of the backbone are not
    frozen; the image is not enlarged by 1.2; one learning rate; upsampling has its exact gradient.

    Args:
        in_channels: channels of the four stages.
        num_classes: number of classes.
        out_channels: width of the stages of strides 4, 8 and 16.
        coarse_channels: width of the stage of stride 32; None: twice out_channels.
        improved_pooling: convolution before pooling, as in the authors' models for ADE20K.
        dropout: dropout of single values, on the two last stages and before the classifier.
        initial_std: standard deviation of the initial weights; None: PyTorch's initial values.
        negative_slope: slope of the leaky ReLU; 0 is the authors' ReLU.
    """

    levels: ClassVar[tuple[int, ...]] = (-4, -3, -2, -1)
    ends_in_logits: ClassVar[bool] = True

    def __init__(
        self,
        in_channels: Sequence[int],
        num_classes: int,
        out_channels: int = 256,
        *,
        coarse_channels: int | None = None,
        improved_pooling: bool = False,
        dropout: float = 0.5,
        initial_std: float | None = 0.01,
        negative_slope: float = 0.0,
    ) -> None:
        super().__init__()
        widths = (*(out_channels for _ in in_channels[1:]), coarse_channels or 2 * out_channels)
        self.out_channels = num_classes
        self.stages = nn.ModuleList(
            RefinementStage(
                channels,
                width,
                out_channels if index else None,
                coarsest=index == len(in_channels) - 1,
                improved=improved_pooling,
                negative_slope=negative_slope,
            )
            for index, (channels, width) in enumerate(zip(in_channels, widths, strict=True))
        )
        self.dropout = nn.Dropout(dropout)
        self.classifier = _conv(out_channels, num_classes, bias=True)
        if initial_std is not None:
            for module in self.modules():
                if isinstance(module, nn.Conv2d):
                    nn.init.normal_(module.weight, std=initial_std)
                    if module.bias is not None:
                        nn.init.zeros_(module.bias)

    def forward(self, *stages: Tensor) -> Tensor:
        *fine, coarse, coarsest = stages
        path = None
        dropped = (*fine, self.dropout(coarse), self.dropout(coarsest))
        for stage, refinement in zip(dropped[::-1], self.stages[::-1], strict=True):
            path = refinement(stage, path)
        logits: Tensor = self.classifier(self.dropout(path))
        return logits


def _conv(in_channels: int, out_channels: int, *, bias: bool = False) -> nn.Conv2d:
    return nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=bias)


def _pool(features: Tensor) -> Tensor:
    return F.max_pool2d(features, 5, stride=1, padding=2)
