"""Tables behind a table: every run, and every class."""

import math
from dataclasses import dataclass

from ocnet_pl.drawing.numbers import NONE, plus_minus, signed, with_interval
from ocnet_pl.record.result import Result
from ocnet_pl.statistics import CHANCE
from ocnet_pl.table import Row, Table
from ocnet_pl.table.analysis import FEWEST_IMAGES, FEWEST_SEEDS, ClassDifference
from ocnet_pl.table.classes import by_class
from ocnet_pl.table.columns import best_validation

Grid = tuple[list[str], list[list[str]]]
"""Headings and lines."""


@dataclass(frozen=True)
class ClassCell:
    """Difference of a row to the baseline in one class.

    Attributes:
        value: the difference; a dash if unknown.
        interval: its bounds; empty if unknown.
        decided: True if it is significant.
        share: the difference as a share of the largest of the table, -1 to 1.
    """

    value: str = NONE
    interval: str = ""
    decided: bool = False
    share: float = 0.0


@dataclass(frozen=True)
class ClassTable:
    """Differences to the baseline by class.

    Attributes:
        headings: class, then the rows.
        lines: name of a class, then a cell for every row.
        legend: what the numbers and bold ones mean.
    """

    headings: list[str]
    lines: list[tuple[str, list[ClassCell]]]
    legend: str


def runs(table: Table) -> Grid:
    """One line per planned or finished run."""
    main = table.columns[table.main_column].label
    headings = ["Method", "Seed", main, "Best validation", "at step", "of steps", "Hours", "Config", "Weights"]
    lines = []
    for row in table.rows:
        cells = {seed: _run(table, row, result) for seed, result in row.results.items()}
        cells |= {seed: [str(state), *[NONE] * (len(headings) - 3)] for seed, state in row.unfinished.items()}
        lines += [[row.label, str(seed), *cells[seed]] for seed in sorted(cells)]
    return headings, lines


def classes(table: Table) -> Grid:
    """One line per class with its IoU over seeds, one column per row of the table."""
    rows = [row.label for row in table.rows if row.results]
    lines = [
        [class_label(table, name), *(plus_minus(ious[label].over_seeds) if label in ious else NONE for label in rows)]
        for name, ious in by_class(table)
    ]
    return ["IoU (%)", *rows], lines


def class_label(table: Table, name: str) -> str:
    """Name of a class with the number of images that have it, if known: `car (14 images)`."""
    images = table.analysis.class_images.get(name) if table.analysis else None
    return name if images is None else f"{name} ({images} image{'s' * (images != 1)})"


def class_differences(table: Table) -> ClassTable | None:
    """Differences to the baseline by class, the largest first; None without any."""
    found = table.analysis.class_differences if table.analysis else {}
    if not found:
        return None
    rows = [row for row in table.rows if any(row.name in of_class for of_class in found.values())]
    ordered = sorted(found, key=lambda name: -max(abs(of.difference) for of in found[name].values()))
    largest = max(abs(of.difference) for of_class in found.values() for of in of_class.values())
    lines = [
        (class_label(table, name), [_difference(found[name].get(row.name), largest) for row in rows])
        for name in ordered
    ]
    return ClassTable(["Class", *(row.label for row in rows)], lines, _class_legend(table))


def _difference(of_class: ClassDifference | None, largest: float) -> ClassCell:
    if of_class is None:
        return ClassCell()
    share = of_class.difference / largest if largest else 0.0
    if of_class.interval is None:
        return ClassCell(signed(of_class.difference), share=share)
    interval = of_class.interval
    value, bounds = with_interval(interval.difference, interval.low, interval.high).split(" ", 1)
    return ClassCell(value, bounds, of_class.decided, share)


def _class_legend(table: Table) -> str:
    baseline = next(row.label for row in table.rows if row.name == table.baseline)
    found = (
        [of for of_class in table.analysis.class_differences.values() for of in of_class.values()]
        if (table.analysis)
        else []
    )
    intervals = sum(of.interval is not None for of in found)
    corrected = sum(of.p_corrected is not None for of in found)
    text = f"IoU minus that of {baseline}, the classes that differ most first."
    if intervals:
        text += (
            f" Each interval has 95 % confidence alone: of the {intervals} here, about "
            f"{max(round(CHANCE * intervals), 1)} would exclude zero by chance without any true difference."
        )
    text += f" Classes in fewer than {FEWEST_IMAGES} images have no interval."
    if corrected:
        return (
            f"{text} Bold: significant among all {corrected} differences together (Benjamini-Hochberg: 5 % of the bold "
            f"ones are false on average), for rows with at least {FEWEST_SEEDS} seeds."
        )
    return f"{text} There are no verdicts by class: they require {FEWEST_SEEDS} seeds of both rows."


def _run(table: Table, row: Row, result: Result) -> list[str]:
    value = row.cells[table.main_column].values[result.seed]
    step, best = best_validation(result) or (None, math.nan)
    return [
        *(NONE if math.isnan(number) else f"{number:.2f}" for number in (value, 100 * best)),
        NONE if step is None else str(step),
        str(result.steps),
        f"{result.seconds / 3600:.2f}",
        result.config_hash,
        result.weights_sha256[:8],
    ]
