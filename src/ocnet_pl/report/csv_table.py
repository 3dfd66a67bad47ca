"""A table as CSV, one number a line."""

import csv
import io
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict

from ocnet_pl.escaping import spreadsheet
from ocnet_pl.statistics import Spread, holm, spread
from ocnet_pl.table import Cell, Row, Table
from ocnet_pl.table.classes import class_ious
from ocnet_pl.table.columns import BestInTraining, best_validation

HEADER = (
    "table", "row", "evaluation", "metric", "seeds", "mean", "sd", "difference", "difference_sd", "difference_low",
    "difference_high", "difference_seeds", "p_value", "significant", "paper", "paper_sd",
)  # fmt: skip
Values = dict[str, float | str | None]


def comma_separated(table: Table) -> str:
    """Numbers at full precision: every row and column, IoU by class, and what the row's head costs."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, HEADER, lineterminator="\n")
    writer.writeheader()
    significant = [_significant(table, place) for place in range(len(table.columns))]
    for row in table.rows:
        for values in _lines(table, row, significant):
            line = {"table": table.name, "row": row.name, **values}
            writer.writerow({name: _cell(value) for name, value in line.items()})
    return buffer.getvalue()


def _lines(table: Table, row: Row, significant: Sequence[dict[str, bool]]) -> Iterator[Values]:
    for column, cell, holds in zip(table.columns, row.cells, significant, strict=True):
        where: Values = {"evaluation": column.evaluation}
        paper = dict(zip(("paper", "paper_sd"), cell.paper or (), strict=False))
        yield {
            **where,
            "metric": column.metric,
            **_spread(cell.ours),
            **_difference(cell, holds.get(row.name)),
            **paper,
        }
        for name, iou in class_ious(column, row).items():
            if iou.spread.n:
                yield {**where, "metric": f"iou/{name}", **_spread(iou.spread)}
        if isinstance(column, BestInTraining):
            steps = spread([best[0] for result in row.results.values() if (best := best_validation(result))])
            yield {**where, "metric": "best_step", **_spread(steps)}
    for metric, share in (("own", row.context.share), ("uniform", row.context.uniform)) if row.context else ():
        percent = Spread(100 * share.mean, 100 * share.sd, share.n)
        yield {"evaluation": "context", "metric": metric, **_spread(percent)}
    for metric, value in asdict(row.cost).items() if row.cost and table.profiled else ():
        if not isinstance(value, str):
            yield {"evaluation": "profile", "metric": metric, "mean": value}


def _spread(of: Spread) -> Values:
    return {"seeds": of.n, "mean": of.mean, "sd": of.sd}


def _difference(cell: Cell, significant: bool | None) -> Values:
    """The difference to the baseline, in per cent as the rest; the interval needs the counts of every image."""
    if cell.difference is None:
        return {}
    values: Values = {"difference": cell.difference.mean, "difference_sd": cell.difference.sd}
    if cell.interval is None:
        return values
    return {
        **values,
        "difference_low": 100 * cell.interval.low,
        "difference_high": 100 * cell.interval.high,
        "difference_seeds": cell.interval.seeds,
        "p_value": cell.interval.p_value,
        "significant": "yes" if significant else "no",
    }


def _significant(table: Table, place: int) -> dict[str, bool]:
    """By row: whether its difference in a column is significant among all differences of the column."""
    intervals = {row.name: row.cells[place].interval for row in table.rows}
    known = {name: interval.p_value for name, interval in intervals.items() if interval}
    return dict(zip(known, holm(list(known.values())), strict=True))


def _cell(value: float | str | None) -> str:
    if isinstance(value, str):
        return spreadsheet(value)
    return "" if value is None or math.isnan(value) else repr(value)
