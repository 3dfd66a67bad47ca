"""A table as CSV, one number a line."""

import csv
import io
import math
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from ocnet_pl.statistics import spread
from ocnet_pl.table import Row, Table
from ocnet_pl.table.classes import class_ious
from ocnet_pl.table.columns import BestInTraining, best_validation

HEADER = (
    "table", "row", "evaluation", "metric", "seeds", "mean", "sd", "difference", "difference_sd", "paper", "paper_sd",
)  # fmt: skip


def comma_separated(table: Table) -> str:
    """Numbers at full precision: every row and column, IoU by class, and what the row's head costs."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(HEADER)
    for row in table.rows:
        for evaluation, metric, seeds, *numbers in _lines(table, row):
            texts = ["" if number is None or math.isnan(number) else repr(number) for number in numbers]
            texts += [""] * (len(HEADER) - 5 - len(texts))
            writer.writerow([table.name, row.name, evaluation, metric, seeds, *texts])
    return buffer.getvalue()


def _lines(table: Table, row: Row) -> Iterator[list[Any]]:
    for column, cell in zip(table.columns, row.cells, strict=True):
        difference = (cell.difference.mean, cell.difference.sd) if cell.difference else (None, None)
        paper = cell.paper or (None, None)
        yield [column.evaluation, column.metric, cell.ours.n, cell.ours.mean, cell.ours.sd, *difference, *paper]
        for name, iou in class_ious(column, row).items():
            if iou.spread.n:
                yield [column.evaluation, f"iou/{name}", iou.spread.n, iou.spread.mean, iou.spread.sd]
        if isinstance(column, BestInTraining):
            steps = spread([best[0] for result in row.results.values() if (best := best_validation(result))])
            yield [column.evaluation, "best_step", steps.n, steps.mean, steps.sd]
    for metric, share in (("own", row.context.share), ("uniform", row.context.uniform)) if row.context else ():
        yield ["context", metric, share.n, 100 * share.mean, 100 * share.sd]
    for metric, value in asdict(row.cost).items() if row.cost and table.profiled else ():
        if not isinstance(value, str):
            yield ["profile", metric, "", value]
