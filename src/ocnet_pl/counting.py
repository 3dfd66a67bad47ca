"""Counting right and wrong pixels on the device, image by image."""

from typing import Self

import torch
from torch import Tensor
from torchmetrics import Metric

from ocnet_pl.metrics import IGNORE


def confusion_matrix(prediction: Tensor, label: Tensor, num_classes: int) -> Tensor:
    """Pixels by (true class, predicted class), ignored ones left out.

    Args:
        prediction: class ids, any shape.
        label: class ids or 255, same shape.

    Returns:
        (num_classes, num_classes) int64.
    """
    # An extra bin takes the ignored pixels: cheaper than selecting the others.
    truth = torch.where(label == IGNORE, num_classes, label).long()
    bins = torch.bincount((truth * num_classes + prediction).flatten(), minlength=(num_classes + 1) * num_classes)
    return bins.view(num_classes + 1, num_classes)[:num_classes]


def class_counts(confusion: Tensor) -> Tensor:
    """True positives, false positives, false negatives of each class. (K, K) -> (3, K)."""
    hits = confusion.diagonal()
    return torch.stack([hits, confusion.sum(0) - hits, confusion.sum(1) - hits])


class Counted:
    """Counts of the images that were evaluated.

    An ordinary class: of tuples and dataclasses torchmetrics would squeeze the tensors of a single image or class.

    Attributes:
        index: index of each image in the set, (images,), rising.
        counts: true positives, false positives and false negatives of each, (images, 3, K).
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
        """The same in the processor's memory."""
        return Counted(self.index.cpu(), self.counts.cpu(), self.confusion.cpu())


class ImageCounts(Metric):
    """Counts of every image by its index in the set: what all numbers and the paired bootstrap are made of.

    Each image must be given to exactly one process; the states are concatenated across them, the confusion matrices
    of all images added.
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
        """Index (B,), prediction and label (B, H, W)."""
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
