"""Scores of single images, computed from the per-image counts of a run."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ocnet_pl.errors import UserError
from ocnet_pl.metrics import mean_iou
from ocnet_pl.record.image_counts import read_counts
from ocnet_pl.record.result import Result


@dataclass(frozen=True)
class ImageScores:
    """Scores of the images of a split, in its order.

    Attributes:
        split: name of the split.
        names: names of the image files.
        miou: mean IoU in 0..1 over the classes in the image's truth or prediction; NaN if it has none.
    """

    split: str
    names: Sequence[str]
    miou: NDArray[np.float64]

    def worst(self, count: int) -> list[int]:
        """Indices of the images with the lowest scores, lowest first."""
        known = np.count_nonzero(~np.isnan(self.miou))
        order: list[int] = np.argsort(self.miou, kind="stable")[: min(count, known)].tolist()  # NaN comes last
        return order


def image_scores(result: Result, checkpoint: str = "last") -> ImageScores:
    """Scores of the validation images.

    Raises:
        UserError: the checkpoint was not tested on them, or the counts of that test are missing or damaged.
    """
    key = result.evaluation_key(checkpoint)
    if key not in result.evaluations:
        raise UserError(
            f"{result.directory}: {key} was not tested; "
            f"run ocnet-evaluate checkpoint={result.directory}/checkpoints/{checkpoint}.ckpt"
        )
    kept = read_counts(result, key)
    if kept is None:
        raise UserError(f"{result.directory}: the per-image counts of {key} are missing; restore them")
    return ImageScores(result.val_split, kept.images, mean_iou(kept.counts))


def farthest_apart(first: ImageScores, second: ImageScores, count: int) -> list[int]:
    """Indices of the images in which two runs differ most: up to `count` where the first is ahead, then the second.

    Raises:
        UserError: the runs were tested on different images, or do not differ in any image.
    """
    if list(first.names) != list(second.names):
        raise UserError("these two runs were tested on different images; compare runs of one sweep")
    ahead = first.miou - second.miou
    order = [index for index in np.argsort(-ahead, kind="stable").tolist() if not np.isnan(ahead[index])]
    of_first = [index for index in order[:count] if ahead[index] > 0]
    of_second = [index for index in order[::-1][:count] if ahead[index] < 0]
    if not of_first and not of_second:
        raise UserError("these two runs have the same score in every image; compare two other runs")
    return of_first + of_second
