"""Online hard example mining (paper, section 4.1; authors' utils/loss.py)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class OhemCrossEntropy(nn.Module):
    """Weighted cross entropy over the hard pixels: those whose true class has a probability of at most a threshold.

    The threshold is max(`threshold`, the `min_kept`-th smallest probability), so at least `min_kept` pixels are kept
    where so many are labelled. It is found by selection, without sorting and without waiting for the GPU. When nothing
    is hard or nothing is labelled the loss is 0, and so is its gradient. Source: the authors' utils/loss.py.

    Args:
        threshold: probability above which a pixel is easy (paper: 0.7).
        min_kept: pixels to keep in each batch of a process (paper: 100000).
        weight: of the classes, (K,).
        ignore_index: label of pixels without a class.
    """

    weight: Tensor | None

    def __init__(
        self,
        threshold: float = 0.7,
        min_kept: int = 100_000,
        *,
        weight: Tensor | None = None,
        ignore_index: int = 255,
    ) -> None:
        super().__init__()
        self.threshold = threshold
        self.min_kept = min_kept
        self.ignore_index = ignore_index
        self.register_buffer("weight", weight)

    def forward(self, logits: Tensor, label: Tensor) -> Tensor:
        """Logits (B, K, H, W), labels (B, H, W) -> scalar."""
        # Float32 under autocast too: the threshold compares probabilities to the last digit.
        nll = F.cross_entropy(logits.float(), label, reduction="none", ignore_index=self.ignore_index)
        kept = self._kept(nll.detach(), label != self.ignore_index)
        if self.weight is not None:
            kept = kept * self.weight[label.where(label != self.ignore_index, 0)]
        return (kept * nll).sum() / kept.sum().clamp_min(torch.finfo(nll.dtype).tiny)

    def _kept(self, nll: Tensor, labelled: Tensor) -> Tensor:
        """1 for hard pixels, 0 for others."""
        probability = (-nll).exp().where(labelled, torch.inf)
        threshold = torch.full_like(probability[0, 0, 0], self.threshold)
        if self.min_kept >= probability.numel():
            threshold = threshold + torch.inf
        elif self.min_kept > 0:
            threshold = torch.maximum(threshold, probability.flatten().kthvalue(self.min_kept).values)
        # Infinity is the threshold where fewer are labelled than must be kept: then all labelled ones are.
        return ((probability <= threshold) & labelled).to(nll.dtype)
