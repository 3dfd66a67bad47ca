"""OCNet (paper, figure 2a): backbone -> context head -> classifier, and a second classifier for training."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ocnet_pl.errors import UserError
from ocnet_pl.inference import Protocol, WholeImage, size_in_testing
from ocnet_pl.model.layers import Normalize, conv_norm_act, upsample
from ocnet_pl.model.object_context import ObjectContext, Points, require_attention
from ocnet_pl.resizing import resize_image


class OCNet(nn.Module):
    """A segmentation network around one context head.

    Args:
        backbone: (B, 3, H, W) -> [auxiliary features, features], with timm's `feature_info` and `pretrained_cfg`.
        head: (B, C, h, w) -> (B, head.out_channels, h, w).
        num_classes: of the data set.
        auxiliary_channels: width of the auxiliary classifier on the features before the last (res4b22 of ResNet-101).
        auxiliary_dropout: its channel dropout.
        negative_slope: of its leaky ReLU.
        bgr: the backbone's weights want BGR (those of the authors' lineage).
        mean: per channel, in the unit interval, RGB; None: what timm says of the backbone's weights.
        std: the same; 1/255 where weights want 0..255 undivided.
    """

    def __init__(
        self,
        backbone: nn.Module,
        head: nn.Module,
        num_classes: int,
        *,
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
        self.normalize = Normalize(
            pretrained_cfg["mean"] if mean is None else tuple(mean),
            pretrained_cfg["std"] if std is None else tuple(std),
            bgr=bgr,
        )
        self.backbone = backbone
        self.head = head
        self.classifier = nn.Conv2d(head.out_channels, num_classes, 1)  # type: ignore[arg-type]
        self.auxiliary = nn.Sequential(
            conv_norm_act(backbone.feature_info.channels()[0], auxiliary_channels, 3, negative_slope=negative_slope),  # type: ignore[operator, union-attr]
            nn.Dropout2d(auxiliary_dropout),
            nn.Conv2d(auxiliary_channels, num_classes, 1),
        )
        self.protocol: Protocol = WholeImage()
        """What `predict` does; where a data set is tested at a size of its own, `build` puts that here."""

    def forward(self, image: Tensor) -> Tensor:
        """RGB in 0..255, (B, 3, H, W), bytes or floats -> logits (B, num_classes, H, W)."""
        return upsample(self.classifier(self.head(self.features(image))), image.shape[-2:])

    def features(self, image: Tensor) -> Tensor:
        """What the head gets. RGB in 0..255, (B, 3, H, W) -> (B, C, h, w)."""
        features: Tensor = self.backbone(self.normalize(image))[1]
        return features

    def forward_with_auxiliary(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """For training: the logits, and those of the auxiliary classifier, both (B, num_classes, H, W)."""
        auxiliary_features, features = self.backbone(self.normalize(image))
        logits = self.classifier(self.head(features))
        return (
            upsample(logits, image.shape[-2:]),
            upsample(self.auxiliary(auxiliary_features), image.shape[-2:]),
        )

    @torch.inference_mode()
    def predict_logits(self, image: NDArray[np.uint8]) -> Tensor:
        """Logits of one photograph by `protocol`: RGB (H, W, 3) uint8 -> (num_classes, H, W), in eval mode."""
        return self.protocol(self, self.batch(image))[0]

    def predict(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Classes of one photograph by `protocol`: RGB (H, W, 3) uint8 -> train ids (H, W) uint8, in eval mode."""
        prediction: NDArray[np.uint8] = self.predict_logits(image).argmax(0).to(torch.uint8).cpu().numpy()
        return prediction

    def object_context(self, image: NDArray[np.uint8], points: Points) -> NDArray[np.float32]:
        """Object context maps of some pixels of one photograph: what their class is decided with. In eval mode.

        They are the weights of one forward pass over the whole image, at the size that `protocol` tests it at; a
        protocol that takes the mean of several passes is asked for no more than that one.

        Args:
            image: RGB (H, W, 3) uint8.
            points: pixels (x, y), x to the right and y down, from (0, 0) at the top left.

        Returns:
            (points, maps, H, W): one map of a pixel, or in Pyramid-OC one for each of its grids, zero outside the
            pixel's cell. Each sums to 1 over the image, and over a region to what the attention gives that region.

        Raises:
            UserError: a head without attention, or a point that is not in the image.
        """
        maps: NDArray[np.float32] = self.attend(image).maps(points).float().cpu().numpy()
        return maps

    @torch.inference_mode()
    def attend(self, image: NDArray[np.uint8]) -> ObjectContext:
        """The same for any number of questions about one image: the backbone runs once, here.

        Raises:
            UserError: a head without attention.
        """
        batch = self.batch(image)
        height, width = batch.shape[-2:]
        seen = size_in_testing(self.protocol, height, width)
        head = require_attention(self.head)
        return ObjectContext(head.attended(self.features(resize_image(batch, seen))), (height, width), seen)

    def batch(self, image: NDArray[np.uint8]) -> Tensor:
        """A photograph as the network takes it: RGB (H, W, 3) uint8 -> (1, 3, H, W), on its device.

        Raises:
            UserError: anything else; floats in 0..1 would be taken for a black image.
        """
        pixels = np.asarray(image)
        if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[-1] != 3:
            given = f"{pixels.shape} {pixels.dtype}" if pixels.ndim else repr(image)
            raise UserError(
                f"RGB (H, W, 3) uint8 is expected, not {given}; a file gives it by "
                "np.asarray(PIL.Image.open(FILE).convert('RGB'))"
            )
        # torch takes no negative strides, which image[..., ::-1] has.
        batch = torch.from_numpy(pixels.transpose(2, 0, 1)[None].copy())
        return batch.to(next(self.parameters()).device)
