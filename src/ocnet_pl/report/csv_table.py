"""A table as CSV, one number per line."""

import csv
import io
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict

from ocnet_pl.escaping import spreadsheet
from ocnet_pl.statistics import MeanSD, mean_sd
from ocnet_pl.table import Cell, Row, Table
from ocnet_pl.table.classes import class_ious
from ocnet_pl.table.columns import BestValidationColumn, best_validation

HEADER = (
    "table", "row", "evaluation", "metric", "seeds", "mean", "sd", "difference", "difference_sd", "difference_low",
    "difference_high", "difference_seeds", "p_value", "significant", "paper", "paper_sd",
)  # fmt: skip
Values = dict[str, float | str | None]


def comma_separated(table: Table) -> str:
    """All numbers of a table at full precision: rows and columns, IoU by class, attention, and costs of the heads."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, HEADER, lineterminator="\n")
    writer.writeheader()
    significant = [table.significant(column) for column in range(len(table.columns))]
    for row in table.rows:
        for values in _lines(table, row, significant):
            line = {"table": table.name, "row": row.name, **values}
            writer.writerow({name: _text(value) for name, value in line.items()})
    return buffer.getvalue()


def _lines(table: Table, row: Row, significant: Sequence[Mapping[str, bool]]) -> Iterator[Values]:
    for column, cell, by_row in zip(table.columns, row.cells, significant, strict=True):
        source: Values = {"evaluation": column.evaluation}
        paper: Values = dict(zip(("paper", "paper_sd"), cell.paper or (), strict=False))
        yield (
            source
            | {"metric": column.metric}
            | _over_seeds(cell.ours)
            | _difference(cell, by_row.get(row.name))
            | paper
        )
        for name, iou in class_ious(column, row).items():
            if iou.over_seeds.n:
                yield source | {"metric": f"iou/{name}"} | _over_seeds(iou.over_seeds)
        if isinstance(column, BestValidationColumn):
            steps = mean_sd([best[0] for result in row.results.values() if (best := best_validation(result))])
            yield source | {"metric": "best_step"} | _over_seeds(steps)
    if row.own_recipe:
        yield {"evaluation": "published", "metric": "own_recipe", "mean": row.own_recipe[0]}
    for metric, share in (("own", row.context.share), ("uniform", row.context.uniform)) if row.context else ():
        yield {"evaluation": "context", "metric": metric, **_over_seeds(share.in_percent())}
    for metric, value in asdict(row.cost).items() if row.cost and table.profiled else ():
        if not isinstance(value, str):
            yield {"evaluation": "profile", "metric": metric, "mean": value}


def _over_seeds(value: MeanSD) -> Values:
    return {"seeds": value.n, "mean": value.mean, "sd": value.sd}


def _difference(cell: Cell, significant: bool | None) -> Values:
    """Difference to the baseline in per cent; its interval requires per-image counts."""
    if cell.difference is None:
        return {}
    values: Values = {"difference": cell.difference.mean, "difference_sd": cell.difference.sd}
    if cell.interval is None:
        return values
    return values | {
        "difference_low": 100 * cell.interval.low,
        "difference_high": 100 * cell.interval.high,
        "difference_seeds": cell.interval.seeds,
        "p_value": cell.interval.p_value,
        "significant": "yes" if significant else "no",
    }


def _text(value: float | str | None) -> str:
    if isinstance(value, str):
        return spreadsheet(value)
    return "" if value is None or math.isnan(value) else repr(value)
