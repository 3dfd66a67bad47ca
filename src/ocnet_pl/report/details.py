"""Tables behind a table: every run, and every class."""

import math

from ocnet_pl.drawing.numbers import NONE, plus_minus
from ocnet_pl.record.result import Result
from ocnet_pl.table import Row, Table
from ocnet_pl.table.classes import by_class
from ocnet_pl.table.columns import best_validation

Grid = tuple[list[str], list[list[str]]]
"""Headings and lines."""


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
        [name, *(plus_minus(ious[label].over_seeds) if label in ious else NONE for label in rows)]
        for name, ious in by_class(table)
    ]
    return ["IoU (%)", *rows], lines


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
