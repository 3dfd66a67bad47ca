"""Online hard example mining (paper, section 4.1; authors' utils/loss.py)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class OhemCrossEntropy(nn.Module):
    """Weighted cross entropy over the hard pixels: those whose true class has a probability of at most a threshold.

    The threshold is max(`threshold`, the `min_kept`-th smallest probability): at least `min_kept` pixels are kept if so
    many are labelled. It is found by selection, without sorting and without synchronising with the GPU. Loss and
    gradient are 0 if no pixel is hard or labelled.

    Args:
        threshold: probability above which a pixel is easy (paper: 0.7).
        min_kept: number of pixels to keep in each batch of a process (paper: 100000).
        weight: weights of the classes, (K,).
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
        # Float32 under autocast, too: the threshold is compared exactly.
        nll = F.cross_entropy(logits.float(), label, reduction="none", ignore_index=self.ignore_index)
        kept = self._kept(nll.detach(), label != self.ignore_index)
        if self.weight is not None:
            kept = kept * self.weight[label.where(label != self.ignore_index, 0)]
        return (kept * nll).sum() / kept.sum().clamp_min(torch.finfo(nll.dtype).tiny)

    def _kept(self, nll: Tensor, labelled: Tensor) -> Tensor:
        """Mask of the hard pixels, 1 or 0."""
        probability = (-nll).exp().where(labelled, torch.inf)
        threshold = torch.full_like(probability[0, 0, 0], self.threshold)
        if self.min_kept >= probability.numel():
            threshold = threshold + torch.inf
        elif self.min_kept > 0:
            threshold = torch.maximum(threshold, probability.flatten().kthvalue(self.min_kept).values)
        # Fewer labelled pixels than `min_kept` make the threshold infinite, which keeps them all.
        return ((probability <= threshold) & labelled).to(nll.dtype)
