"""Scores of the benchmarks, computed from pixel counts of the whole set.

`torchmetrics.segmentation.MeanIoU` averages over images instead, which is not the paper's score.
"""

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

IGNORE = 255
"""Train id of ignored pixels."""

Absent = Literal["skip", "zero"]
"""Rule for classes that occur neither in the labels nor in the predictions: `skip` leaves them out of the mean
(cityscapesScripts, evalPixelLevelSemanticLabeling.py), `zero` counts them as IoU 0 (the ADE20K devkit,
utils_eval.py, and the authors' eval.py)."""


def iou(counts: ArrayLike) -> NDArray[np.float64]:
    """IoU of each class; NaN for classes that occur neither in labels nor predictions. (..., 3, K) -> (..., K)."""
    hits, false_positives, false_negatives = np.moveaxis(np.asarray(counts, np.float64), -2, 0)
    union = hits + false_positives + false_negatives
    return np.divide(hits, union, out=np.full_like(union, np.nan), where=union > 0)


def mean_iou(counts: ArrayLike, absent: Absent = "skip") -> NDArray[np.float64]:
    """Mean IoU over the classes; NaN if no class occurs. (..., 3, K) -> (...)."""
    ious = iou(counts)
    occurs = ~np.isnan(ious)
    total = np.where(occurs, ious, 0).sum(-1)
    classes = occurs.sum(-1) if absent == "skip" else np.full_like(total, ious.shape[-1])
    return np.divide(total, classes, out=np.full_like(total, np.nan), where=occurs.any(-1))


def pixel_accuracy(counts: ArrayLike) -> NDArray[np.float64]:
    """Share of correct pixels among the labelled ones; NaN if no pixel is labelled. (..., 3, K) -> (...)."""
    hits, _, false_negatives = np.moveaxis(np.asarray(counts, np.float64), -2, 0)
    labelled = (hits + false_negatives).sum(-1)
    return np.divide(hits.sum(-1), labelled, out=np.full_like(labelled, np.nan), where=labelled > 0)
