"""How much the tested images matter: each is left out in turn (the delete-one jackknife, without random draws)."""

from dataclasses import dataclass

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
    """

    total: float
    own: float
    freedom: float

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


def variance(row: NDArray[np.float64], other: NDArray[np.float64]) -> ImageVariance:
    """Variance over images of the difference between two rows.

    Args:
        row: scores of a row without each image (seeds, images).
        other: scores of another, without the same images.
    """
    return _variance(row.mean(0) - other.mean(0), row, other)


def paired_variance(row: NDArray[np.float64], other: NDArray[np.float64]) -> ImageVariance:
    """Variance over images of the mean difference between paired runs, (seeds, images) each."""
    return _variance((row - other).mean(0), row - other)


def _variance(without: NDArray[np.float64], *runs: NDArray[np.float64]) -> ImageVariance:
    """Variance of a number of which the values without each image (images,) are known; `runs` give the own share."""
    images = without.size
    scale = (images - 1) / images
    shares = scale * (without - without.mean()) ** 2
    total = float(shares.sum())
    own = sum(
        float(scale * (of - of.mean(1, keepdims=True)).var(0, ddof=1).sum() / len(of)) for of in runs if len(of) > 1
    )
    spread = float(((shares - shares.mean()) ** 2).sum() / scale)
    freedom = min(images - 1.0, max(1.0, 2 * total**2 / spread)) if spread > 0 else images - 1.0
    return ImageVariance(total, own, freedom)
