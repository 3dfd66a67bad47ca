"""The network (paper, figure 2a): backbone -> context head -> classifier, and an auxiliary classifier for training."""

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from ocnet_pl.arguments import ArgumentError
from ocnet_pl.model.contract import Outputs, Supervised, ends_in_logits, reads_auxiliary, reads_image
from ocnet_pl.model.layers import Normalize, auxiliary_classifier, upsample
from ocnet_pl.model.stages import Stages, read_stages, require_scales

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
        require_scales(head)
        self.num_classes = num_classes
        self.levels = tuple(levels)
        self.normalize = Normalize.of_backbone(backbone, mean=mean, std=std, bgr=bgr)
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
            self.auxiliary = auxiliary_classifier(
                channels, num_classes, auxiliary_channels, dropout=auxiliary_dropout, negative_slope=negative_slope
            )

    def forward(self, image: Tensor) -> Tensor:
        """RGB in 0..255, (B, 3, H, W), bytes or floats -> logits (B, num_classes, H, W)."""
        return upsample(self.map_logits(image), image.shape[-2:])

    def map_logits(self, image: Tensor) -> Tensor:
        """Logits at the size of the classifier's own map. (B, 3, H, W), as in `forward` -> (B, num_classes, h, w)."""
        stages, named = self.read(image)
        logits: Tensor = self.classifier(self.head(*stages.of_head, **named))
        return logits

    def supervised(self, image: Tensor) -> Outputs:
        """Outputs of a forward pass in training; image as in `forward`."""
        stages, named = self.read(image)
        extras: Mapping[str, Tensor] = {}
        if isinstance(self.head, Supervised):
            features, extras = self.head.supervised(*stages.of_head, **named)
        else:
            features = self.head(*stages.of_head, **named)
        map_logits = self.classifier(features)
        logits = upsample(map_logits, image.shape[-2:])
        if self.auxiliary is None:
            return Outputs(logits, None, extras, map_logits)
        # After the head, so that dropout draws in this order.
        auxiliary = named["auxiliary"] if "auxiliary" in named else self._auxiliary(stages)
        return Outputs(logits, upsample(auxiliary, image.shape[-2:]), extras, map_logits)

    def read(self, image: Tensor) -> tuple[Stages, dict[str, Tensor]]:
        """Stages of the backbone, and the inputs that the head receives by name."""
        normalized = self.normalize(image)
        stages = read_stages(self.backbone, self.levels, self.head, normalized)
        named = {"auxiliary": self._auxiliary(stages)} if reads_auxiliary(self.head) else {}
        return stages, named | ({"image": normalized} if reads_image(self.head) else {})

    def _auxiliary(self, stages: Stages) -> Tensor:
        assert self.auxiliary is not None
        logits: Tensor = self.auxiliary(stages.of_image[self.levels.index(AUXILIARY_LEVEL)])
        return logits
