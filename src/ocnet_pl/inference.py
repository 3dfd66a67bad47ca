"""Protocols: how a trained network is tested."""

from torch import Tensor, nn


class WholeImage:
    """One forward pass over the whole image, at its own size (the paper's single-scale test)."""

    def __call__(self, network: nn.Module, image: Tensor) -> Tensor:
        """(B, 3, H, W) -> logits (B, num_classes, H, W)."""
        logits: Tensor = network(image)
        return logits
