"""Counts of right and wrong pixels of every image, on the device."""

from typing import Self

import torch
from torch import Tensor
from torchmetrics import Metric

from ocnet_pl.metrics import IGNORE


def confusion_matrix(prediction: Tensor, label: Tensor, num_classes: int) -> Tensor:
    """Number of pixels by (true class, predicted class), without ignored pixels.

    Args:
        prediction: class ids, any shape.
        label: class ids or 255, same shape.

    Returns:
        (num_classes, num_classes) int64.
    """
    # Ignored pixels go to an extra bin, which is cheaper than selecting the others; and so are bins of few bytes.
    bins = (num_classes + 1) * num_classes
    dtype = torch.int16 if bins <= torch.iinfo(torch.int16).max else torch.int32
    truth = torch.where(label == IGNORE, num_classes, label).to(dtype)
    counts = torch.bincount((truth * num_classes + prediction.to(dtype)).flatten(), minlength=bins)
    return counts.view(num_classes + 1, num_classes)[:num_classes]


def class_counts(confusion: Tensor) -> Tensor:
    """True positives, false positives, false negatives of each class. (K, K) -> (3, K)."""
    hits = confusion.diagonal()
    return torch.stack([hits, confusion.sum(0) - hits, confusion.sum(1) - hits])


class Counted:
    """Counts of the images that were evaluated.

    Not a tuple or dataclass: torchmetrics would squeeze the tensors of a single image or class.

    Attributes:
        index: index of each image in the set, (images,), in ascending order.
        counts: true positives, false positives and false negatives of each image, (images, 3, K).
        confusion: confusion matrix of all images together, (K, K).
    """

    def __init__(self, index: Tensor, counts: Tensor, confusion: Tensor) -> None:
        self.index = index
        self.counts = counts
        self.confusion = confusion

    @classmethod
    def nothing(cls, num_classes: int) -> Self:
        """Counts of no image."""
        return cls(*(torch.zeros(size, dtype=torch.long) for size in ((0,), (0, 3, num_classes), (num_classes,) * 2)))

    def cpu(self) -> "Counted":
        """Copy in the memory of the CPU."""
        return Counted(self.index.cpu(), self.counts.cpu(), self.confusion.cpu())


class ImageCounts(Metric):
    """Metric that keeps the counts of every image, from which all scores and the paired bootstrap are computed.

    Each image must go to exactly one process; `compute` concatenates the counts of all processes and adds up their
    confusion matrices.
    """

    full_state_update = False
    index: list[Tensor]
    counts: list[Tensor]
    confusion: Tensor

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.add_state("index", [], dist_reduce_fx="cat")
        self.add_state("counts", [], dist_reduce_fx="cat")
        self.add_state("confusion", torch.zeros(num_classes, num_classes, dtype=torch.long), dist_reduce_fx="sum")

    def update(self, index: Tensor, prediction: Tensor, label: Tensor) -> None:
        """Add images: index (B,), prediction and label (B, H, W)."""
        for i, (one_prediction, one_label) in enumerate(zip(prediction, label, strict=True)):
            matrix = confusion_matrix(one_prediction, one_label, self.num_classes)
            self.index.append(index[i].view(1))
            self.counts.append(class_counts(matrix).unsqueeze(0))
            self.confusion += matrix

    def compute(self) -> Counted:
        """Counts of all processes, in the order of the set."""
        index, counts = (torch.cat(state) if isinstance(state, list) else state for state in (self.index, self.counts))
        order = index.argsort()
        return Counted(index[order], counts[order], self.confusion)
