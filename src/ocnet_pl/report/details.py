"""What lies behind the cells of a table: every run, and every class."""

import math

from ocnet_pl.record.result import Result
from ocnet_pl.report.text import mean_sd
from ocnet_pl.table import Row, Table
from ocnet_pl.table.classes import by_class
from ocnet_pl.table.columns import best_validation

Grid = tuple[list[str], list[list[str]]]
"""Headings and lines."""


def runs(table: Table) -> Grid:
    """One line a planned or finished run."""
    main = table.columns[table.main_column].label
    headings = ["Method", "Seed", main, "Best in training", "at step", "of steps", "Hours", "Config", "Weights"]
    lines = []
    for row in table.rows:
        finished = {seed: _run(table, row, result) for seed, result in row.results.items()}
        missing = {seed: [str(state), *["-"] * (len(headings) - 3)] for seed, state in row.unfinished.items()}
        by_seed = finished | missing
        lines += [[row.label, str(seed), *by_seed[seed]] for seed in sorted(by_seed)]
    return headings, lines


def classes(table: Table) -> Grid:
    """One line a class, a column for every row of the table: IoU over seeds."""
    rows = [row.label for row in table.rows if row.results]
    lines = [
        [name, *(mean_sd(ious[label].spread) if label in ious else "-" for label in rows)]
        for name, ious in by_class(table)
    ]
    return ["IoU (%)", *rows], lines


def _run(table: Table, row: Row, result: Result) -> list[str]:
    value = row.cells[table.main_column].values[result.seed]
    best = best_validation(result)
    return [
        "-" if math.isnan(value) else f"{value:.2f}",
        f"{100 * best[1]:.2f}" if best else "-",
        str(best[0]) if best else "-",
        str(result.steps),
        f"{result.seconds / 3600:.2f}",
        result.config_hash,
        result.weights_sha256[:8],
    ]
