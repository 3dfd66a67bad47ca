"""Knowledge for planning more seeds: from a table's runs, or from the paper's numbers before any run exists."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import sqrt
from pathlib import Path
from statistics import median

import numpy as np

from ocnet_pl.errors import UserError
from ocnet_pl.record.finding import find_results
from ocnet_pl.record.plan import planned_runs
from ocnet_pl.statistics import Design, Interval
from ocnet_pl.table.finding import find_tables
from ocnet_pl.table.paper import published
from ocnet_pl.table.structure import Table

PUBLISHED_IMAGE_ERRORS = (0.0, 0.5)
"""Range of the images' standard error of a difference on a validation set of 500 images, in points. The paper does not
give it; it is an assumption, which the first runs replace."""

_PUBLISHED_FREEDOM = 100.0


@dataclass(frozen=True)
class Plan:
    """Designs for one table.

    Attributes:
        name: name of the table.
        source: where the numbers come from, in words.
        designs: one design, or two for both ends of an unknown error of the images.
        unreadable: damaged files, whose runs are left out.
    """

    name: str
    source: str
    designs: tuple[Design, ...]
    unreadable: tuple[str, ...] = ()


def plans(place: Path, *, baseline: str | None = None, block: int = 1) -> list[Plan]:
    """Plans for the sweeps in a directory, or for a published table.

    Sweeps without finished runs, and names of tables, are planned from the paper's numbers.

    Args:
        place: directory of sweeps, or the name of a table in experiments/paper.yaml.
        baseline: name of the row that the others are compared with.
        block: number of neighbouring images that are left out together.

    Raises:
        UserError: no such directory or table, or too little is known of it.
    """
    if not place.exists() and str(place) in published():
        return [_from_paper(str(place), str(place), None)]
    if not place.is_dir():
        tables = ", ".join(name for name in published() if _spreads(name))
        raise UserError(f"{place}: no such directory and no such table; give a sweep's directory, or one of {tables}")
    found = find_results(place)
    if found.results or found.unreadable:
        return [_of_table(table) for table in find_tables(place, baseline=baseline, block=block)[0]]
    if place.name not in published():
        raise UserError(
            f"{place}: no finished run, and no published table of this name; finish two seeds of a row first"
        )
    return [_from_paper(place.name, str(place), len({run.row for run in planned_runs(place)}) or None)]


def _of_table(table: Table) -> Plan:
    """Plan from the runs of a table."""
    pairs = table.analysis.pairs.pairs if table.analysis else []
    with_base = [pair for pair in pairs if table.baseline in (pair.row, pair.other)] or pairs
    intervals = [pair.interval for pair in with_base if pair.interval.method == "borrowed"]
    if not intervals:
        raise UserError(
            f"{table.folder}: no two rows with a verdict; finish two seeds of a row, and keep the per-image counts"
        )
    column = table.main_column
    compared = {name for pair in with_base for name in (pair.row, pair.other)}
    scores = [[row.cells[column].values[run.seed] for run in row.counted] for row in table.rows if row.name in compared]
    degrees = sum(len(of_row) - 1 for of_row in scores)
    squares = sum((len(of_row) - 1) * float(np.var(of_row, ddof=1)) for of_row in scores if len(of_row) > 1)
    errors, freedoms = zip(*_of_images(intervals), strict=True)
    design = Design(sqrt(squares / degrees), degrees, median(errors), median(freedoms), len(scores), len(intervals))
    runs = sum(map(len, scores))
    return Plan(table.name, f"{runs} runs of {table.folder}", (design,), tuple(table.notes.unreadable))


def _of_images(intervals: list[Interval]) -> Iterator[tuple[float, float]]:
    for interval in intervals:
        if interval.images:
            yield sqrt(interval.images.shared), interval.images.freedom


def _spreads(name: str) -> list[float]:
    """Published standard deviations of a table's rows on the validation images."""
    rows = published()[name].get("rows", {}).values()
    return [row["val/miou"][1] for row in rows if row.get("val/miou") and row["val/miou"][1] is not None]


def _from_paper(name: str, where: str, rows: int | None) -> Plan:
    """Plan from the paper's numbers."""
    paper, spreads = published()[name], _spreads(name)
    if not spreads:
        raise UserError(
            f"{where}: the paper gives no standard deviation for {name}; finish two seeds of a row, or plan for table1"
        )
    seeds = int(paper["protocol"].get("seeds", 3))
    rows = max(rows or len(paper["rows"]), 2)
    sd, degrees = sqrt(sum(spread**2 for spread in spreads) / len(spreads)), len(spreads) * (seeds - 1)
    designs = [Design(sd, degrees, error, _PUBLISHED_FREEDOM, rows, rows - 1) for error in PUBLISHED_IMAGE_ERRORS]
    return Plan(name, f"the paper's {len(spreads)} standard deviations of {seeds} runs each", tuple(designs))
