"""Tests of a row's runs: their scores, whole and without each image."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial

import numpy as np
from numpy.typing import NDArray

from ocnet_pl.metrics import iou
from ocnet_pl.record.image_counts import SavedCounts, read_counts
from ocnet_pl.record.result import Evaluation, Result
from ocnet_pl.statistics import iou_without_each, miou_without_each
from ocnet_pl.table.columns import EvaluationColumn, TableColumn
from ocnet_pl.table.structure import Notes, Row


@dataclass(frozen=True)
class Score:
    """A number of a run, in per cent, with what its comparison needs.

    Attributes:
        value: the number.
        without: the same without each image (blocks,).
        labels: labelled pixels of the classes that it is about (blocks, classes).
    """

    value: float
    without: NDArray[np.float64]
    labels: NDArray[np.int64]


@dataclass(frozen=True)
class RunScores:
    """Test of one run, in per cent.

    Attributes:
        result: the run.
        score: mIoU.
        classes: names of the K classes.
        kept: per-image counts.
        without: mIoU without each image (or block of images), (blocks,); NaN if no labelled pixel is left.
        ious: IoU by class (K,); empty unless asked for.
        ious_without: the same without each image (blocks, K); empty unless asked for.
        block: number of neighbouring images that are left out together.
    """

    result: Result
    score: float
    classes: Sequence[str]
    kept: SavedCounts
    without: NDArray[np.float64]
    ious: NDArray[np.float64]
    ious_without: NDArray[np.float64]
    block: int = 1

    @property
    def labelled(self) -> NDArray[np.bool_]:
        """True where a class is in the labels of an image, (images, K)."""
        return self.kept.counts[:, 0] + self.kept.counts[:, 2] > 0

    @cached_property
    def labels(self) -> NDArray[np.int64]:
        """Labelled pixels of each class, by image or block of images (blocks, K)."""
        pixels: NDArray[np.int64] = self.kept.counts[:, 0] + self.kept.counts[:, 2]
        return np.add.reduceat(pixels, np.arange(0, len(pixels), self.block), 0)

    @property
    def miou(self) -> Score:
        """The mIoU."""
        return Score(self.score, self.without, self.labels)

    def of_class(self, place: int) -> Score:
        """IoU of one class."""
        return Score(float(self.ious[place]), self.ious_without[:, place], self.labels[:, [place]])


@dataclass(frozen=True)
class RowScores:
    """Runs of a row that were tested, each set of weights once.

    Attributes:
        runs: the runs whose per-image counts are known, in the order of the seeds.
        without_counts: names of the runs whose counts are missing.
        without_score: names of the runs that have no score, because no pixel of their images is labelled.
    """

    runs: list[RunScores] = field(default_factory=list)
    without_counts: list[str] = field(default_factory=list)
    without_score: list[str] = field(default_factory=list)


def read_row_scores(
    column: TableColumn, row: Row, notes: Notes, *, block: int = 1, by_class: bool = False
) -> RowScores:
    """Read the tests of a row's runs in a column.

    Args:
        column: any column; only those of an mIoU have per-image counts.
        row: the row.
        notes: where damaged files are noted.
        block: number of neighbouring images that are left out together.
        by_class: True to keep the numbers of single classes, too.
    """
    tested = RowScores()
    for result in row.counted:
        evaluation = column.evaluation_of(result) if isinstance(column, EvaluationColumn) else None
        if evaluation is None or not isinstance(column, EvaluationColumn):
            continue
        score = column.value(result)
        if np.isnan(score):
            tested.without_score.append(result.name)
        elif column.metric == "miou":
            kept = notes.readable(partial(read_counts, result, column.key(result)), None)
            if kept is None:
                tested.without_counts.append(result.name)
            else:
                tested.runs.append(_tested(result, score, evaluation, kept, block, by_class=by_class))
    return tested


def invented_classes(runs: Sequence[RunScores]) -> list[tuple[str, list[str]]]:
    """(class, names of the runs) of classes that are in no label of the images, but predicted: they score 0 there."""
    found: dict[str, list[str]] = {}
    for run in runs:
        nowhere = ~run.labelled.any(0) & (run.kept.counts[:, 1].sum(0) > 0)
        for place in map(int, np.flatnonzero(nowhere)):
            found.setdefault(run.classes[place], []).append(run.result.name)
    return list(found.items())


def _tested(
    result: Result, score: float, evaluation: Evaluation, kept: SavedCounts, block: int, *, by_class: bool
) -> RunScores:
    ious, gone = iou_without_each(kept.counts, block)
    without = 100 * miou_without_each(ious, gone, evaluation.absent_classes)
    of_all = 100 * iou(kept.counts.sum(0))
    classes = kept.classes or (list(evaluation.iou) if len(evaluation.iou) == len(of_all) else [])
    classes = classes or [f"class {place}" for place in range(len(of_all))]
    if not by_class:
        return RunScores(result, score, classes, kept, without, np.empty(0), np.empty((0, 0)), block)
    return RunScores(result, score, classes, kept, without, of_all, 100 * ious, block)
