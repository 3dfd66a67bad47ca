"""MuLA (Nie et al. 2018, "Mutual Learning to Adapt for Joint Human Parsing and Pose Estimation", ECCV; the authors'
PyTorch code, pytorch-mula)."""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ocnet_pl.arguments import Number, Positive, PositiveNumber, checked
from ocnet_pl.model.heatmaps import aligned_cells, gaussian_maps, with_background
from ocnet_pl.model.hourglass import Hourglass
from ocnet_pl.model.layers import conv_norm_act, initialize_he, symbolic, upsample
from ocnet_pl.model.parsing_and_pose import ParsingAndPose, extras_of_stages
from ocnet_pl.resizing import Size

KERNEL_SIDE = 7
"""Side of the kernels that an adapter gives."""
ADAPTER_SIDES = (57, 64)
"""Least and greatest side of a map for which it gives kernels of this side."""
LEAST = 0.01
"""Share of a heatmap's peak below which the map is 0."""


class MutualAdaptation(nn.Module):
    """Adaptation of one task's features by convolution kernels that are computed from the other's, image by image.

    Own features (B, C, h, w), the other task's (B, C, h, w) -> (B, C, h, w).

    An adapter has no activation between its convolutions. The size of its kernels follows from that of its map; a map
    with a side outside 57..64 is therefore resized to the nearest of these (the authors' maps are 64 x 64).
    """

    def __init__(self, channels: int, *, negative_slope: float = 0.0) -> None:
        super().__init__()
        self.adapter = nn.Sequential(
            nn.Conv2d(channels, channels, 3, stride=2),
            nn.MaxPool2d(2),
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.MaxPool2d(2),
            nn.Conv2d(channels, channels, 3, padding=1),
        )
        self.before = nn.Conv2d(channels, channels, 1)
        self.after = conv_norm_act(channels, channels, negative_slope=negative_slope)

    def forward(self, own: Tensor, other: Tensor) -> Tensor:
        adapted: Tensor = self.after(adaptive_convolution(self.before(own), self.kernels(other)))
        return own + adapted

    def kernels(self, other: Tensor) -> Tensor:
        """Kernels (B, C, 7, 7) from the other task's features."""
        least, greatest = ADAPTER_SIDES
        size: list[Any] = [torch.sym_min(torch.sym_max(side, least), greatest) for side in other.shape[-2:]]
        kernels: Tensor = self.adapter(upsample(other, size))
        return kernels


class TaskStage(nn.Module):
    """One stage of one task: features, their adaptation, and a result.

    Args:
        channels: channels of the features.
        results: channels of the result.
        last: no stage follows.
        hourglass: compute the features with an hourglass.
        negative_slope: slope of the leaky ReLU.
    """

    def __init__(
        self, channels: int, results: int, *, last: bool, hourglass: bool = False, negative_slope: float = 0.0
    ) -> None:
        super().__init__()
        layer = conv_norm_act(channels, channels, negative_slope=negative_slope)
        self.encode = nn.Sequential(Hourglass(channels, negative_slope=negative_slope), *layer) if hourglass else layer
        self.adapt = MutualAdaptation(channels, negative_slope=negative_slope)
        self.classify = nn.Conv2d(channels, results, 1)
        self.carry = None if last else nn.Conv2d(channels, channels, 1)
        self.remap = None if last else nn.Conv2d(results, channels, 1)

    def following(self, features: Tensor, own: Tensor, result: Tensor) -> Tensor:
        """Input of the next stage: that of this one, plus its features before adaptation and its result."""
        assert self.carry is not None
        assert self.remap is not None
        following: Tensor = features + self.carry(own) + self.remap(result)
        return following


