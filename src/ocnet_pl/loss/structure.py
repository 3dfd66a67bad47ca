"""Structure-sensitive losses (Gong et al. 2017, "Look into Person", arXiv:1703.05446; SS-NAN, CVPR workshops 2017)."""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

from ocnet_pl.metrics import IGNORE
from ocnet_pl.model.contract import BodyParts, Criterion
from ocnet_pl.model.layers import subsample
from ocnet_pl.model.structure import Rule, structure_distance


class StructureWeights(nn.Module):
    """Weights of images: how far the joints of the prediction are from those of the label.

    Joints are centres of body parts in the predicted and in the true label map. The weight of an image is `offset` plus
    `factor` times the squared difference of their heatmaps (`model/structure.py`). It has no gradient. A weighted
    criterion is the mean over images of weight times criterion of that image.

    An image whose joints are all right has the weight 0, and with it no loss, as in both papers; `offset=1` avoids
    that. In the released code of Attention+SSL the weight multiplies the printed loss, but not the gradient, so it
    trains without weights; `weigh_gradients=False` does the same.

    Args:
        body_parts: classes of each part of the body.
        factor: weight for each unit of the distance: 0.025 in Attention+SSL, 0.5 / (number of parts) in SS-NAN.
        offset: weight of an image without any distance; 0 in both papers.
        stride: joints are compared on the pixels of every so many rows and columns: 8 in Attention+SSL, whose loss has
            the size of its map; 1 in SS-NAN.
        rule: rule of the centres, see `model.structure.region_centres`.
        share_prediction: weigh every classifier's loss by the prediction of the network's classifier (Attention+SSL),
            not by its own (SS-NAN).
        average: mean over the labelled pixels of the batch (Attention+SSL), in which an image counts with the number of
            its labelled pixels; or mean over the images (SS-NAN).
        weigh_gradients: weigh gradients, not only the value of the loss.
    """

    def __init__(
        self,
        body_parts: BodyParts,
        *,
        factor: float = 0.025,
        offset: float = 0.0,
        stride: int = 8,
        rule: Rule = "whole",
        share_prediction: bool = True,
        average: Literal["pixels", "images"] = "pixels",
        weigh_gradients: bool = True,
    ) -> None:
        super().__init__()
        self.regions = [tuple(classes) for classes in body_parts.values()]
        self.factor = factor
        self.offset = offset
        self.stride = stride
        self.rule: Rule = rule
        self.share_prediction = share_prediction
        self.average = average
        self.weigh_gradients = weigh_gradients

    def forward(self, logits: Tensor, label: Tensor) -> Tensor:
        """Logits (B, K, H, W), labels (B, H, W) -> weights (B,), without gradient."""
        size = [(side - 1) // self.stride + 1 for side in label.shape[-2:]]
        prediction = subsample(logits.detach(), size).argmax(1)
        return self.offset + self.factor * structure_distance(
            prediction, subsample(label, size), self.regions, self.rule
        )

    def weighted(self, criterion: Criterion, logits: Tensor, label: Tensor) -> Criterion:
        """A criterion with weights; logits (B, K, H, W) are those of the network's classifier."""
        if self.share_prediction:
            weights = self(logits, label)
            return self._weighted(criterion, lambda *_: weights)
        return self._weighted(criterion, self)

    def _weighted(self, criterion: Criterion, weights_of: Callable[[Tensor, Tensor], Tensor]) -> Criterion:
        def by_image(logits: Tensor, label: Tensor) -> Tensor:
            pairs = zip(logits.split(1), label.split(1), strict=True)
            losses = torch.stack([criterion(*pair) for pair in pairs]) * self._shares(label)
            total = (weights_of(logits, label) * losses).sum()
            return total if self.weigh_gradients else losses.sum() + (total - losses.sum()).detach()

        return by_image

    def _shares(self, label: Tensor) -> Tensor:
        """Shares of the images in the mean, (B,)."""
        labelled = (label != IGNORE).flatten(1).sum(1)
        counts = torch.ones_like(labelled) if self.average == "images" else labelled
        return counts / counts.sum().clamp_min(1)
