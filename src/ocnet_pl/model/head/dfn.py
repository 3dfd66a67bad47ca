"""DFN (Yu et al. 2018, "Learning a Discriminative Feature Network", arXiv:1804.09337, sections 3.1 to 3.3)."""

from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from ocnet_pl.arguments import checked
from ocnet_pl.metrics import IGNORE
from ocnet_pl.model.contract import Batch, Criterion
from ocnet_pl.model.edges import canny_edges, dilated, focal_loss, neighbour_edges, released_focal_loss
from ocnet_pl.model.layers import PooledContext, conv_norm_act, initialize_he, upsample

_EDGE_WIDTH = 7
"""Side of the square that widens an edge, in pixels."""


class RefinementResidual(nn.Module):
    """1x1 convolution, and a residual of 3x3 conv-norm-act and 3x3 convolution. (B, in, h, w) -> (B, out, h, w).

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        activated: activation of the sum.
        negative_slope: slope of the leaky ReLU.
    """

    def __init__(
        self, in_channels: int, out_channels: int, *, activated: bool = True, negative_slope: float = 0.0
    ) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(in_channels, out_channels, 1, bias=False)
        self.residual = nn.Sequential(
            *conv_norm_act(out_channels, out_channels, 3, bias=False, negative_slope=negative_slope),
            nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False),
        )
        self.activation: nn.Module = nn.LeakyReLU(negative_slope, inplace=True) if activated else nn.Identity()

    def forward(self, features: Tensor) -> Tensor:
        reduced = self.reduce(features)
        refined: Tensor = self.activation(reduced + self.residual(reduced))
        return refined


class ChannelSelection(nn.Module):
    """Channel attention: the finer map, each channel multiplied by a gate, plus the coarser one.

    Finer and coarser map (B, C, h, w) -> (B, C, h, w). The gate is computed from the means of both.
    """

    def __init__(self, channels: int, *, negative_slope: float = 0.0) -> None:
        super().__init__()
        self.gate = nn.Sequential(
            nn.Linear(2 * channels, channels),
            nn.LeakyReLU(negative_slope, inplace=True),
            nn.Linear(channels, channels),
            nn.Sigmoid(),
        )

    def forward(self, finer: Tensor, coarser: Tensor) -> Tensor:
        means = torch.cat([finer, coarser], 1).mean((2, 3))
        joined: Tensor = finer * self.gate(means)[..., None, None] + coarser
        return joined


class SmoothNetwork(nn.Module):
    """Path from the global context down to the first stage. Stages -> maps (B, width, h_i, w_i), coarse first."""

    def __init__(self, in_channels: Sequence[int], width: int, *, negative_slope: float = 0.0) -> None:
        super().__init__()

        def refinement(channels: int) -> RefinementResidual:
            return RefinementResidual(channels, width, negative_slope=negative_slope)

        self.global_context = PooledContext(in_channels[-1], width, negative_slope=negative_slope)
        self.reduce = nn.ModuleList(refinement(channels) for channels in reversed(in_channels))
        self.select = nn.ModuleList(ChannelSelection(width, negative_slope=negative_slope) for _ in in_channels)
        self.refine = nn.ModuleList(refinement(width) for _ in in_channels)

    def forward(self, *stages: Tensor) -> list[Tensor]:
        maps, path = [], self.global_context(stages[-1])
        for stage, reduce, select, refine in zip(stages[::-1], self.reduce, self.select, self.refine, strict=True):
            path = refine(select(reduce(stage), upsample(path, stage.shape[-2:])))
            maps.append(path)
        return maps


class BorderNetwork(nn.Module):
    """Bottom-up path over all stages. Stages -> maps (B, width, h_1, w_1) of the first stage's size, fine first.

    The authors' code has a further refinement for the first stage, which it never uses.
    """

    def __init__(self, in_channels: Sequence[int], width: int, *, negative_slope: float = 0.0) -> None:
        super().__init__()

        def refinement(channels: int) -> RefinementResidual:
            return RefinementResidual(channels, width, negative_slope=negative_slope)

        self.reduce = nn.ModuleList(refinement(channels) for channels in in_channels)
        self.refine = nn.ModuleList(refinement(width) for _ in in_channels[1:])

    def forward(self, *stages: Tensor) -> list[Tensor]:
        maps = [self.reduce[0](stages[0])]
        for stage, reduce, refine in zip(stages[1:], self.reduce[1:], self.refine, strict=True):
            maps.append(refine(maps[-1] + upsample(reduce(stage), maps[0].shape[-2:])))
        return maps


