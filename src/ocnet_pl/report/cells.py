"""Columns of a report, and the text of their cells."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from ocnet_pl.drawing.numbers import NONE, plus_minus, short, signed, with_interval
from ocnet_pl.record.context import OnOwnClass
from ocnet_pl.record.costs import Cost
from ocnet_pl.report.verdicts import verdict_notes
from ocnet_pl.statistics import MeanSD
from ocnet_pl.table import Row, Table

PAPER = "paper"
"""Heading of the paper's numbers, which follow ours."""

OWN_RECIPE = "Published, own recipe"
"""Heading of numbers that authors published under recipes of their own."""

_COSTS: dict[str, Callable[[Cost], float | None]] = {
    "Params (M)": lambda cost: cost.parameters / 1e6,
    "GMACs": lambda cost: cost.multiply_adds / 1e9,
    "Train step (ms)": lambda cost: cost.train_step_ms,
    "Memory (MB)": lambda cost: cost.train_step_mb,
}


@dataclass(frozen=True)
class Entry:
    """Text of a cell.

    Attributes:
        value: a number or a name.
        note: remark on the number, shown in brackets or below it.
    """

    value: str
    note: str = ""

    def __str__(self) -> str:
        return f"{self.value} ({self.note})" if self.note else self.value


@dataclass(frozen=True)
class ReportColumn:
    """Column of a report.

    Attributes:
        heading: heading of the column.
        entry: text of its cell in a row.
        essential: True for a column that is shown on terminals of any width.
    """

    heading: str
    entry: Callable[[Row], Entry]
    essential: bool = False


def report_columns(table: Table) -> list[ReportColumn]:
    """Columns of a table in all formats; those without any number are left out."""
    columns = [ReportColumn("Method", lambda row: Entry(row.label), essential=True)]
    for place, column in enumerate(table.columns):
        main = place == table.main_column
        columns.append(ReportColumn(column.label, partial(_ours, place), main))
        if any(row.cells[place].paper for row in table.rows):
            columns.append(ReportColumn(PAPER, partial(_paper, place), main))
    if table.baseline:
        columns.append(ReportColumn("Difference", partial(_difference, table), essential=True))
    if any(row.own_recipe for row in table.rows):
        columns.append(ReportColumn(OWN_RECIPE, _own_recipe))
    if any(row.context for row in table.rows):
        columns.append(ReportColumn("Attention on own class (%)", lambda row: _on_own_class(row.context)))
    if table.profiled:
        columns += [ReportColumn(heading, partial(_cost, value)) for heading, value in _COSTS.items()]
    return [*columns, ReportColumn("Seeds", _seeds, essential=True)]


def lines(table: Table) -> list[list[str]]:
    """Headings of all columns, then the cells of every row."""
    columns = report_columns(table)
    return [[column.heading for column in columns]] + [
        [str(column.entry(row)) for column in columns] for row in table.rows
    ]


def _ours(place: int, row: Row) -> Entry:
    """`83.00 ± 1.00`; the note says if the images were trained on."""
    cell = row.cells[place]
    if not cell.ours.n and cell.stand_in:
        return Entry(f"val {plus_minus(cell.stand_in)}")
    if not cell.trained_on or not cell.ours.n:
        return Entry(plus_minus(cell.ours))
    seen, of = cell.seen
    return Entry(plus_minus(cell.ours), "trained on it" if seen == of else f"trained on {seen} of {of}")


def _paper(place: int, row: Row) -> Entry:
    paper = row.cells[place].paper
    if paper is None:
        return Entry(NONE)
    mean, sd = paper
    return Entry(plus_minus(MeanSD(mean, float("nan") if sd is None else sd, 0)))


def _difference(table: Table, row: Row) -> Entry:
    """`+7.00 [+5.10, +8.90]` with notes; without per-image counts, the difference alone."""
    cell = row.cells[table.main_column]
    if cell.difference is None:
        return Entry("")
    if cell.interval is None:
        return Entry(signed(cell.difference))
    text = with_interval(cell.interval.difference, cell.interval.low, cell.interval.high)
    return Entry(text, ", ".join(verdict_notes(table, row, cell.interval)))


def _own_recipe(row: Row) -> Entry:
    """`78.60 (test, train-fine)`."""
    return Entry(NONE) if row.own_recipe is None else Entry(f"{row.own_recipe[0]:.2f}", row.own_recipe[1])


def _on_own_class(context: OnOwnClass | None) -> Entry:
    """`54.34 ± 1.20 (uniform 20.28)`."""
    if context is None:
        return Entry(NONE)
    share = context.share
    return Entry(
        plus_minus(MeanSD(100 * share.mean, 100 * share.sd, share.n)), f"uniform {100 * context.uniform.mean:.2f}"
    )


def _cost(value: Callable[[Cost], float | None], row: Row) -> Entry:
    return Entry(short(value(row.cost) if row.cost else None))


def _seeds(row: Row) -> Entry:
    """`3`, or `2 of 3 (seed 1 failed)`."""
    if not row.name:
        return Entry("")
    missing = ", ".join(f"seed {seed} {state}" for seed, state in row.unfinished.items())
    done = len(row.counted)
    return Entry(f"{done} of {done + len(row.unfinished)}", missing) if missing else Entry(str(done))
