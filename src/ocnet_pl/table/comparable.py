"""Tests of two rows for scores that can be compared."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from ocnet_pl.record.directory import RunDirectory
from ocnet_pl.record.result import Result
from ocnet_pl.table.columns import TableColumn
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
        return f"{others}: tested on other images than {next(iter(tested))}"
    if others := _others({run: evaluation.absent_classes for run, evaluation in tested.items()}):
        return f"{others}: another rule for absent classes than {next(iter(tested))}"
    by_split: dict[str, dict[str, str | None]] = {}
    for run in runs:
        images = run.data.get(run.train_split)
        by_split.setdefault(run.train_split, {})[run.name] = images.sha256 if images else None
    for split, hashes in by_split.items():
        if others := _others(hashes):
            return f"{others}: trained on other images of the same name ({split!r}) than {next(iter(hashes))}"
    return None


def _others(values: Mapping[str, str | None]) -> str:
    """Runs whose value is known and differs from that of the first run that has one."""
    known = {run: value for run, value in values.items() if value is not None}
    first = next(iter(known.values()), None)
    return ", ".join(run for run, value in known.items() if value != first)
