"""DepthSeg (Kong and Fowlkes 2018, "Recurrent Scene Parsing with Perspective Understanding in the Loop",
arXiv:1705.07238; the authors' MatConvNet scripts for Cityscapes)."""

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from ocnet_pl.arguments import refuse
from ocnet_pl.metrics import IGNORE
from ocnet_pl.model.contract import Batch, Criterion
from ocnet_pl.model.layers import conv_norm_act, upsample
from ocnet_pl.model.supervision import unweighted_cross_entropy

DISPARITY = "disparity"
"""Target of a data set with depth: values of Cityscapes' disparity files, 0 where there is none."""
SMALLEST_DISPARITY = 11
"""Lower values are not trusted."""
BIN_EDGES = (11.0, 12.5, 13.2, 13.9)
"""Edges between the bins, in log2 of the value; the first bin is the farthest."""


class GatedPooling(nn.Module):
    """Dilated convolutions side by side, weighted at every position by the predicted depth.

    (B, channels, H, W) -> output (B, channels, H, W), class logits (B, K, H, W), depth logits (B, bins, H, W). There is
    one bin of depth for each dilation.

    Args:
        channels: channels of input, branches and output.
        num_classes: number of classes.
        depth_channels: widths of the two layers that predict depth.
        dilations: dilation of each branch; far positions first, which take the smallest.
        dropout: dropout of single values, before the depth classifier and of the output.
        negative_slope: slope of the leaky ReLU.
    """

    def __init__(
        self,
        channels: int,
        num_classes: int,
        depth_channels: Sequence[int],
        dilations: Sequence[int],
        *,
        dropout: float,
        negative_slope: float,
    ) -> None:
        super().__init__()

        def layer(into: int, out: int, kernel_size: int = 3, dilation: int = 1) -> nn.Sequential:
            return conv_norm_act(into, out, kernel_size, dilation=dilation, bias=False, negative_slope=negative_slope)

        first, second = depth_channels
        self.depth = nn.Sequential(layer(channels, first), layer(first, second))
        self.depth_classifier = nn.Conv2d(second, len(dilations), 1)
        self.branches = nn.ModuleList(layer(channels, channels, dilation=dilation) for dilation in dilations)
        self.project = layer(channels, channels, 1)
        self.classifier = nn.Conv2d(channels, num_classes, 1)
        self.dropout = nn.Dropout(dropout)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        depth = self.depth_classifier(self.dropout(self.depth(features)))
        gates = depth.softmax(1).to(features.dtype).split(1, 1)
        branches = (gate * branch(features) for gate, branch in zip(gates, self.branches, strict=True))
        output = self.dropout(self.project(sum(branches, start=torch.zeros((), device=features.device))))
        return output, self.classifier(output), depth


