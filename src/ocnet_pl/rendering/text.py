"""How a cell reads."""

import math
from collections.abc import Callable

from ocnet_pl.context import OnOwnClass
from ocnet_pl.cost import Cost
from ocnet_pl.statistics import Spread
from ocnet_pl.table import Cell, Row, Table

COSTS: dict[str, Callable[[Cost], float | None]] = {
    "Params (M)": lambda cost: cost.parameters / 1e6,
    "GMACs": lambda cost: cost.multiply_adds / 1e9,
    "Train step (ms)": lambda cost: cost.train_step_ms,
    "Memory (MB)": lambda cost: cost.train_step_mb,
}
"""Columns of a table whose heads were profiled: heading, and its number in a cost."""


CONTEXT = "Context on own class (%)"


def short(value: float | None) -> str:
    """Three digits or all before the point: `1234`, `43.8`, `0.0123`; a dash for nothing."""
    if value is None:
        return "-"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def percent(share: float | None) -> str:
    """`53.62`; a dash for what does not occur."""
    return "-" if share is None else f"{100 * share:.2f}"


def mean_sd(value: Spread, signed: bool = False) -> str:
    """`53.6 ± 0.4`; a dash for nothing."""
    if math.isnan(value.mean):
        return "-"
    mean = f"{value.mean:+.2f}" if signed else f"{value.mean:.2f}"
    return mean if math.isnan(value.sd) else f"{mean} ± {value.sd:.2f}"


def on_own_class(context: OnOwnClass | None) -> str:
    """`54.34 ± 1.20 (20.28)`; a dash where it was not measured."""
    if context is None:
        return "-"
    share, uniform = (Spread(100 * one.mean, 100 * one.sd, one.n) for one in (context.share, context.uniform))
    return f"{mean_sd(share)} ({uniform.mean:.2f})"


def published(cell: Cell) -> str:
    """The paper's number; a dash where it has none."""
    if cell.paper is None:
        return "-"
    mean, sd = cell.paper
    return f"{mean:.2f}" if sd is None else f"{mean:.2f} ± {sd:.2f}"


def difference(cell: Cell) -> str:
    """`+7.00 [5.10, 8.90]`, with "not significant" said in words; without counts, the spread over seeds."""
    if cell.difference is None:
        return ""
    if cell.interval is None:
        return mean_sd(cell.difference, signed=True)
    low, middle, high = (100 * value for value in (cell.interval.low, cell.interval.difference, cell.interval.high))
    said = "" if cell.interval.significant else ", not significant"
    return f"{middle:+.2f} [{low:+.2f}, {high:+.2f}]{said}"


def seeds(row: Row) -> str:
    """`3`, or `2 (seed 1 failed)`."""
    if not row.name:
        return ""
    missing = ", ".join(f"seed {seed} {state}" for seed, state in row.unfinished.items())
    return f"{len(row.results)} ({missing})" if missing else str(len(row.results))


def headings(table: Table) -> list[str]:
    """Of the columns that `line` fills."""
    names = ["Method"]
    for column, published_too in zip(table.columns, _published_columns(table), strict=True):
        names += [column.label, "paper"] if published_too else [column.label]
    if table.baseline:
        names.append("Difference")
    if any(row.context for row in table.rows):
        names.append(CONTEXT)
    if table.profiled:
        names += COSTS
    return [*names, "Seeds"]


def line(table: Table, row: Row) -> list[str]:
    """One row, cell by cell."""
    cells = [row.label]
    for cell, published_too in zip(row.cells, _published_columns(table), strict=True):
        cells += [mean_sd(cell.ours), published(cell)] if published_too else [mean_sd(cell.ours)]
    if table.baseline:
        cells.append(difference(row.cells[table.main_column]))
    if any(other.context for other in table.rows):
        cells.append(on_own_class(row.context))
    if table.profiled:
        cells += [short(value(row.cost) if row.cost else None) for value in COSTS.values()]
    return [*cells, seeds(row)]


def legend(table: Table) -> str:
    """What the numbers are."""
    text = "Mean ± sample standard deviation over seeds."
    if table.baseline:
        column = table.columns[table.main_column].label.removesuffix(" (%)")
        label = next(row.label for row in table.rows if row.name == table.baseline)
        text += f" Difference: {column} minus that of {label}, paired by seed"
        text += (
            ", with its 95 % interval over seeds and images."
            if any(row.cells[table.main_column].interval for row in table.rows)
            else "."
        )
    if any(row.context for row in table.rows):
        text += (
            " Context on own class: share of a pixel's attention that falls on its own class, mean over the classes"
            " (in brackets, what equal weights would give)."
        )
    if table.profiled:
        text += f" Cost of the heads: {table.profiled}."
        if not table.profiled_as_trained:
            text += " These are not the networks trained here: their number of weights differs."
    return text


def _published_columns(table: Table) -> list[bool]:
    return [any(row.cells[i].paper for row in table.rows) for i in range(len(table.columns))]
