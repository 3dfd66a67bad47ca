"""The network (paper, figure 2a): backbone -> context head -> classifier, and an auxiliary classifier for training."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ocnet_pl.arguments import ArgumentError, refuse
from ocnet_pl.model.contract import (
    Outputs,
    Supervised,
    ends_in_logits,
    head_levels,
    image_scales,
    reads_auxiliary,
    reads_image,
)
from ocnet_pl.model.layers import Normalize, conv_norm_act, rescaled, upsample

AUXILIARY_LEVEL = -2
"""Stage of the backbone that the auxiliary classifier reads: the last but one (res4b22 of ResNet-101)."""


class Network(nn.Module):
    """Segmentation network around one context head.

    Args:
        backbone: (B, 3, H, W) -> its stages `levels`, with timm's `feature_info` and `pretrained_cfg`.
        head: a `contract.Head`.
        num_classes: number of classes.
        levels: stages that the backbone returns, counted from the last, in ascending order.
        auxiliary: build the auxiliary classifier.
        auxiliary_channels: width of the auxiliary classifier.
        auxiliary_dropout: channel dropout of the auxiliary classifier.
        negative_slope: slope of the leaky ReLU of the auxiliary classifier.
        bgr: the backbone's weights expect BGR (those of the authors' lineage do).
        mean: mean of each input channel (RGB, in 0..1); None: that of the backbone's weights.
        std: standard deviation of each input channel; 1/255 for weights that expect 0..255 without division.
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
        _require_scales(image_scales(head))
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
        self.classifier: nn.Module = nn.Identity()
        if not ends_in_logits(head):
            if not hasattr(head, "out_channels"):
                raise ArgumentError(f"head: {type(head).__name__} has no out_channels; set it to its output's channels")
            self.classifier = nn.Conv2d(head.out_channels, num_classes, 1)  # type: ignore[arg-type]
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
        return upsample(self.map_logits(image), image.shape[-2:])

    def map_logits(self, image: Tensor) -> Tensor:
        """Logits at the size of the classifier's own map. (B, 3, H, W), as in `forward` -> (B, num_classes, h, w)."""
        inputs, named = self.head_inputs(image)
        logits: Tensor = self.classifier(self.head(*inputs, **named))
        return logits

    def supervised(self, image: Tensor) -> Outputs:
        """Outputs of a forward pass in training; image as in `forward`."""
        size, normalized = image.shape[-2:], self.normalize(image)
        maps, inputs = self._stages(normalized)
        named = self._named_inputs(maps, normalized)
        extras: Mapping[str, Tensor] = {}
        if isinstance(self.head, Supervised):
            features, extras = self.head.supervised(*inputs, **named)
        else:
            features = self.head(*inputs, **named)
        map_logits = self.classifier(features)
        logits = upsample(map_logits, size)
        if self.auxiliary is None:
            return Outputs(logits, None, extras, map_logits)
        # After the head, so that dropout draws in this order.
        auxiliary = named["auxiliary"] if "auxiliary" in named else self._auxiliary(maps)
        return Outputs(logits, upsample(auxiliary, size), extras, map_logits)

    def maps(self, image: Tensor) -> list[Tensor]:
        """Stages `levels` of the backbone. RGB in 0..255, (B, 3, H, W) -> (B, C, h, w) each."""
        maps: list[Tensor] = self.backbone(self.normalize(image))
        return maps

    def head_inputs(self, image: Tensor) -> tuple[list[Tensor], dict[str, Tensor]]:
        """Maps that the head reads, (B, C, h, w) each, and its inputs by name."""
        normalized = self.normalize(image)
        maps, inputs = self._stages(normalized)
        return inputs, self._named_inputs(maps, normalized)

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Parameter groups `backbone` and `head` (everything else), for recipes with two learning rates."""
        backbone = set(self.backbone.parameters())
        others = [parameter for parameter in self.parameters() if parameter not in backbone]
        return [{"name": "backbone", "params": list(self.backbone.parameters())}, {"name": "head", "params": others}]

    def compile_parts(self) -> None:
        """Compile backbone and head in place: the names of the weights stay."""
        # Sizes of several scales would become symbols, on which the compiler does not end: one program for each size.
        self.backbone.compile(dynamic=None if len(image_scales(self.head)) == 1 else False)
        self.head.compile()
        if isinstance(self.head, Supervised):  # `compile` covers `forward` only
            self.head.supervised = torch.compile(self.head.supervised)  # type: ignore[method-assign]

    def _stages(self, normalized: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Stages `levels` at the image's own size, and the maps that the head reads, scale by scale."""
        by_scale: dict[float, list[Tensor]] = {
            scale: self.backbone(rescaled(normalized, scale)) for scale in image_scales(self.head)
        }
        read = [self.levels.index(level) for level in head_levels(self.head)]
        return by_scale[1.0], [maps[index] for maps in by_scale.values() for index in read]

    def _named_inputs(self, maps: Sequence[Tensor], normalized: Tensor) -> dict[str, Tensor]:
        named = {"auxiliary": self._auxiliary(maps)} if reads_auxiliary(self.head) else {}
        return named | ({"image": normalized} if reads_image(self.head) else {})

    def _auxiliary(self, maps: Sequence[Tensor]) -> Tensor:
        assert self.auxiliary is not None
        logits: Tensor = self.auxiliary(maps[self.levels.index(AUXILIARY_LEVEL)])
        return logits


def _require_scales(scales: Sequence[float]) -> None:
    if 1.0 not in scales or len(set(scales)) < len(scales) or min(scales) <= 0:
        raise refuse("head.image_scales", list(scales), "different factors above 0, 1 among them")