class DepthSeg(nn.Module):
    """Depth-gated pooling, repeated in loops. (B, in, H, W) -> logits (B, K, H, W).

    The first loop pools the reduced features; every further loop pools them together with the output of the loop
    before. Further loops are one module: weights, norms and running statistics are shared. In training the last loop is
    the classifier, and the loops before it have losses of their own. In testing the result is log max of the softmax
    of all loops, class by class, as in the authors' demo ("MAX").

    Depth is supervised where the batch has the target `disparity` (`dataset.disparity=true` on Cityscapes). Without it
    the gates learn from the class losses alone.

    Deviations: the maximum is taken at the head's stride, theirs at the image's; class losses are means over the
    labelled pixels, theirs over all pixels. The authors fine-tune loop by loop; here all loops train together.

    Args:
        in_channels: channels of the last stage.
        num_classes: number of classes.
        out_channels: width of the head.
        depth_channels: widths of the two layers that predict depth.
        dilations: dilation of the branch of each bin of depth, from far to near.
        loop_weights: weight of the class loss of every loop but the last, whose weight is 1; their number is the
            number of loops less one.
        depth_weight: weight of the depth loss of each loop.
        dropout: see `GatedPooling`.
        negative_slope: slope of the leaky ReLU; 0 is the authors' ReLU.
    """

    ends_in_logits: ClassVar[bool] = True

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        out_channels: int = 512,
        *,
        depth_channels: Sequence[int] = (128, 32),
        dilations: Sequence[int] = (1, 2, 4, 8, 16),
        loop_weights: Sequence[float] = (0.1, 0.5),
        depth_weight: float = 0.01,
        dropout: float = 0.1,
        negative_slope: float = 0.0,
    ) -> None:
        super().__init__()
        if len(dilations) != len(BIN_EDGES) + 1:
            raise refuse("dilations", dilations, f"{len(BIN_EDGES) + 1} dilations, one for each bin of depth")
        if len(depth_channels) != 2:
            raise refuse("depth_channels", depth_channels, "two widths, e.g. [128,32]")
        if not loop_weights:
            raise refuse("loop_weights", loop_weights, "one weight or more, e.g. [0.1,0.5] for three loops")

        def layer(channels: int) -> nn.Sequential:
            return conv_norm_act(channels, out_channels, 3, bias=False, negative_slope=negative_slope)

        def pooling() -> GatedPooling:
            options = {"dropout": dropout, "negative_slope": negative_slope}
            return GatedPooling(out_channels, num_classes, depth_channels, dilations, **options)

        self.loop_weights = tuple(loop_weights)
        self.depth_weight = depth_weight
        self.reduce = layer(in_channels)
        self.first = pooling()
        self.fuse = layer(2 * out_channels)
        self.further = pooling()

    def forward(self, features: Tensor) -> Tensor:
        return self._answer(self._loops(features)[0])

    def supervised(self, features: Tensor) -> tuple[Tensor, Mapping[str, Tensor]]:
        classes, depths = self._loops(features)
        extras = {f"loop{number}": logits for number, logits in enumerate(classes[:-1])}
        return self._answer(classes), extras | {f"depth{number}": depth for number, depth in enumerate(depths)}

    def losses(self, extras: Mapping[str, Tensor], batch: Batch, criterion: Criterion) -> dict[str, Tensor]:
        label = batch["label"].long()
        terms = {}
        for number, weight in enumerate(self.loop_weights):
            logits = upsample(extras[f"loop{number}"], label.shape[-2:])
            terms[f"loop{number}"] = weight * criterion(logits, label)
        if DISPARITY in batch:
            bins = depth_bins(batch[DISPARITY])
            depths = (upsample(extras[f"depth{number}"], bins.shape[-2:]) for number in range(len(terms) + 1))
            losses = [unweighted_cross_entropy(depth, bins) for depth in depths]
            terms["depth"] = self.depth_weight * torch.stack(losses).sum()
        return terms

    def _loops(self, features: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Class logits and depth logits of all loops."""
        reduced = self.reduce(features)
        state, logits, depth = self.first(reduced)
        classes, depths = [logits], [depth]
        for _ in self.loop_weights:
            state, logits, depth = self.further(self.fuse(torch.cat([reduced, state], 1)))
            classes.append(logits)
            depths.append(depth)
        return classes, depths

    def _answer(self, classes: Sequence[Tensor]) -> Tensor:
        if self.training:
            return classes[-1]
        return torch.stack([logits.log_softmax(1) for logits in classes]).amax(0)


def depth_bins(disparity: Tensor) -> Tensor:
    """Values of disparity files -> bins of depth, int64, of the same shape: 0 is far; 255 is ignored.

    A value is not adapted to the scale of a crop: the authors train without scales.
    """
    value = disparity.to(torch.int32)
    # Comparisons with numbers: edges in a tensor would be copied from the CPU, and the step would wait for the GPU.
    bins = sum((value > int(2**edge) for edge in BIN_EDGES), start=torch.zeros_like(value, dtype=torch.int64))
    return bins.masked_fill(value < SMALLEST_DISPARITY, IGNORE)
