"""Comparison of two rows: whether their scores are tests and comparable, and the interval of their difference."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from ocnet_pl.record.directory import RunDirectory
from ocnet_pl.record.image_counts import SavedCounts, read_counts
from ocnet_pl.record.result import Result
from ocnet_pl.statistics import Interval, MeanSD, paired_bootstrap, paired_difference
from ocnet_pl.table.columns import EvaluationColumn, TableColumn
from ocnet_pl.table.structure import Notes, Row

_NEGLIGIBLE = 0.01
"""Share of tested images that may be trained on in a test: official splits share some images."""

_CONTAINS = {"trainval": "val"}
"""Training splits whose name says that they contain another split: for results that do not record it by content."""


def lineage(result: Result, notes: Notes) -> Iterator[Result]:
    """The run and its ancestors, as far as their results exist, each once."""
    done: set[Path] = set()
    run: Result | None = result
    while run and run.directory not in done:
        yield run
        done.add(run.directory)
        parent = run.config.get("parent")
        origin = RunDirectory(run.directory).sibling(parent) if parent else None
        run = notes.readable(partial(Result.read, origin.result), None) if origin and origin.result.is_file() else None


def trained_on(column: TableColumn, row: Row) -> tuple[int, int]:
    """(images, of images) of a column that a run of the row was trained on, for the run with most; (0, 0) for none.

    Runs record this by the content of the images. For runs of older versions, the names of the splits decide.
    """
    counts = [(0, 0)]
    for result in row.results.values():
        evaluation = column.evaluation_of(result)
        if evaluation is not None and evaluation.trained_on is not None:
            counts.append((evaluation.trained_on, evaluation.of or evaluation.images))
        elif column.split not in (None, "train") and any(
            column.split in (run.train_split, _CONTAINS.get(run.train_split)) for run in row.lineage
        ):
            images = evaluation.images if evaluation else 1
            counts.append((images, images))
    return max(counts, key=lambda count: count[0] / max(count[1], 1))


def is_test(seen: tuple[int, int]) -> bool:
    """Return whether a number is a test although the row was trained on (images, of images) of it."""
    return seen[0] <= _NEGLIGIBLE * seen[1]


def is_training_column(column: TableColumn, rows: Sequence[Row]) -> bool:
    """Return whether a column shows images that every run trains on and none validates on."""
    runs = [result for row in rows for result in row.results.values()]
    return column.split is not None and all(run.train_split == column.split != run.val_split for run in runs)


def why_not_comparable(column: TableColumn, row: Row, base: Row) -> str | None:
    """Reason why the scores of two rows cannot be compared; None if they can."""
    runs = [run for one in (base, row) for run in one.results.values()]
    tested = {run.name: evaluation for run in runs if (evaluation := column.evaluation_of(run))}
    if others := _others({run: evaluation.data for run, evaluation in tested.items()}):
        return f"{others}: tested on other images than {_first(tested)}"
    if others := _others({run: evaluation.absent_classes for run, evaluation in tested.items()}):
        return f"{others}: another rule for absent classes than {_first(tested)}"
    by_split: dict[str, dict[str, str | None]] = {}
    for run in runs:
        images = run.data.get(run.train_split)
        by_split.setdefault(run.train_split, {})[run.name] = images.sha256 if images else None
    for split, hashes in by_split.items():
        if others := _others(hashes):
            return f"{others}: trained on other images of the same name ({split!r}) than {_first(hashes)}"
    return None


@dataclass(frozen=True)
class Comparison:
    """Difference of two rows in one column.

    Attributes:
        difference: difference, paired by seed; None if the rows cannot be compared.
        interval: interval of the difference; None if unknown.
        reason: reason why either is missing.
    """

    difference: MeanSD | None = None
    interval: Interval | None = None
    reason: str | None = None


def compare(column: TableColumn, row: Row, base: Row, notes: Notes) -> Comparison:
    """Compare a row with the baseline, if both were tested on the same images."""
    if reason := why_not_comparable(column, row, base):
        return Comparison(reason=reason)
    values, of_base = ({s: column.value(r) for s, r in one.results.items()} for one in (row, base))
    difference = paired_difference(values, of_base)
    if not isinstance(column, EvaluationColumn) or column.metric != "miou" or not row.results or not base.results:
        return Comparison(difference)
    seeds = sorted(row.results.keys() & base.results.keys())
    if not seeds:
        return Comparison(difference, reason=f"it has no seed in common with {base.label}")
    runs = [one.results[seed] for one in (row, base) for seed in seeds]
    tests = {run.name: notes.readable(partial(read_counts, run, column.key(run)), None) for run in runs}
    known: dict[str, SavedCounts] = {run: test for run, test in tests.items() if test is not None}
    if missing := [run for run in tests if run not in known]:
        return Comparison(difference, reason=f"the per-image counts of {', '.join(missing)} are missing")
    first = next(iter(known.values()))
    if others := [run for run, test in known.items() if not test.is_of_the_same_images(first)]:
        return Comparison(reason=f"{', '.join(others)}: tested on other images than {_first(known)}")
    if len({test.counts.shape for test in known.values()}) > 1:
        return Comparison(reason="its runs and those of the baseline were tested with different numbers of classes")
    if len(first.images) == 1:
        return Comparison(difference, reason="the test has a single image")
    counts = np.stack([test.counts for test in known.values()])
    evaluation = column.evaluation_of(runs[0])
    absent = evaluation.absent_classes if evaluation else "skip"
    return Comparison(difference, paired_bootstrap(counts[: len(seeds)], counts[len(seeds) :], absent=absent))


def _first(runs: Mapping[str, object]) -> str:
    return next(iter(runs))


def _others(values: Mapping[str, str | None]) -> str:
    """Runs whose value is known and differs from that of the first run that has one."""
    known = {run: value for run, value in values.items() if value is not None}
    first = next(iter(known.values()), None)
    return ", ".join(run for run, value in known.items() if value != first)
