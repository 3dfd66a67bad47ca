"""JPPNet (Liang et al. 2018, "Look into Person: Joint Body Parsing & Pose Estimation Network and a New Benchmark",
arXiv:1804.01984; the authors' TensorFlow code, LIP_JPPNet)."""

import math
from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from ocnet_pl.arguments import Number, Positive, PositiveNumber, checked
from ocnet_pl.model.heatmaps import aligned_cells, gaussian_maps
from ocnet_pl.model.parsing_and_pose import ParsingAndPose, extras_of_stages
from ocnet_pl.resizing import Size

DILATIONS = (6, 12, 18, 24)
"""Dilations of the convolutions whose sum is a parsing classifier."""
REACH = 25 / 8
"""Radius of a heatmap in standard deviations; beyond it the map is 0."""


class DilatedClassifier(nn.Module):
    """Sum of four dilated 3x3 convolutions, as in DeepLab. (B, C, h, w) -> (B, K, h, w)."""

    def __init__(self, channels: int, num_classes: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            nn.Conv2d(channels, num_classes, 3, padding=dilation, dilation=dilation) for dilation in DILATIONS
        )

    def forward(self, features: Tensor) -> Tensor:
        return torch.stack([branch(features) for branch in self.branches]).sum(0)


class Refinement(nn.Module):
    """Second look of one task at its result, beside the other task's result.

    Own result (B, own, h, w), the other's (B, other, h, w), own features (B, channels, h, w) -> refined result (B, own,
    h, w), refined features (B, channels, h, w).

    Args:
        own: channels of the own result.
        other: channels of the other task's result.
        channels: channels of the features.
        hidden_channels: channels of the first layer.
        remap_channels: channels into which each of the two results is mapped.
        classifier: features -> result.
        negative_slope: slope of the leaky ReLU.
    """

    def __init__(
        self,
        own: int,
        other: int,
        channels: int,
        *,
        hidden_channels: int,
        remap_channels: int,
        classifier: nn.Module,
        negative_slope: float,
    ) -> None:
        super().__init__()
        widths = (channels + 2 * remap_channels, hidden_channels, channels, channels, channels)
        self.own_remap = _layers((own, remap_channels), (1,), negative_slope)
        self.other_remap = _layers((other, remap_channels), (1,), negative_slope)
        self.refine = _layers(widths, (3, 5, 7, 9), negative_slope)
        self.classify = nn.Sequential(*_layers((channels, channels), (1,), negative_slope), classifier)

    def forward(self, own: Tensor, other: Tensor, features: Tensor) -> tuple[Tensor, Tensor]:
        refined = self.refine(torch.cat([self.own_remap(own), self.other_remap(other), features], 1))
        return self.classify(refined), refined


