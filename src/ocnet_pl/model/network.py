"""The network (paper, figure 2a): backbone -> context head -> classifier, and a second classifier for training."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ocnet_pl.model.contract import Supervised
from ocnet_pl.model.layers import Normalize, conv_norm_act, upsample

AUXILIARY_LEVEL = -2
"""Stage of the backbone that the auxiliary classifier reads: the one before the last (res4b22 of ResNet-101)."""


class Outputs(NamedTuple):
    """Outputs of a forward pass in training.

    Attributes:
        logits: (B, num_classes, H, W).
        auxiliary: logits of the auxiliary classifier, of the same shape; None without one.
        extras: outputs of the head that only its losses read.
    """

    logits: Tensor
    auxiliary: Tensor | None
    extras: Mapping[str, Tensor]


class Network(nn.Module):
    """A segmentation network around one context head.

    Args:
        backbone: (B, 3, H, W) -> its stages of `levels`, with timm's `feature_info` and `pretrained_cfg`.
        head: see `contract.Head`.
        num_classes: number of classes.
        levels: stages that the backbone gives, counted from the last, rising.
        auxiliary: build the auxiliary classifier.
        auxiliary_channels: width of the auxiliary classifier.
        auxiliary_dropout: channel dropout of the auxiliary classifier.
        negative_slope: slope of the leaky ReLU of the auxiliary classifier.
        bgr: the backbone's weights want BGR (those of the authors' lineage).
        mean: mean of the input per channel, in the unit interval, RGB; None: that of the backbone's weights.
        std: standard deviation of the input, likewise; 1/255 where weights want 0..255 undivided.
    """

    def __init__(
        self,
        backbone: nn.Module,
        head: nn.Module,
        num_classes: int,
        *,
        levels: Sequence[int] = (AUXILIARY_LEVEL, -1),
        auxiliary: bool = True,
        auxiliary_channels: int = 512,
        auxiliary_dropout: float = 0.05,
        negative_slope: float = 0.01,
        bgr: bool = False,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        pretrained_cfg: dict[str, Any] = backbone.pretrained_cfg  # type: ignore[assignment]
        self.num_classes = num_classes
        self.levels = tuple(levels)
        self.normalize = Normalize(
            pretrained_cfg["mean"] if mean is None else tuple(mean),
            pretrained_cfg["std"] if std is None else tuple(std),
            bgr=bgr,
        )
        self.backbone = backbone
        self.head = head
        self.classifier = (
            nn.Identity() if ends_in_logits(head) else nn.Conv2d(head.out_channels, num_classes, 1)  # type: ignore[arg-type]
        )
        self.auxiliary: nn.Module | None = None
        if auxiliary:
            channels = backbone.feature_info.channels()[self.levels.index(AUXILIARY_LEVEL)]  # type: ignore[operator, union-attr]
            self.auxiliary = nn.Sequential(
                conv_norm_act(channels, auxiliary_channels, 3, negative_slope=negative_slope),
                nn.Dropout2d(auxiliary_dropout),
                nn.Conv2d(auxiliary_channels, num_classes, 1),
            )

    def forward(self, image: Tensor) -> Tensor:
        """RGB in 0..255, (B, 3, H, W), bytes or floats -> logits (B, num_classes, H, W)."""
        maps = self.maps(image)
        auxiliary = self._auxiliary(maps) if reads_auxiliary(self.head) else None
        features = self.head(*self._inputs(maps), **_named(auxiliary))
        return upsample(self.classifier(features), image.shape[-2:])

    def supervised(self, image: Tensor) -> Outputs:
        """Outputs of a forward pass for training: (B, 3, H, W) as in `forward`."""
        maps = self.maps(image)
        size = image.shape[-2:]
        auxiliary = self._auxiliary(maps) if reads_auxiliary(self.head) else None
        inputs, named = self._inputs(maps), _named(auxiliary)
        extras: Mapping[str, Tensor] = {}
        if isinstance(self.head, Supervised):
            features, extras = self.head.supervised(*inputs, **named)
        else:
            features = self.head(*inputs, **named)
        logits = upsample(self.classifier(features), size)
        if auxiliary is None and self.auxiliary is not None:
            auxiliary = self._auxiliary(maps)
        return Outputs(logits, None if auxiliary is None else upsample(auxiliary, size), extras)

    def maps(self, image: Tensor) -> list[Tensor]:
        """Stages of the backbone, of `levels`. RGB in 0..255, (B, 3, H, W) -> (B, C, h, w) each."""
        maps: list[Tensor] = self.backbone(self.normalize(image))
        return maps

    def head_inputs(self, image: Tensor) -> list[Tensor]:
        """Maps that the head reads, (B, C, h, w) each."""
        return self._inputs(self.maps(image))

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Parameters of the backbone, which may start from ImageNet weights, and all others, for two learning rates."""
        backbone = set(self.backbone.parameters())
        others = [parameter for parameter in self.parameters() if parameter not in backbone]
        return [{"name": "backbone", "params": list(self.backbone.parameters())}, {"name": "head", "params": others}]

    def compile_parts(self) -> None:
        """Compile backbone and head for testing and training, in place, so that the names of the weights stay."""
        self.backbone.compile()
        self.head.compile()
        if isinstance(self.head, Supervised):  # `compile` covers `forward` only
            self.head.supervised = torch.compile(self.head.supervised)  # type: ignore[method-assign]

    def _inputs(self, maps: Sequence[Tensor]) -> list[Tensor]:
        return [maps[self.levels.index(level)] for level in head_levels(self.head)]

    def _auxiliary(self, maps: Sequence[Tensor]) -> Tensor:
        assert self.auxiliary is not None
        logits: Tensor = self.auxiliary(maps[self.levels.index(AUXILIARY_LEVEL)])
        return logits


def head_levels(head: object) -> tuple[int, ...]:
    """Stages that a head, or a class of heads, reads."""
    return tuple(getattr(head, "levels", (-1,)))


def reads_auxiliary(head: object) -> bool:
    """True for a head that reads the logits of the auxiliary classifier, in testing too."""
    return bool(getattr(head, "reads_auxiliary", False))


def ends_in_logits(head: object) -> bool:
    """True for a head that is its own classifier."""
    return bool(getattr(head, "ends_in_logits", False))


def _named(auxiliary: Tensor | None) -> dict[str, Tensor]:
    return {} if auxiliary is None else {"auxiliary": auxiliary}
