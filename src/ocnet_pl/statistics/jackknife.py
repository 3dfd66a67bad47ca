"""How much the tested images matter: each is left out in turn (the delete-one jackknife, without random draws)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf

import numpy as np
from numpy.typing import NDArray

from ocnet_pl.metrics import Absent


@dataclass(frozen=True)
class ImageVariance:
    """Variance that the choice of images gives a difference between two rows.

    Attributes:
        total: variance of the difference.
        own: part of it that is of the single runs, not common to the seeds of a row. The variance over seeds contains
            it, too.
        freedom: degrees of freedom; few if few images decide.
        average: mean of the shared part over all pairs of rows of the table; None if only these two are known.
        rows: number of rows of the table.
    """

    total: float
    own: float
    freedom: float
    average: float | None = None
    rows: int = 2

    @property
    def shared(self) -> float:
        """Part that all seeds of a row have in common."""
        return max(self.total - self.own, 0.0)


def iou_without_each(counts: NDArray[np.int64], block: int = 1) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """IoU of each class without each image.

    A class whose last labelled image is left out is left out with it: the runs that predict it elsewhere would score 0
    and the others would be excused.

    Args:
        counts: counts of one run (images, 3, K).
        block: number of neighbouring images that are left out together.

    Returns:
        IoU (blocks, K), NaN where the class is not there; and True where a class is gone with its last image.
    """
    counts = np.add.reduceat(counts, np.arange(0, len(counts), block), 0) if block > 1 else counts
    total = counts.sum(0, keepdims=True)
    hits, false_positives, false_negatives = np.moveaxis((total - counts).astype(np.float64), 1, 0)
    gone = (hits + false_negatives == 0) & (total[:, 0] + total[:, 2] > 0)
    union = hits + false_positives + false_negatives
    there = (union > 0) & ~gone
    return np.divide(hits, union, out=np.full_like(union, np.nan), where=there), gone


def miou_without_each(
    ious: NDArray[np.float64], gone: NDArray[np.bool_], absent: Absent = "skip"
) -> NDArray[np.float64]:
    """Mean IoU without each image, from `iou_without_each`: (blocks,); NaN where no class is left."""
    there = ~np.isnan(ious)
    classes = there.sum(-1) if absent == "skip" else (~gone).sum(-1)
    total = np.where(there, ious, 0).sum(-1)
    return np.divide(total, classes, out=np.full_like(total, np.nan), where=there.any(-1))


def freedom_of_labels(labels: NDArray[np.int64]) -> float:
    """Degrees of freedom that the labels leave to the images, whatever the runs predict.

    If the rare classes are in three images, these decide most of the mIoU. The weight of an image is the sum of its
    squared shares of the classes; the images count as many of equal weight would (Kish's effective sample size).

    Args:
        labels: labelled pixels of each class (images, K).
    """
    of_class = labels.sum(0)
    weights = np.square(labels[:, of_class > 0] / of_class[of_class > 0]).sum(1)
    return max(float(weights.sum() ** 2 / np.square(weights).sum()) - 1, 1.0)


def variance(rows: Sequence[NDArray[np.float64]], row: int, other: int, most: float = inf) -> ImageVariance:
    """Variance over images of the difference between two rows.

    Args:
        rows: scores of all rows of the table without each image (seeds, images) each.
        row: index of the row.
        other: index of the row that is subtracted.
        most: degrees of freedom that the labels leave (`freedom_of_labels`).
    """
    of_two = _variance(rows[row].mean(0) - rows[other].mean(0), most, rows[row], rows[other])
    means = np.stack([of_row.mean(0) for of_row in rows])
    means -= means.mean(1, keepdims=True)
    scale = _scale(means.shape[1])
    spread = scale * float(np.square(means - means.mean(0)).sum()) / (len(rows) - 1)
    average = max(2 * spread - 2 * float(np.mean([_own(of_row, scale) for of_row in rows])), 0.0)
    return replace(of_two, average=average, rows=len(rows))


def paired_variance(row: NDArray[np.float64], other: NDArray[np.float64], most: float = inf) -> ImageVariance:
    """Variance over images of the mean difference between paired runs, (seeds, images) each; see `variance`."""
    return _variance((row - other).mean(0), most, row - other)


def _variance(without: NDArray[np.float64], most: float, *runs: NDArray[np.float64]) -> ImageVariance:
    """Variance of a number of which the values without each image (images,) are known; `runs` give the own share."""
    images = without.size
    scale = _scale(images)
    shares = scale * (without - without.mean()) ** 2
    total = float(shares.sum())
    spread = float(((shares - shares.mean()) ** 2).sum() / scale)
    freedom = min(images - 1.0, most)
    if spread > 0:
        freedom = min(freedom, max(1.0, 2 * total**2 / spread))
    return ImageVariance(total, sum(_own(of, scale) for of in runs), freedom)


def _own(runs: NDArray[np.float64], scale: float) -> float:
    """Variance that single runs give the mean of a row's runs (seeds, images); 0 if there is one."""
    if len(runs) < 2:
        return 0.0
    return float(scale * (runs - runs.mean(1, keepdims=True)).var(0, ddof=1).sum() / len(runs))


def _scale(images: int) -> float:
    """Factor of the squared deviations in the delete-one jackknife."""
    return (images - 1) / images
