"""IoU of every class by row, over seeds."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from ocnet_pl.statistics import Spread, spread
from ocnet_pl.table.columns import Column, Tested
from ocnet_pl.table.structure import Row, Table


@dataclass(frozen=True)
class ClassIoU:
    """One class in one row, in per cent.

    Attributes:
        values: by seed; NaN where the class neither occurs nor is predicted.
        spread: mean and standard deviation over seeds.
    """

    values: dict[int, float]
    spread: Spread


def class_ious(column: Column, row: Row) -> dict[str, ClassIoU]:
    """By class; empty for a column that has no classes."""
    if not isinstance(column, Tested) or column.metric != "miou":
        return {}
    by_seed = {seed: column.by_class(result) for seed, result in row.results.items()}
    names = dict.fromkeys(name for ious in by_seed.values() for name in ious)
    found = {}
    for name in names:
        values = {seed: ious.get(name, math.nan) for seed, ious in by_seed.items()}
        found[name] = ClassIoU(values, spread(list(values.values())))
    return found


def by_class(table: Table) -> Iterator[tuple[str, dict[str, ClassIoU]]]:
    """(class, IoU by row label) of the main column, for every class that occurs in any run."""
    rows = {row.label: class_ious(table.columns[table.main_column], row) for row in table.rows if row.results}
    for name in dict.fromkeys(name for ious in rows.values() for name in ious):
        of_class = {label: ious[name] for label, ious in rows.items() if name in ious}
        if any(iou.spread.n for iou in of_class.values()):
            yield name, of_class