class MuLA(ParsingAndPose):
    """Parsing and pose in stages, each adapted by the other. (B, in, h, w) -> logits (B, num_classes, h, w).

    Two 3x3 convolutions start the tasks from the last stage of the backbone. In training the last parsing is the
    classifier, and all other results have losses of their own; the poses are the target `pose` of the batch. In testing
    the adaptation and the result of the last pose are not computed.

    Deviations: the authors have no backbone of ImageNet but two hourglass networks (or two VGG-16), at stride 4 of
    256 x 256 pixels around a person; here the stages have no hourglasses unless asked for. They weight pose 100 times
    as much as parsing and train with RMSProp; with SGD that diverges, so the ratio is 10 here. Cells of heatmaps lie on
    the positions of aligned corners.

    Args:
        in_channels: channels of the last stage.
        num_classes: number of classes.
        out_channels: width of both tasks.
        joints: number of joints; a further map is the background.
        stages: number of results of each task (5 in the authors' network).
        hourglass: begin every stage with an hourglass, as the authors' network does.
        sigma: standard deviation of a joint's heatmap in pixels. Theirs is 7 of 256 pixels.
        stage_weight: weight of the loss of each parsing result but the last.
        pose_weight: weight of the loss of each pose result.
        negative_slope: slope of the leaky ReLU; 0 is the authors' ReLU.
    """

    ends_in_logits: ClassVar[bool] = True

    @checked
    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        out_channels: Positive = 256,
        *,
        joints: Positive = 16,
        stages: Positive = 2,
        hourglass: bool = False,
        sigma: PositiveNumber = 13.0,
        stage_weight: Number = 1.0,
        pose_weight: Number = 10.0,
        negative_slope: float = 0.0,
    ) -> None:
        super().__init__(joints, stage_weight, pose_weight)

        def reduction() -> nn.Sequential:
            return conv_norm_act(in_channels, out_channels, 3, bias=False, negative_slope=negative_slope)

        def of_task(results: int) -> nn.ModuleList:
            options: dict[str, Any] = {"hourglass": hourglass, "negative_slope": negative_slope}
            return nn.ModuleList(
                TaskStage(out_channels, results, last=number == stages - 1, **options) for number in range(stages)
            )

        self.sigma = sigma
        self.reduce_parsing = reduction()
        self.reduce_pose = reduction()
        self.parsing = of_task(num_classes)
        self.pose = of_task(joints + 1)
        self.apply(initialize_he)

    def forward(self, features: Tensor) -> Tensor:
        return self._results(self.reduce_parsing(features), self.reduce_pose(features), last_pose=False)[0][-1]

    def supervised(self, features: Tensor) -> tuple[Tensor, Mapping[str, Tensor]]:
        parsings, poses = self._results(self.reduce_parsing(features), self.reduce_pose(features))
        return parsings[-1], extras_of_stages(parsings, poses)

    def pose_loss(self, maps: Tensor, points: Tensor, image: Size) -> Tensor:
        rows, columns = aligned_cells((maps.shape[-2], maps.shape[-1]), image, points.device)
        target = with_background(gaussian_maps(points, rows, columns, self.sigma, least=LEAST))
        return F.mse_loss(maps.float(), target)

    def _results(self, parsing: Tensor, pose: Tensor, *, last_pose: bool = True) -> tuple[list[Tensor], list[Tensor]]:
        """Parsing logits and pose maps of all stages, from the reduced features of both tasks."""
        parsings: list[Tensor] = []
        poses: list[Tensor] = []
        stages = len(self.parsing)
        for number, (of_parsing, of_pose) in enumerate(zip(self.parsing, self.pose, strict=True), 1):
            assert isinstance(of_parsing, TaskStage)
            assert isinstance(of_pose, TaskStage)
            own, other = of_parsing.encode(parsing), of_pose.encode(pose)
            parsings.append(of_parsing.classify(of_parsing.adapt(own, other)))
            if number < stages or last_pose:
                poses.append(of_pose.classify(of_pose.adapt(other, own)))
            if number < stages:
                parsing = of_parsing.following(parsing, own, parsings[-1])
                pose = of_pose.following(pose, other, poses[-1])
        return parsings, poses


def adaptive_convolution(features: Tensor, kernels: Tensor) -> Tensor:
    """Depthwise convolution with kernels of each image and channel. (B, C, h, w), (B, C, k, k) -> (B, C, h, w)."""
    if symbolic(features.shape):
        return _sum_of_shifts(features, kernels)
    together, weight = features.flatten(0, 1).unsqueeze(0), kernels.flatten(0, 1).unsqueeze(1)
    convolved = F.conv2d(together, weight, padding=weight.shape[-1] // 2, groups=len(weight))
    return convolved.squeeze(0).unflatten(0, features.shape[:2])


def _sum_of_shifts(features: Tensor, kernels: Tensor) -> Tensor:
    """The same without groups, whose number an exported convolution has to know."""
    height, width = features.shape[-2:]
    reach = KERNEL_SIDE // 2
    padded = F.pad(features, (reach, reach, reach, reach))
    total = torch.zeros_like(features)
    for down in range(KERNEL_SIDE):
        for across in range(KERNEL_SIDE):
            shifted = padded[..., down : down + height, across : across + width]
            total = total + shifted * kernels[..., down, across, None, None]
    return total
