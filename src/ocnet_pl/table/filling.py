"""Fill the cells of a table: numbers, differences to the baseline, and the analysis of the main column."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ocnet_pl.statistics import mean_sd
from ocnet_pl.table.analysing import analyse
from ocnet_pl.table.columns import ServerColumn, TableColumn
from ocnet_pl.table.comparable import is_test, is_training_column, trained_on
from ocnet_pl.table.comparison import ColumnComparisons
from ocnet_pl.table.run_scores import read_row_scores
from ocnet_pl.table.structure import Cell, Row, Table


def fill_column(table: Table, place: int, base: Row | None, printed: Sequence[Mapping[str, Any]]) -> None:
    """Add the cells of a column to all rows, and the analysis of the main column."""
    column, main = table.columns[place], place == table.main_column
    declared = is_training_column(column, table.rows)
    for row, published_row in zip(table.rows, printed, strict=True):
        row.cells.append(_cell(column, row, published_row, declared=declared))
    compared = [
        row for row in table.rows if row.results and row.cells[place].ours.n and not row.cells[place].trained_on
    ]
    if len(compared) < 2:
        return
    tested = {row.name: read_row_scores(column, row, table.notes, block=table.block, by_class=main) for row in compared}
    comparisons = ColumnComparisons(column, compared, tested)
    base = base if base and base.name in tested else None
    if base:
        for row in (row for row in compared if row is not base):
            found = comparisons.compare(row, base)
            row.cells[place] = replace(
                row.cells[place], difference=found.difference, interval=found.interval, unknown=found.reason
            )
    if main and any(of.runs for of in tested.values()):
        table.analysis = analyse(compared, base, comparisons)


def _cell(column: TableColumn, row: Row, published_row: Mapping[str, Any], *, declared: bool) -> Cell:
    """Cell without comparisons; `declared` columns show training images."""
    values = {seed: column.value(result) for seed, result in row.results.items()}
    paper = published_row.get(column.paper_key) if column.paper_key else None
    ours = mean_sd([values[result.seed] for result in row.counted])
    cell = Cell(values, ours, paper=(paper[0], paper[1]) if paper else None)
    seen = trained_on(column, row)
    return replace(cell, seen=seen, trained_on=not is_test(seen)) if seen[0] and not declared else cell


def stand_in(table: Table) -> None:
    """Show validation scores in the cells of a test server that has not scored their rows."""
    for row in table.rows if isinstance(table.columns[-1], ServerColumn) else ():
        main, last = row.cells[table.main_column], row.cells[-1]
        if last.paper and main.ours.n and not last.ours.n and not main.trained_on:
            row.cells[-1] = replace(last, stand_in=main.ours)
