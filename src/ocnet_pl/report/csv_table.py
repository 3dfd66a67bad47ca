"""A table as CSV, one number per line."""

import csv
import io
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict

from ocnet_pl.escaping import spreadsheet
from ocnet_pl.report.verdicts import METHODS
from ocnet_pl.statistics import CHANCE, VERSION, Interval, MeanSD, mean_sd
from ocnet_pl.table import Cell, Row, Table
from ocnet_pl.table.analysis import Analysis
from ocnet_pl.table.classes import class_ious
from ocnet_pl.table.columns import BestValidationColumn, best_validation

HEADER = (
    "table", "row", "evaluation", "metric", "seeds", "mean", "sd", "other", "difference", "low", "high", "p", "p_holm",
    "p_bh", "significant", "method", "version", "images", "paper", "paper_sd",
)  # fmt: skip
Values = dict[str, float | str | None]


def comma_separated(table: Table) -> str:
    """All numbers of a table at full precision: rows and columns, IoU by class, attention, costs, pairs of rows."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, HEADER, lineterminator="\n")
    writer.writeheader()
    together = [table.p_holm(column) for column in range(len(table.columns))]
    of_rows = [{"row": row.name, **values} for row in table.rows for values in _lines(table, row, together)]
    for values in (*of_rows, *_pairs(table)):
        line = {"table": table.name, **values}
        writer.writerow({name: _text(value) for name, value in line.items()})
    return buffer.getvalue()


def _lines(table: Table, row: Row, together: Sequence[Mapping[str, float]]) -> Iterator[Values]:
    for column, cell, p_holm in zip(table.columns, row.cells, together, strict=True):
        source: Values = {"evaluation": column.evaluation}
        paper: Values = dict(zip(("paper", "paper_sd"), cell.paper or (), strict=False))
        yield (
            source
            | {"metric": column.metric}
            | _over_seeds(cell.ours)
            | _difference(table, cell, p_holm.get(row.name))
            | paper
        )
        of_main = table.analysis if column is table.columns[table.main_column] else None
        for name, iou in class_ious(column, row).items():
            if iou.over_seeds.n:
                yield (
                    source
                    | {"metric": f"iou/{name}"}
                    | _over_seeds(iou.over_seeds)
                    | (_of_class(table, of_main, row, name) if of_main else {})
                )
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


def _difference(table: Table, cell: Cell, p_holm: float | None) -> Values:
    """Difference to the baseline in points; its interval requires per-image counts."""
    if cell.difference is None:
        return {}
    values: Values = {"other": table.baseline, "difference": cell.difference}
    if cell.interval is None:
        return values
    return values | _interval(table, cell.interval) | _verdict(p_holm)


def _of_class(table: Table, analysis: Analysis, row: Row, name: str) -> Values:
    """Number of images with a class, and its difference to the baseline, without correction but for `p_bh`."""
    values: Values = {"images": analysis.class_images.get(name)}
    difference = analysis.class_differences.get(name, {}).get(row.name)
    if difference is None:
        return values
    values |= {"other": table.baseline, "difference": difference.difference}
    if difference.interval:
        values |= _interval(table, difference.interval)
    if difference.p_corrected is None:
        return values | {"p": None}
    return values | {"p_bh": difference.p_corrected, "significant": "yes" if difference.decided else "no"}


def _pairs(table: Table) -> Iterator[Values]:
    for pair in table.analysis.pairs.pairs if table.analysis else ():
        source: Values = {"row": pair.row, "other": pair.other, "metric": "pair"}
        source["evaluation"] = table.columns[table.main_column].evaluation
        difference: Values = {"difference": pair.interval.difference}
        yield source | difference | _interval(table, pair.interval) | _verdict(pair.p_holm)


def _interval(table: Table, interval: Interval) -> Values:
    blocks = f", blocks of {table.block}" if table.block > 1 else ""
    return {
        "low": interval.low,
        "high": interval.high,
        "p": interval.p_value if interval.decides else None,
        "method": METHODS[interval.method] + blocks,
        "version": VERSION,
    }


def _verdict(p_holm: float | None) -> Values:
    """Verdict of a comparison among all of its family; empty if it decides nothing."""
    return {} if p_holm is None else {"p_holm": p_holm, "significant": "yes" if p_holm <= CHANCE else "no"}


def _text(value: float | str | None) -> str:
    if isinstance(value, str):
        return spreadsheet(value)
    return "" if value is None or math.isnan(value) else repr(value)
