"""Cross entropy, the loss of the classifiers."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class CrossEntropy(nn.Module):
    """Weighted mean cross entropy over the labelled pixels; 0, with zero gradients, if their weights sum to 0.

    `torch.nn.CrossEntropyLoss` returns NaN there, e.g. for a batch without labelled pixels, and the next step makes
    all weights NaN.

    Args:
        weight: weights of the classes, (K,).
        ignore_index: label of pixels without a class.
    """

    weight: Tensor | None

    def __init__(self, *, weight: Tensor | None = None, ignore_index: int = 255) -> None:
        super().__init__()
        self.ignore_index = ignore_index
        self.register_buffer("weight", weight)

    def forward(self, logits: Tensor, label: Tensor) -> Tensor:
        """Logits (B, K, H, W), labels (B, H, W) -> scalar."""
        # Summed apart: CUDA has no deterministic kernel that also sums.
        total = F.cross_entropy(
            logits.float(), label, self.weight, reduction="none", ignore_index=self.ignore_index
        ).sum()
        labelled = label != self.ignore_index
        if self.weight is None:
            divisor = labelled.sum().to(total.dtype)
        else:
            divisor = (self.weight[label.where(labelled, 0)] * labelled).sum()
        return total / divisor.clamp_min(torch.finfo(total.dtype).tiny)