class JPPNet(ParsingAndPose):
    """Parsing and pose side by side, which refine each other. Last two stages (B, C, h, w) -> logits (B, K, h, w).

    Parsing reads the last stage, pose the one before it. After the first stage of results each task reads the other's
    result in every further stage. No layer has a norm. In training the last stage is the classifier, and all other
    results have losses of their own; the poses are the target `pose` of the batch. In testing the logits are the mean
    of all stages, as in the authors' evaluation, and no pose of the last stage is computed.

    Deviations: one image scale, where the authors add the same losses at three; the parsing losses read logits at the
    image's size, theirs labels at stride 8; norm statistics of the backbone are not frozen; heatmaps are drawn in
    pixels of the crop, theirs in those of the image file, and with the joint between pixels.

    Args:
        in_channels: channels of the last two stages.
        num_classes: number of classes.
        out_channels: width of the features of both tasks.
        joints: number of joints.
        stages: number of results of each task.
        hidden_channels: width of the wider layers; None: twice out_channels.
        remap_channels: width of a result that is read again; None: half of out_channels.
        sigma: standard deviation of a joint's heatmap in pixels.
        stage_weight: weight of the loss of each parsing result but the last.
        pose_weight: weight of the loss of each pose result.
        initial_std: standard deviation of the initial weights, a truncated normal distribution; None: PyTorch's.
        negative_slope: slope of the leaky ReLU; 0 is the authors' ReLU.
    """

    levels: ClassVar[tuple[int, ...]] = (-2, -1)
    ends_in_logits: ClassVar[bool] = True

    @checked
    def __init__(
        self,
        in_channels: Sequence[int],
        num_classes: int,
        out_channels: Positive = 256,
        *,
        joints: Positive = 16,
        stages: Positive = 3,
        hidden_channels: Positive | None = None,
        remap_channels: Positive | None = None,
        sigma: PositiveNumber = 8.0,
        stage_weight: Number = 1.0,
        pose_weight: Number = 1.0,
        initial_std: PositiveNumber | None = 0.01,
        negative_slope: float = 0.0,
    ) -> None:
        super().__init__(joints, stage_weight, pose_weight)
        hidden, remapped = hidden_channels or 2 * out_channels, remap_channels or max(1, out_channels // 2)
        earlier, last = in_channels

        def refinements(own: int, other: int, classifier: type[nn.Module] | None = None) -> nn.ModuleList:
            return nn.ModuleList(
                Refinement(
                    own,
                    other,
                    out_channels,
                    hidden_channels=hidden,
                    remap_channels=remapped,
                    classifier=classifier(out_channels, own) if classifier else nn.Conv2d(out_channels, own, 1),
                    negative_slope=negative_slope,
                )
                for _ in range(stages - 1)
            )

        self.sigma = sigma
        self.parsing_classifier = DilatedClassifier(last, num_classes)
        self.parsing_features = _layers((last, hidden, out_channels), (3, 3), negative_slope)
        self.pose_features = _layers((earlier, hidden, hidden, *(out_channels,) * 4), (3,) * 6, negative_slope)
        self.pose_classifier = nn.Sequential(
            *_layers((out_channels, hidden), (1,), negative_slope), nn.Conv2d(hidden, joints, 1)
        )
        self.refine_parsing = refinements(num_classes, joints, DilatedClassifier)
        self.refine_pose = refinements(joints, num_classes)
        if initial_std is not None:
            _draw_weights(self, initial_std)

    def forward(self, earlier: Tensor, last: Tensor) -> Tensor:
        return self._answer(self._results(earlier, last, last_pose=False)[0])

    def supervised(self, earlier: Tensor, last: Tensor) -> tuple[Tensor, Mapping[str, Tensor]]:
        parsings, poses = self._results(earlier, last)
        return self._answer(parsings), extras_of_stages(parsings, poses)

    def pose_loss(self, maps: Tensor, points: Tensor, image: Size) -> Tensor:
        rows, columns = aligned_cells((maps.shape[-2], maps.shape[-1]), image, points.device)
        target = gaussian_maps(points, rows, columns, self.sigma, least=math.exp(-(REACH**2) / 2))
        return pose_distance(maps, target)

    def _results(self, earlier: Tensor, last: Tensor, *, last_pose: bool = True) -> tuple[list[Tensor], list[Tensor]]:
        """Parsing logits and pose maps of all stages."""
        parsing_features, pose_features = self.parsing_features(last), self.pose_features(earlier)
        parsings, poses = [self.parsing_classifier(last)], [self.pose_classifier(pose_features)]
        for number, (refine_parsing, refine_pose) in enumerate(zip(self.refine_parsing, self.refine_pose, strict=True)):
            before, other = parsings[-1], poses[-1]
            parsing, parsing_features = refine_parsing(before, other, parsing_features)
            parsings.append(parsing)
            if last_pose or number < len(self.refine_pose) - 1:
                pose, pose_features = refine_pose(other, before, pose_features)
                poses.append(pose)
        return parsings, poses

    def _answer(self, parsings: Sequence[Tensor]) -> Tensor:
        return parsings[-1] if self.training else torch.stack(list(parsings)).mean(0)


def pose_distance(maps: Tensor, target: Tensor) -> Tensor:
    """Euclidean distance of all maps of an image to their targets, (B, N, h, w) each, averaged over the images.

    It is neither squared nor divided by the number of cells. At a distance of 0 its gradient is 0.
    """
    return torch.linalg.vector_norm(maps.float() - target, dim=(1, 2, 3)).mean()


def _layers(widths: Sequence[int], kernel_sizes: Sequence[int], negative_slope: float) -> nn.Sequential:
    """Convolutions without norm, an activation after each."""
    layers: list[nn.Module] = []
    for into, out, kernel_size in zip(widths[:-1], widths[1:], kernel_sizes, strict=True):
        layers += [
            nn.Conv2d(into, out, kernel_size, padding=kernel_size // 2),
            nn.LeakyReLU(negative_slope, inplace=True),
        ]
    return nn.Sequential(*layers)


def _draw_weights(head: nn.Module, std: float) -> None:
    for module in head.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.trunc_normal_(module.weight, std=std, a=-2 * std, b=2 * std)
            assert module.bias is not None
            nn.init.zeros_(module.bias)
