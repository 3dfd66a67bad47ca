"""Adversarial losses of label maps (MMAN, ECCV 2018): a discriminator of patches, and least-squares losses.

One optimizer trains the network and its discriminators. A discriminator learns from detached maps, and the network
learns through a discriminator whose weights are constants. So neither loss moves the other side's weights.
"""

import torch
from torch import Tensor, nn
from torch.func import functional_call

from ocnet_pl.metrics import IGNORE
from ocnet_pl.model.layers import upsample

SMALLEST_SIDE = 12
"""Smallest side of a map for which the discriminator has a score."""


class PatchDiscriminator(nn.Module):
    """Scores of overlapping patches of 34 pixels. Image (B, 3, H, W), class maps (B, K, H, W) -> (B, 1, h, w).

    Four 4x4 convolutions, the first two with stride 2; instance norm after the second and third; leaky ReLU 0.2. Maps
    with a side below 12 are enlarged to it.

    Args:
        num_classes: number of classes K.
        channels: width of the first layer; the next two have twice and four times as many.
    """

    def __init__(self, num_classes: int, channels: int = 64) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3 + num_classes, channels, 4, 2, padding=1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(channels, 2 * channels, 4, 2, padding=1, bias=False),
            nn.InstanceNorm2d(2 * channels),
            nn.LeakyReLU(0.2),
            nn.Conv2d(2 * channels, 4 * channels, 4, padding=1, bias=False),
            nn.InstanceNorm2d(4 * channels),
            nn.LeakyReLU(0.2),
            nn.Conv2d(4 * channels, 1, 4, padding=1),
        )

    def forward(self, image: Tensor, classes: Tensor) -> Tensor:
        both = torch.cat([image, classes.to(image.dtype)], 1)
        scores: Tensor = self.layers(upsample(both, [max(side, SMALLEST_SIDE) for side in both.shape[-2:]]))
        return scores


def predicted_maps(logits: Tensor, label: Tensor, sharpness: float) -> Tensor:
    """Probabilities softmax(sharpness * logits), 0 where the label is ignored.

    Logits (B, K, H, W), labels (B, H, W) -> (B, K, H, W).
    """
    return (sharpness * logits.float()).softmax(1) * (label != IGNORE).unsqueeze(1)


def label_maps(label: Tensor, num_classes: int) -> Tensor:
    """One map of zeros and ones for each class, 0 where the label is ignored. (B, H, W) -> (B, K, H, W)."""
    classes = torch.arange(num_classes, device=label.device)[:, None, None]
    return (label.unsqueeze(1) == classes).float()


def discriminator_loss(discriminator: nn.Module, image: Tensor, predicted: Tensor, true: Tensor) -> Tensor:
    """Mean of the squared distances of predicted maps' scores to 0 and of true maps' scores to 1.

    It moves the discriminator alone. Images without any label have no loss. Image (B, 3, H, W), maps (B, K, H, W).
    """
    labelled = _labelled(true)
    of_predicted = _distance(discriminator(image, predicted.detach()), 0.0, labelled)
    return (of_predicted + _distance(discriminator(image, true), 1.0, labelled)) / 2


def generator_loss(discriminator: nn.Module, image: Tensor, predicted: Tensor, true: Tensor) -> Tensor:
    """Squared distance of predicted maps' scores to 1; it moves what predicted them, not the discriminator.

    Arguments as in `discriminator_loss`.
    """
    constants = {name: parameter.detach() for name, parameter in discriminator.named_parameters()}
    return _distance(functional_call(discriminator, constants, (image, predicted)), 1.0, _labelled(true))


def _labelled(true: Tensor) -> Tensor:
    """1 for each image with a label, else 0, (B,)."""
    return true.flatten(1).any(1).float()


def _distance(scores: Tensor, target: float, labelled: Tensor) -> Tensor:
    by_image = (scores.float() - target).square().flatten(1).mean(1)
    return (by_image * labelled).sum() / labelled.sum().clamp_min(1)
