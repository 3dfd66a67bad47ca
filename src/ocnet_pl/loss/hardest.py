"""Cross entropy of the hardest pixels of each image (public code of SS-NAN)."""

import torch.nn.functional as F
from torch import Tensor, nn


class HardestCrossEntropy(nn.Module):
    """Mean cross entropy over a share of each image's pixels, those with the highest loss; then over the images.

    Pixels without a class have loss 0 and count: the share is one of all pixels. The loss is 0, with zero gradients, if
    no pixel has a class.

    Args:
        share: share of the pixels of an image, rounded down to whole pixels; at least one pixel is kept.
        weight: weights of the classes, (K,).
        ignore_index: label of pixels without a class.
    """

    weight: Tensor | None

    def __init__(self, share: float = 1 / 3, *, weight: Tensor | None = None, ignore_index: int = 255) -> None:
        super().__init__()
        self.share = share
        self.ignore_index = ignore_index
        self.register_buffer("weight", weight)

    def forward(self, logits: Tensor, label: Tensor) -> Tensor:
        """Logits (B, K, H, W), labels (B, H, W) -> scalar."""
        losses = F.cross_entropy(
            logits.float(), label, self.weight, reduction="none", ignore_index=self.ignore_index
        ).flatten(1)
        kept = max(1, int(losses.shape[1] * self.share))
        return losses.topk(kept, 1, sorted=False).values.mean()
