"""Predict photographs with a trained network: classes, logits and object context maps."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ocnet_pl.errors import UserError
from ocnet_pl.inference import Protocol, WholeImage, size_in_testing
from ocnet_pl.model.network import Network
from ocnet_pl.model.object_context import ObjectContext, Points, require_attention
from ocnet_pl.resizing import resize_image


class Predictor:
    """A network in evaluation mode with its test protocol.

    Args:
        network: the network.
        protocol: test protocol; None: a single pass over the whole image.
    """

    def __init__(self, network: Network, protocol: Protocol | None = None) -> None:
        self.network = network.eval()
        self.protocol = protocol or WholeImage()

    @torch.inference_mode()
    def predict_logits(self, image: NDArray[np.uint8]) -> Tensor:
        """Logits of one photograph: RGB (H, W, 3) uint8 -> (num_classes, H, W)."""
        return self.protocol(self.network, self.batch(image)).whole()[0]

    @torch.inference_mode()
    def predict(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Classes of one photograph: RGB (H, W, 3) uint8 -> train ids (H, W) uint8.

        They are those of `predict_logits`, and take much less memory.
        """
        prediction: NDArray[np.uint8] = self.protocol(self.network, self.batch(image)).labels()[0].cpu().numpy()
        return prediction

    def object_context(self, image: NDArray[np.uint8], points: Points) -> NDArray[np.float32]:
        """Attention maps of some pixels of one photograph.

        They are the attention weights of one forward pass over the whole image at its test size, even if the protocol
        averages several passes.

        Args:
            image: RGB (H, W, 3) uint8.
            points: pixels (x, y), x to the right and y down, from (0, 0) at the top left.

        Returns:
            (points, maps, H, W): one map for each attention of the head, zero out of its reach. Each map sums to 1 over
            the image, and over a region to the weight of that region.

        Raises:
            UserError: the head has no attention, or a point is outside the image.
        """
        maps: NDArray[np.float32] = self.attend(image).maps(points).float().cpu().numpy()
        return maps

    @torch.inference_mode()
    def attend(self, image: NDArray[np.uint8]) -> ObjectContext:
        """Run the backbone on one photograph; the result returns maps of any pixels.

        Raises:
            UserError: the head has no attention.
        """
        head = require_attention(self.network.head)
        batch = self.batch(image)
        height, width = batch.shape[-2:]
        seen = size_in_testing(self.protocol, height, width)
        stages, named = self.network.read(resize_image(batch, seen))
        return ObjectContext(head.attended(*stages.of_head, **named), (height, width), seen)

    def batch(self, image: NDArray[np.uint8]) -> Tensor:
        """Input of the network: RGB (H, W, 3) uint8 -> (1, 3, H, W) on its device.

        Raises:
            UserError: another type or shape; e.g. floats in 0..1 would look like a black image.
        """
        pixels = np.asarray(image)
        if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[-1] != 3:
            given = f"{pixels.shape} {pixels.dtype}" if pixels.ndim else repr(image)
            raise UserError(
                f"image: expected RGB (H, W, 3) uint8, not {given}; use np.asarray(PIL.Image.open(FILE).convert('RGB'))"
            )
        # A copy: torch does not support negative strides, e.g. of image[..., ::-1].
        batch = torch.from_numpy(pixels.transpose(2, 0, 1)[None].copy())
        return batch.to(next(self.network.parameters()).device)
