"""Adaptive affinity fields (Ke et al. 2018, "Adaptive Affinity Fields for Semantic Segmentation", arXiv:1803.10335)."""

from collections.abc import Sequence
from itertools import product
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_SMALLEST = 1e-4
"""Probabilities are kept above it, as in the authors' code."""


class AdaptiveAffinityFields(nn.Module):
    """Loss on pairs of pixels: neighbours of one class should have like probabilities, others unlike ones.

    Each pixel is compared with the eight pixels at a distance of `size`, at the corners and edges of a window. For each
    class c, KL is the divergence of two Bernoulli distributions: c or not c. Where exactly one of the two pixels has
    label c, the loss is max(0, margin - KL), elsewhere KL. Both means are over all pairs and classes.

    Each size has a learned weight for every class of the central pixel: a softmax over the sizes, for edges and for
    the rest apart. The network minimises the loss; these weights maximise it, through a reversed gradient.

    The loss reads logits at the stride of the classifier's map. As in the authors' code (`losses.py`, `layers.py`), a
    pair counts only if the pixel opposite to the partner is labelled, too. With the single size 1 it is their "affinity
    field", without learned weights. Deviation: a batch without pairs of a kind has a mean of 0, not NaN.

    Args:
        num_classes: number of classes K.
        sizes: distances between the two pixels of a pair, in pixels of the map.
        margin: divergence from which pairs across an edge cost nothing.
        edge_weight: weight of the pairs across an edge (the paper's lambda 1).
        other_weight: weight of all other pairs (lambda 2).
        final_factor: factor of the loss at the end of training; it falls exponentially from 1.
        ignore_index: label of pixels without a class.
    """

    at_map_size: ClassVar[bool] = True

    def __init__(
        self,
        num_classes: int,
        sizes: Sequence[int] = (1, 2, 3),
        *,
        margin: float = 3.0,
        edge_weight: float = 1.0,
        other_weight: float = 1.0,
        final_factor: float = 0.1,
        ignore_index: int = 255,
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.sizes = tuple(sizes)
        self.margin = margin
        self.edge_weight = edge_weight
        self.other_weight = other_weight
        self.final_factor = final_factor
        self.ignore_index = ignore_index
        self.progress = 0.0
        self.edge_scores = nn.Parameter(torch.zeros(num_classes, len(self.sizes)))
        self.other_scores = nn.Parameter(torch.zeros(num_classes, len(self.sizes)))

    def forward(self, logits: Tensor, label: Tensor) -> Tensor:
        """Logits (B, K, h, w), labels (B, h, w) -> scalar."""
        edge, other = self.fields(logits, label)
        weighted = self.edge_weight * edge.sum() + self.other_weight * other.sum()
        return self.final_factor**self.progress * weighted

    def fields(self, logits: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        """Means of the pairs across an edge and of all other pairs for each size, (S,) each."""
        pairs = _Pairs(logits, label, max(self.sizes), self.ignore_index)
        edge_weights, other_weights = (
            _ascending(scores).softmax(1)[label.where(label != self.ignore_index, 0)]
            for scores in (self.edge_scores, self.other_scores)
        )
        edges, others = [], []
        for index, size in enumerate(self.sizes):
            edge, other = _Mean(), _Mean()
            for rows, columns in product((-size, 0, size), repeat=2):
                if rows or columns:
                    divergence, is_edge, is_other = pairs.at((rows, columns))
                    edge.add(edge_weights[:, None, ..., index] * (self.margin - divergence).relu(), is_edge)
                    other.add(other_weights[:, None, ..., index] * divergence, is_other)
            edges.append(edge.value())
            others.append(other.value())
        return torch.stack(edges), torch.stack(others)


class _Pairs:
    """Pairs of pixels at a distance of at most `reach`."""

    def __init__(self, logits: Tensor, label: Tensor, reach: int, ignore_index: int) -> None:
        probability = logits.float().softmax(1)  # in float32 under autocast, too: its logarithms are subtracted
        both = torch.stack([probability, 1 - probability]).clamp(_SMALLEST, 1.0)
        classes = torch.arange(logits.shape[1], device=label.device).view(-1, 1, 1)
        self.reach, self.size = reach, label.shape[1:]
        self.probability = F.pad(both, [reach] * 4, value=1.0)
        self.logarithm = self.probability.log()
        around = F.pad(label, [reach] * 4, value=ignore_index)
        self.labelled = around != ignore_index
        self.is_class = around.unsqueeze(1) == classes

    def at(self, shift: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor]:
        """Divergence of each pixel's partner from it, and masks of edges and of other pairs, (B, K, h, w) each."""
        own, opposite = (0, 0), (-shift[0], -shift[1])
        logarithm = self._seen(self.logarithm, shift) - self._seen(self.logarithm, own)
        divergence = (self._seen(self.probability, shift) * logarithm).sum(0)
        kept = self._seen(self.labelled, own) & self._seen(self.labelled, shift) & self._seen(self.labelled, opposite)
        differs = self._seen(self.is_class, own) != self._seen(self.is_class, shift)
        return divergence, differs & kept.unsqueeze(1), ~differs & kept.unsqueeze(1)

    def _seen(self, padded: Tensor, shift: tuple[int, int]) -> Tensor:
        """Values at a shift from each pixel, (..., h, w)."""
        (height, width), top, left = self.size, self.reach + shift[0], self.reach + shift[1]
        return padded[..., top : top + height, left : left + width]


class _Mean:
    """Mean over the masked elements of several tensors; 0, with zero gradients, if there are none."""

    def __init__(self) -> None:
        self.totals: list[Tensor] = []
        self.counts: list[Tensor] = []

    def add(self, values: Tensor, mask: Tensor) -> None:
        self.totals.append((values * mask).sum())
        self.counts.append(mask.sum())

    def value(self) -> Tensor:
        return torch.stack(self.totals).sum() / torch.stack(self.counts).sum().clamp_min(1)


def _ascending(parameter: Tensor) -> Tensor:
    """The same values, with a reversed gradient: an optimizer that descends increases the loss."""
    return 2 * parameter.detach() - parameter
