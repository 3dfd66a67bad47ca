"""Losses of heads that are not those of their classifier: other labels, other numbers of classes."""

import torch.nn.functional as F
from torch import Tensor

from ocnet_pl.metrics import IGNORE


def unweighted_cross_entropy(logits: Tensor, label: Tensor) -> Tensor:
    """Mean cross entropy over the labelled pixels; 0, with zero gradients, if there are none.

    Logits (B, K, H, W), labels (B, H, W) int64, 255 is ignored -> scalar. The configured loss has weights of the data
    set's classes, which no other labels have.
    """
    # Summed apart, as in `loss.CrossEntropy`.
    total = F.cross_entropy(logits.float(), label, reduction="none", ignore_index=IGNORE).sum()
    return total / (label != IGNORE).sum().clamp_min(1)
