"""Scores of single images, from the counts that a run keeps of every one."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ocnet_pl.errors import UserError
from ocnet_pl.metrics import mean_iou
from ocnet_pl.record.image_counts import read_counts
from ocnet_pl.record.result import Result, evaluation_key


@dataclass(frozen=True)
class ImageScores:
    """Of the images of a split, in its order.

    Attributes:
        split: of the data set.
        names: of the image files.
        miou: mean IoU over the classes that are there or predicted in the image, in 0..1; NaN where none is.
    """

    split: str
    names: Sequence[str]
    miou: NDArray[np.float64]

    def worst(self, count: int) -> list[int]:
        """Indices of the images with the lowest scores, lowest first."""
        known = np.count_nonzero(~np.isnan(self.miou))
        order: list[int] = np.argsort(self.miou, kind="stable")[: min(count, known)].tolist()  # NaN comes last
        return order


def validation_key(result: Result, checkpoint: str = "last") -> str:
    """The evaluation of a checkpoint on the run's validation split, under the run's own protocol."""
    return evaluation_key(checkpoint, result.val_split, result.protocol)


def image_scores(result: Result, checkpoint: str = "last") -> ImageScores:
    """Of the validation images.

    Raises:
        UserError: the checkpoint was not tested on them, or the counts of that test are not there or damaged.
    """
    key = validation_key(result, checkpoint)
    if key not in result.evaluations:
        raise UserError(
            f"{result.directory}: {key} was not tested; "
            f"ocnet-evaluate checkpoint={result.directory}/checkpoints/{checkpoint}.ckpt"
        )
    kept = read_counts(result, key)
    if kept is None:
        raise UserError(f"{result.directory}: the counts of every image of {key} are not there; copy them there again")
    return ImageScores(key.split("/")[1], kept.images, mean_iou(kept.counts))


def farthest_apart(first: ImageScores, second: ImageScores, count: int) -> list[int]:
    """Indices of the images at which each of two runs is ahead most: up to `count` of the first, then of the second.

    Raises:
        UserError: they were tested on different images, or do equally well in every one.
    """
    if list(first.names) != list(second.names):
        raise UserError("these two runs were tested on different images; compare runs of one sweep")
    ahead = first.miou - second.miou
    order = [index for index in np.argsort(-ahead, kind="stable").tolist() if not np.isnan(ahead[index])]
    of_first = [index for index in order[:count] if ahead[index] > 0]
    of_second = [index for index in order[::-1][:count] if ahead[index] < 0]
    if not of_first and not of_second:
        raise UserError("these two runs do equally well in every image; compare two others")
    return of_first + of_second