class DFN(nn.Module):
    """Smooth network from coarse to fine, and in training a border network from fine to coarse.

    Stages (B, C_i, h_i, w_i) of strides 4, 8, 16 and 32 -> logits (B, num_classes, h_1, w_1).

    It follows the first author's network for Cityscapes (TorchSeg). Each of the four maps of either network has a
    classifier; the smooth network's last one gives the prediction, the others' losses are added. The border network has
    no influence on the prediction but through the backbone.

    Deviations: the released loss of borders is not a focal loss, and is an option; edges are made after the crop, and
    pixels without a class have no border loss; weight decay applies to all parameters; one learning rate unless
    `head_lr_factor` is set.

    Args:
        in_channels: channels of the four stages.
        num_classes: number of classes.
        out_channels: width of the smooth network.
        border_channels: width of the border network.
        class_channels: channels for each class before a classifier.
        smooth_weight: weight of the loss of each of the three coarser classifiers.
        border_weight: weight of the loss of each border classifier.
        edges: rule for edges: "canny" (the authors' code; pixels without a class count as class 0) or "neighbours".
        released_focal: use the loss of borders of the authors' code: see `edges.released_focal_loss`.
        negative_slope: slope of the leaky ReLU; 0 is the authors' ReLU.
    """

    levels: ClassVar[tuple[int, ...]] = (-4, -3, -2, -1)
    ends_in_logits: ClassVar[bool] = True

    @checked
    def __init__(
        self,
        in_channels: Sequence[int],
        num_classes: int,
        out_channels: int = 512,
        *,
        border_channels: int = 21,
        class_channels: int = 9,
        smooth_weight: float = 1.0,
        border_weight: float = 0.1,
        edges: Literal["canny", "neighbours"] = "canny",
        released_focal: bool = False,
        negative_slope: float = 0.0,
    ) -> None:
        super().__init__()

        def classifiers(channels: int, classes: int) -> nn.ModuleList:
            width = class_channels * classes
            return nn.ModuleList(
                nn.Sequential(
                    RefinementResidual(channels, width, activated=False, negative_slope=negative_slope),
                    nn.Conv2d(width, classes, 1),
                )
                for _ in in_channels
            )

        self.out_channels = num_classes
        self.smooth_weight = smooth_weight
        self.border_weight = border_weight
        self.find_edges = {"canny": canny_edges, "neighbours": neighbour_edges}[edges]
        self.border_loss = released_focal_loss if released_focal else focal_loss
        self.smooth = SmoothNetwork(in_channels, out_channels, negative_slope=negative_slope)
        self.smooth_classifiers = classifiers(out_channels, num_classes)
        self.border = BorderNetwork(in_channels, border_channels, negative_slope=negative_slope)
        self.border_classifiers = classifiers(border_channels, 1)
        self.apply(initialize_he)

    def forward(self, *stages: Tensor) -> Tensor:
        logits: Tensor = self.smooth_classifiers[-1](self.smooth(*stages)[-1])
        return logits

    def supervised(self, *stages: Tensor) -> tuple[Tensor, Mapping[str, Tensor]]:
        *coarse, logits = _classified(self.smooth_classifiers, self.smooth(*stages))
        borders = _classified(self.border_classifiers, self.border(*stages))
        return logits, {
            **{f"smooth{number}": one for number, one in enumerate(coarse, 1)},
            **{f"border{number}": one for number, one in enumerate(borders, 1)},
        }

    def losses(self, extras: Mapping[str, Tensor], batch: Batch, criterion: Criterion) -> dict[str, Tensor]:
        label = batch["label"].long()
        edges, counted = dilated(self.find_edges(label), _EDGE_WIDTH), label != IGNORE
        terms = {}
        for name, small in extras.items():
            logits = upsample(small, label.shape[-2:])
            if name.startswith("smooth"):
                terms[name] = self.smooth_weight * criterion(logits, label)
            else:
                terms[name] = self.border_weight * self.border_loss(logits.squeeze(1), edges, counted)
        return terms


def _classified(classifiers: nn.ModuleList, maps: Sequence[Tensor]) -> list[Tensor]:
    return [classifier(features) for classifier, features in zip(classifiers, maps, strict=True)]
