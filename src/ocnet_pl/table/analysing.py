"""Analysis of a column: all pairs of its rows tested together, its classes."""

from collections.abc import Sequence

import numpy as np

from ocnet_pl.statistics import holm, rank_ranges
from ocnet_pl.table.analysis import Analysis, Pair, Pairs
from ocnet_pl.table.class_differences import class_differences, images_by_class
from ocnet_pl.table.comparison import ColumnComparisons
from ocnet_pl.table.run_scores import invented_classes
from ocnet_pl.table.structure import Row


def analyse(rows: Sequence[Row], base: Row | None, comparisons: ColumnComparisons) -> Analysis:
    """Analyse a column from the per-image counts of its rows.

    Args:
        rows: rows whose numbers are tests.
        base: row that the others are compared with; None without one.
        comparisons: their comparisons, with the numbers of single classes.
    """
    runs = [run for row in rows for run in comparisons.tested[row.name].runs]
    of_base = comparisons.tested[base.name].runs if base else []
    return Analysis(
        pairs=all_pairs(rows, comparisons),
        class_images=images_by_class(of_base or runs),
        class_differences=class_differences(rows, base, comparisons) if base else {},
        invented=invented_classes(runs),
    )


def all_pairs(rows: Sequence[Row], comparisons: ColumnComparisons) -> Pairs:
    """Compare every row with every row below it."""
    means = {row.name: comparisons.mean(row) for row in rows}
    ordered = sorted(rows, key=lambda row: -means[row.name])
    found = [
        (row.name, other.name, interval)
        for place, row in enumerate(ordered)
        for other in ordered[place + 1 :]
        if (interval := comparisons.compare(row, other).interval)
    ]
    tested = [interval.p_value for _, _, interval in found if interval.decides]
    together = iter(holm(tested))
    pairs = [Pair(row, other, interval, next(together) if interval.decides else None) for row, other, interval in found]
    order = [row.name for row in ordered]
    return Pairs(order, pairs, _ranks(order, [means[name] for name in order], pairs))


def _ranks(order: Sequence[str], means: Sequence[float], pairs: Sequence[Pair]) -> dict[str, tuple[int, int]]:
    if len(order) < 2 or len(pairs) < len(order) * (len(order) - 1) / 2 or any(p.p_holm is None for p in pairs):
        return {}
    errors = np.zeros((len(order), len(order)))
    for pair in pairs:
        one, two = order.index(pair.row), order.index(pair.other)
        errors[one, two] = errors[two, one] = pair.interval.error
    return dict(zip(order, rank_ranges(means, errors), strict=True))
