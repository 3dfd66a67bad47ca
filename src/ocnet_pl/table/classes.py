"""IoU of every class by row, over seeds."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from ocnet_pl.statistics import MeanSD, mean_sd
from ocnet_pl.table.columns import EvaluationColumn, TableColumn
from ocnet_pl.table.structure import Row, Table


@dataclass(frozen=True)
class ClassIoU:
    """IoU of one class in one row, in per cent.

    Attributes:
        values: IoU by seed; NaN if the class neither occurs nor is predicted.
        over_seeds: mean and standard deviation over seeds.
    """

    values: dict[int, float]
    over_seeds: MeanSD


def class_ious(column: TableColumn, row: Row) -> dict[str, ClassIoU]:
    """IoU by class; empty for a column without classes."""
    if not isinstance(column, EvaluationColumn):
        return {}
    by_seed = {seed: column.class_ious(result) for seed, result in row.results.items()}
    found = {}
    for name in dict.fromkeys(name for ious in by_seed.values() for name in ious):
        values = {seed: ious.get(name, math.nan) for seed, ious in by_seed.items()}
        found[name] = ClassIoU(values, mean_sd([values[result.seed] for result in row.counted]))
    return found


def by_class(table: Table) -> Iterator[tuple[str, dict[str, ClassIoU]]]:
    """(class, IoU by row label) of the main column, for every class that occurs in any run."""
    rows = {row.label: class_ious(table.columns[table.main_column], row) for row in table.rows if row.results}
    for name in dict.fromkeys(name for ious in rows.values() for name in ious):
        of_class = {label: ious[name] for label, ious in rows.items() if name in ious}
        if any(iou.over_seeds.n for iou in of_class.values()):
            yield name, of_class
