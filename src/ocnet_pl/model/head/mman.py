"""MMAN (Luo et al. 2018, "Macro-Micro Adversarial Network for Human Parsing", arXiv:1807.08260).

Layers and weights of the losses follow the authors' code (RoyalVane/MMAN); the paper was not read.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ocnet_pl.model.adversarial import (
    PatchDiscriminator,
    discriminator_loss,
    generator_loss,
    label_maps,
    predicted_maps,
)
from ocnet_pl.model.contract import Batch, Criterion
from ocnet_pl.model.layers import subsample, upsample


class Rise(nn.Module):
    """ReLU, transposed convolution, instance norm without parameters. (B, in, h, w) -> (B, out, h', w').

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        factor: h' / h, 1 or 2.
        norm: instance norm at the end.
    """

    def __init__(self, in_channels: int, out_channels: int, factor: int = 2, *, norm: bool = True) -> None:
        super().__init__()
        self.norm = norm
        self.convolution = nn.ConvTranspose2d(in_channels, out_channels, 2 + factor, factor, padding=1)

    def forward(self, features: Tensor) -> Tensor:
        risen: Tensor = self.convolution(features.relu())
        if not self.norm:
            return risen
        # PyTorch refuses the norm of a single value, which is 0.
        return F.instance_norm(risen) if risen[0, 0].numel() > 1 else risen - risen


class Thumbnail(nn.Module):
    """Logits from a small map: 1x1 and three dilated 3x3 convolutions, joined by a 1x1 convolution.

    (B, in, h, w) -> (B, K, h, w).
    """

    def __init__(self, in_channels: int, num_classes: int, dilations: Sequence[int] = (2, 4, 6)) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            [
                nn.Conv2d(in_channels, num_classes, 1),
                *(nn.Conv2d(in_channels, num_classes, 3, padding=rate, dilation=rate) for rate in dilations),
            ]
        )
        self.fuse = nn.Conv2d(len(self.branches) * num_classes, num_classes, 1)

    def forward(self, features: Tensor) -> Tensor:
        logits: Tensor = self.fuse(torch.cat([branch(features) for branch in self.branches], 1))
        return logits


class MMAN(nn.Module):
    """U-Net over all stages, trained with two discriminators of label maps.

    Stem and stages (B, C_i, h_i, w_i) of strides 2, 4, 8, 16 and 16, image (B, 3, H, W) -> logits (B, K, H, W).

    In training the last stage has a classifier of its own, for a thumbnail of the map. The micro discriminator reads
    patches of the full map, the macro discriminator the thumbnail; each reads the image, too. All weights are relative
    to the cross entropy of the full map, which has 250 in the authors' code.

    Deviations: the backbone is an ordinary ResNet, so skips are maps after ReLU; the authors' blocks have lost their
    inner ReLUs. One optimizer with one learning rate trains generator and discriminators, theirs are separate Adam
    optimizers. Maps of odd size are cropped to the skip. Pixels without a class are 0 in predicted and in true maps.
    How they resize the image for the macro discriminator was not read: here bilinear with aligned corners.

    Args:
        in_channels: channels of stem and stages.
        num_classes: number of classes.
        discriminator_channels: width of the first layer of each discriminator.
        thumbnail_weight: weight of the thumbnail's cross entropy.
        adversarial_weight: weight of the generator's loss from each discriminator.
        discriminator_weight: weight of each discriminator's own loss. It takes the place of a learning rate: with SGD
            at the recipes' rates and a weight of 1 the discriminators diverge, and with them the network.
        discriminator_probability: probability that a step trains the discriminators; the authors' code has 0.1.
        macro_trains_generator: the macro discriminator moves the generator, as in the paper; in the authors' code its
            input is detached, so that it does not.
        sharpness: factor of the logits before the softmax that the discriminators read.
    """

    levels: ClassVar[tuple[int, ...]] = (-5, -4, -3, -2, -1)
    reads_image: ClassVar[bool] = True
    ends_in_logits: ClassVar[bool] = True

    def __init__(
        self,
        in_channels: Sequence[int],
        num_classes: int,
        *,
        discriminator_channels: int = 64,
        thumbnail_weight: float = 0.2,
        adversarial_weight: float = 0.004,
        discriminator_weight: float = 0.01,
        discriminator_probability: float = 1.0,
        macro_trains_generator: bool = True,
        sharpness: float = 5.0,
    ) -> None:
        super().__init__()
        *skips, last = in_channels
        self.num_classes = num_classes
        self.thumbnail_weight = thumbnail_weight
        self.adversarial_weight = adversarial_weight
        self.discriminator_weight = discriminator_weight
        self.discriminator_probability = discriminator_probability
        self.macro_trains_generator = macro_trains_generator
        self.sharpness = sharpness
        self.thumbnail = Thumbnail(last, num_classes)
        self.skips = nn.ModuleList(nn.Conv2d(channels, channels, 1) for channels in skips)
        for skip in self.skips:
            nn.init.normal_(skip.weight, std=0.01)  # type: ignore[arg-type]
        self.last_rise = Rise(last, skips[-1], 1)
        # Each ends in the width of the skip that it meets.
        self.rises = nn.ModuleList(Rise(2 * wide, narrow) for narrow, wide in pairwise(skips))
        self.classifier = Rise(2 * skips[0], num_classes, norm=False)
        self.micro = PatchDiscriminator(num_classes, discriminator_channels)
        self.macro = PatchDiscriminator(num_classes, discriminator_channels)

    def forward(self, *stages: Tensor, image: Tensor) -> Tensor:
        *earlier, last = stages
        features = self.last_rise(last)
        for index in reversed(range(len(earlier))):
            features = self._joined(index, earlier[index], features)
            features = self.rises[index - 1](features) if index else self.classifier(features)
        return fitted(features, image)

    def supervised(self, *stages: Tensor, image: Tensor) -> tuple[Tensor, Mapping[str, Tensor]]:
        logits = self(*stages, image=image)
        return logits, {"logits": logits, "thumbnail": self.thumbnail(stages[-1]), "image": image}

    def losses(self, extras: Mapping[str, Tensor], batch: Batch, criterion: Criterion) -> dict[str, Tensor]:
        label, logits, thumbnail = batch["label"].long(), extras["logits"], extras["thumbnail"]
        small = subsample(label, thumbnail.shape[-2:])
        micro = (self.micro, extras["image"], *self._maps(logits, label))
        macro = (self.macro, upsample(extras["image"], small.shape[-2:]), *self._maps(thumbnail, small))
        adversarial = {"micro": generator_loss(*micro), "macro": generator_loss(*macro)}
        if not self.macro_trains_generator:
            adversarial["macro"] = adversarial["macro"].detach()
        own = {"micro": discriminator_loss(*micro), "macro": discriminator_loss(*macro)}
        weight = self.discriminator_weight * self._trains(logits)
        return {
            "thumbnail": self.thumbnail_weight * criterion(thumbnail, small),
            **{name: self.adversarial_weight * loss for name, loss in adversarial.items()},
            **{f"{name}_discriminator": weight * loss for name, loss in own.items()},
        }

    def _joined(self, index: int, skip: Tensor, features: Tensor) -> Tensor:
        return torch.cat([self.skips[index](skip), fitted(features, skip)], 1)

    def _maps(self, logits: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        """Predicted and true maps of the classes, (B, K, h, w) each."""
        return predicted_maps(logits, label, self.sharpness), label_maps(label, self.num_classes)

    def _trains(self, like: Tensor) -> Tensor:
        """1 in a step that trains the discriminators, else 0; drawn as dropout is, for each process."""
        if self.discriminator_probability >= 1:
            return torch.ones((), device=like.device)
        return (torch.rand((), device=like.device) < self.discriminator_probability).float()


def fitted(features: Tensor, to: Tensor) -> Tensor:
    """A map at the size of another: cropped at the right and at the bottom if it is larger, else enlarged."""
    height, width = to.shape[-2:]
    return upsample(features[..., :height, :width], (height, width))
