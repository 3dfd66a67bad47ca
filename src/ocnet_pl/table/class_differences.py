"""Differences to the baseline in the IoU of every class."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from ocnet_pl.statistics import benjamini_hochberg
from ocnet_pl.table.analysis import FEWEST_IMAGES, FEWEST_SEEDS, ClassDifference
from ocnet_pl.table.comparison import ColumnComparisons
from ocnet_pl.table.run_scores import RunScores
from ocnet_pl.table.structure import Row

ByClass = Mapping[str, Mapping[str, ClassDifference]]


def images_by_class(runs: Sequence[RunScores]) -> dict[str, int]:
    """Number of images that have a class in their labels; all runs were tested on the same images."""
    if not runs:
        return {}
    return dict(zip(runs[0].classes, map(int, runs[0].labelled.sum(0)), strict=True))


def class_differences(rows: Sequence[Row], base: Row, comparisons: ColumnComparisons) -> ByClass:
    """Differences to the baseline by class, then by row name; of the classes in the labels of any image.

    Verdicts require five seeds of both rows; they are corrected over all classes and rows together.
    """
    compared = [row for row in rows if row.name != base.name and comparisons.obstacle(row, base) is None]
    base_runs = comparisons.tested[base.name].runs
    if not compared:
        return {}
    names, blocks = base_runs[0].classes, (base_runs[0].labels > 0).sum(0)
    found: dict[tuple[str, str], ClassDifference] = {}
    for place in map(int, np.flatnonzero(blocks)):
        for row in compared:
            ious = [np.mean([run.ious[place] for run in comparisons.tested[of.name].runs]) for of in (row, base)]
            of_class = ClassDifference(float(ious[0] - ious[1]))
            if blocks[place] >= FEWEST_IMAGES:
                interval = comparisons.interval(row, base, partial(RunScores.of_class, place=place))
                of_class = replace(of_class, interval=interval)
            found[names[place], row.name] = of_class
    found |= _corrected(found)
    return {name: {of: found[name, of] for one, of in found if one == name} for name, _ in found}


def _corrected(found: Mapping[tuple[str, str], ClassDifference]) -> dict[tuple[str, str], ClassDifference]:
    tested = {
        key: of_class.interval.p_value
        for key, of_class in found.items()
        if of_class.interval and of_class.interval.decides and min(of_class.interval.seeds) >= FEWEST_SEEDS
    }
    together = zip(tested, benjamini_hochberg(list(tested.values())), strict=True)
    return {key: replace(found[key], p_corrected=p_value) for key, p_value in together}
