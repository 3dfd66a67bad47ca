"""How a cell reads."""

import math

from ocnet_pl.statistics import Spread
from ocnet_pl.table import Cell, Row, Table


def percent(share: float | None) -> str:
    """`53.62`; a dash for what does not occur."""
    return "-" if share is None else f"{100 * share:.2f}"


def mean_sd(value: Spread, signed: bool = False) -> str:
    """`53.6 ± 0.4`; a dash for nothing."""
    if math.isnan(value.mean):
        return "-"
    mean = f"{value.mean:+.2f}" if signed else f"{value.mean:.2f}"
    return mean if math.isnan(value.sd) else f"{mean} ± {value.sd:.2f}"


def published(cell: Cell) -> str:
    """The paper's number; a dash where it has none."""
    if cell.paper is None:
        return "-"
    mean, sd = cell.paper
    return f"{mean:.2f}" if sd is None else f"{mean:.2f} ± {sd:.2f}"


def seeds(row: Row) -> str:
    """`3`, or `2 (seed 1 failed)`."""
    missing = ", ".join(f"seed {seed} {state}" for seed, state in row.unfinished.items())
    return f"{len(row.results)} ({missing})" if missing else str(len(row.results))


def headings(table: Table) -> list[str]:
    """Of the columns that `line` fills."""
    names = ["Method"]
    for column, published_too in zip(table.columns, _published_columns(table), strict=True):
        names += [column.label, "paper"] if published_too else [column.label]
    if table.baseline:
        names.append("Difference")
    return [*names, "Seeds"]


def line(table: Table, row: Row) -> list[str]:
    """One row, cell by cell."""
    cells = [row.label]
    for cell, published_too in zip(row.cells, _published_columns(table), strict=True):
        cells += [mean_sd(cell.ours), published(cell)] if published_too else [mean_sd(cell.ours)]
    if table.baseline:
        difference = row.cells[table.main_column].difference
        cells.append("" if difference is None else mean_sd(difference, signed=True))
    return [*cells, seeds(row)]


def legend(table: Table) -> str:
    """What the numbers are."""
    text = "Mean ± sample standard deviation over seeds."
    if table.baseline:
        column = table.columns[table.main_column].label.removesuffix(" (%)")
        label = next(row.label for row in table.rows if row.name == table.baseline)
        text += f" Difference: {column} minus that of {label}, paired by seed."
    return text


def _published_columns(table: Table) -> list[bool]:
    return [any(row.cells[i].paper for row in table.rows) for i in range(len(table.columns))]
