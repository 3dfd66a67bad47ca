"""Differences between the rows of a column, and their intervals."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ocnet_pl.statistics import (
    Interval,
    borrowed_difference,
    freedom_of_labels,
    mean_sd,
    paired_difference,
    paired_variance,
    variance,
)
from ocnet_pl.table.columns import EvaluationColumn, TableColumn
from ocnet_pl.table.comparable import why_not_comparable
from ocnet_pl.table.run_scores import RowScores, RunScores, Score
from ocnet_pl.table.structure import Row


@dataclass(frozen=True)
class Comparison:
    """Difference of two rows in one column, in points.

    Attributes:
        difference: difference of the means over all seeds of either row; None if the rows cannot be compared.
        interval: interval of the difference; None if unknown.
        reason: reason why either is missing.
    """

    difference: float | None = None
    interval: Interval | None = None
    reason: str | None = None


class ColumnComparisons:
    """Comparisons between any two rows of a column."""

    def __init__(self, column: TableColumn, rows: Sequence[Row], tested: Mapping[str, RowScores]) -> None:
        """Prepare the comparisons.

        Args:
            column: the column.
            rows: rows whose numbers are tests; they give the average spread over seeds.
            tested: tests of these rows, by name.
        """
        self.column = column
        self.rows = rows
        self.tested = tested
        self._obstacles: dict[tuple[str, str], Comparison | None] = {}

    def compare(self, row: Row, other: Row) -> Comparison:
        """Compare a row with another, if both were tested on the same images."""
        if (obstacle := self.obstacle(row, other)) is not None:
            return obstacle
        interval = self.interval(row, other, lambda run: run.miou)
        return Comparison(interval.difference, interval)

    def mean(self, row: Row) -> float:
        """Mean number of a row over seeds, whether its per-image counts are known or not."""
        return mean_sd([self.column.value(result) for result in row.counted]).mean

    def interval(self, row: Row, other: Row, score: Callable[[RunScores], Score]) -> Interval:
        """Interval of the difference in any number of two rows without an obstacle.

        Args:
            row, other: the rows.
            score: the number of a run.
        """
        if pairs := self._pairs_of_same_weights(row, other):
            of_both = [(score(one), score(two)) for one, two in pairs]
            differences = np.array([one.value - two.value for one, two in of_both])
            ones, twos = (np.stack([of.without for of in side]) for side in zip(*of_both, strict=True))
            most = freedom_of_labels(of_both[0][0].labels)
            return paired_difference(differences, paired_variance(ones, twos, most))
        pool = [[score(run) for run in runs] for runs in self._independent(row, other)]
        scores = [np.array([of.value for of in runs]) for runs in pool]
        without = [np.stack([of.without for of in runs]) for runs in pool]
        images = variance(without, 0, 1, freedom_of_labels(pool[0][0].labels))
        return borrowed_difference(scores, 0, 1, images)

    def obstacle(self, row: Row, other: Row) -> Comparison | None:
        """Reason why two rows have no interval; None if they have one."""
        key = (row.name, other.name)
        if key not in self._obstacles:
            self._obstacles[key] = self._obstacle(row, other)
        return self._obstacles[key]

    def _obstacle(self, row: Row, other: Row) -> Comparison | None:
        if reason := why_not_comparable(self.column, row, other):
            return Comparison(reason=reason)
        one, two = (self.tested[of.name] for of in (row, other))
        if missing := one.without_score + two.without_score:
            return Comparison(reason=f"{', '.join(missing)} has no score, because no pixel is labelled")
        difference = self.mean(row) - self.mean(other)
        if np.isnan(difference):
            return Comparison()
        if not isinstance(self.column, EvaluationColumn) or self.column.metric != "miou":
            return Comparison(difference)
        if missing := one.without_counts + two.without_counts:
            return Comparison(difference, reason=f"the per-image counts of {', '.join(missing)} are missing")
        return _obstacle_of_runs([*one.runs, *two.runs], difference)

    def _pairs_of_same_weights(self, row: Row, other: Row) -> list[tuple[RunScores, RunScores]]:
        """Runs of both rows that tested the same weights, e.g. under two protocols."""
        by_weights = {run.result.weights_sha256: run for run in self.tested[other.name].runs}
        return [
            (run, by_weights[run.result.weights_sha256])
            for run in self.tested[row.name].runs
            if run.result.weights_sha256 in by_weights
        ]

    def _independent(self, row: Row, other: Row) -> list[Sequence[RunScores]]:
        """Runs of both rows, then of the others that were tested likewise; each set of weights once."""
        others = [
            one
            for one in self.rows
            if one.name not in (row.name, other.name)
            and self.obstacle(one, row) is None
            and self.obstacle(one, other) is None
        ]
        found: list[Sequence[RunScores]] = []
        seen: set[str] = set()
        for one in (row, other, *others):
            runs = self.tested[one.name].runs
            weights = {run.result.weights_sha256 for run in runs}
            if not weights & seen:
                found.append(runs)
                seen |= weights
        return found


def _obstacle_of_runs(runs: Sequence[RunScores], difference: float) -> Comparison | None:
    first = runs[0]
    if others := [run.result.name for run in runs if not run.kept.is_of_the_same_images(first.kept)]:
        return Comparison(reason=f"{', '.join(others)}: tested on other images than {first.result.name}")
    if len({run.kept.counts.shape[2] for run in runs}) > 1:
        return Comparison(reason="its runs and those of the other row were tested with different numbers of classes")
    if len({tuple(run.kept.classes) for run in runs if run.kept.classes}) > 1:
        return Comparison(reason="its runs and those of the other row were tested with different classes")
    if first.without.size == 1:
        return Comparison(difference, reason="the test has a single image, or a single block of images")
    if any(np.isnan(run.without).any() for run in runs):
        return Comparison(difference, reason="all labelled pixels are in one image, or in one block of images")
    return None
