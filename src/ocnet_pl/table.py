"""Results -> rows and cells beside the paper's. No output format in here."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ocnet_pl.context import OnOwnClass, on_own_class
from ocnet_pl.cost import Cost, find_costs
from ocnet_pl.errors import UserError
from ocnet_pl.paper import published
from ocnet_pl.result import Evaluation, Result, read_results
from ocnet_pl.run_directory import RunDirectory, State, read_json
from ocnet_pl.statistics import Interval, Spread, paired_bootstrap, paired_difference, spread

LABELS = {
    "baseline": "Baseline",
    "gp": "GP",
    "ppm": "PPM",
    "aspp": "ASPP",
    "base_oc": "Base-OC",
    "pyramid_oc": "Pyramid-OC",
    "asp_oc": "ASP-OC",
}
"""How the paper writes the names of the heads, in its order; any other row is labelled by its name."""


@dataclass(frozen=True)
class Column:
    """One number of every row: a metric of an evaluation, in per cent.

    Attributes:
        evaluation: key in the results, `<checkpoint>/<split>/<protocol>`.
        metric: field of `Evaluation`.
        label: for a heading.
    """

    evaluation: str
    metric: str
    label: str

    @property
    def paper_key(self) -> str:
        """Its key in the published tables."""
        return f"{self.evaluation.split('/')[1]}/{self.metric}"

    def value(self, result: Result) -> float:
        """In per cent; NaN where the run has none."""
        evaluation: Evaluation | None = result.evaluations.get(self.evaluation)
        value = getattr(evaluation, self.metric) if evaluation else None
        return float("nan") if value is None else 100 * float(value)


@dataclass(frozen=True)
class Cell:
    """Ours and the paper's.

    Attributes:
        values: by seed.
        ours: mean and spread over seeds.
        difference: to the baseline row, paired by seed; None in that row itself.
        interval: where that difference lies, from the counts of every image; None where they are not all there.
        paper: published mean and standard deviation; None where there is none.
    """

    values: dict[int, float]
    ours: Spread
    difference: Spread | None
    interval: Interval | None
    paper: tuple[float, float | None] | None


@dataclass
class Row:
    """One line of a table.

    Attributes:
        name: of the row, as in the run directories; empty for other people's rows, which only the paper has.
        label: for readers.
        results: finished runs by seed.
        unfinished: state of the planned runs that are not done, by seed.
        cells: one for every column of the table.
        cost: of the row's head; None where no profile has it.
        context: what its attention looks at; None where it was not measured.
    """

    name: str
    label: str
    results: dict[int, Result]
    unfinished: dict[int, State]
    cells: list[Cell] = field(default_factory=list)
    cost: Cost | None = None
    context: OnOwnClass | None = None


@dataclass
class Table:
    """One sweep, laid out as the paper lays it out."""

    name: str
    title: str
    columns: list[Column]
    rows: list[Row]
    baseline: str | None

    @property
    def main_column(self) -> int:
        """The one that ranks: mIoU of the validation split, or else the first."""
        keys = [column.paper_key for column in self.columns]
        return keys.index("val/miou") if "val/miou" in keys else 0

    @property
    def profiled(self) -> str | None:
        """Under which conditions the heads' costs were measured; None where no row has any."""
        return next((row.cost.conditions for row in self.rows if row.cost), None)

    @property
    def profiled_as_trained(self) -> bool:
        """Whether the profiled networks have as many weights as the trained ones."""
        costs = ((row.cost, result) for row in self.rows for result in row.results.values())
        return all(cost is None or cost.parameters == result.parameters["total"] for cost, result in costs)

    @property
    def unfinished(self) -> list[str]:
        """`row/seed-n: state` of everything that is missing."""
        return [f"{row.name}/seed-{seed}: {state}" for row in self.rows for seed, state in row.unfinished.items()]


def read_tables(folder: Path) -> list[Table]:
    """A table for every sweep below a folder.

    Raises:
        UserError: no such folder, or nothing finished in it.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such directory; give the one of a sweep, for example outputs/demo")
    results = read_results(folder)
    if not results:
        raise UserError(f"{folder}: no finished run in it (no result.json); train first: ocnet-train experiment=demo")
    names = dict.fromkeys(result.table for result in results)
    return [make_table(name, [r for r in results if r.table == name]) for name in names]


def make_table(name: str, results: Sequence[Result]) -> Table:
    """Rows in the paper's order, then by name; differences to the baseline where there is one."""
    paper = published().get(name, {})
    columns = _columns(results)
    planned = _planned(results)
    names = {result.row for result in results} | {row for row, _ in planned}
    order = [*paper.get("rows", {}), *LABELS]
    costs = find_costs(results[0].directory.parents[1])
    rows = []
    for row_name in sorted(names, key=lambda row: (order.index(row) if row in order else len(order), row)):
        label = paper.get("rows", {}).get(row_name, {}).get("label") or LABELS.get(row_name, row_name)
        finished = {r.seed: r for r in results if r.row == row_name}
        unfinished = {seed: state for (row, seed), state in planned.items() if row == row_name and seed not in finished}
        head = next((r.head for r in finished.values()), row_name)
        context = on_own_class(finished.values())
        rows.append(Row(row_name, label, finished, unfinished, cost=costs.get(head), context=context))
    baseline = paper.get("baseline", "baseline")
    base = next((row for row in rows if row.name == baseline), None)
    for row in rows:
        published_row = paper.get("rows", {}).get(row.name, {})
        row.cells = [_cell(column, row, base, published_row) for column in columns]
    for others in paper.get("published", []):
        row = Row("", others["label"], {}, {})
        row.cells = [_cell(column, row, None, others) for column in columns]
        rows.append(row)
    return Table(name, paper.get("title", name), columns, rows, base.name if base else None)


def _cell(column: Column, row: Row, base: Row | None, published_row: dict[str, Any]) -> Cell:
    values = {seed: column.value(result) for seed, result in row.results.items()}
    difference, interval = None, None
    if base is not None and base is not row:
        difference = paired_difference(values, {seed: column.value(result) for seed, result in base.results.items()})
        if column.metric == "miou":
            interval = _interval(column, row, base)
    paper = published_row.get(column.paper_key)
    return Cell(values, spread(list(values.values())), difference, interval, (paper[0], paper[1]) if paper else None)


def _interval(column: Column, row: Row, base: Row) -> Interval | None:
    seeds = sorted(row.results.keys() & base.results.keys())
    counts = [[_image_counts(r.results[seed], column.evaluation) for seed in seeds] for r in (row, base)]
    known = [array for of_row in counts for array in of_row if array is not None]
    if not seeds or len(known) < 2 * len(seeds) or len({array.shape for array in known}) > 1:
        return None
    ours, theirs = np.stack(known[: len(seeds)]), np.stack(known[len(seeds) :])
    return paired_bootstrap(ours, theirs)


def _image_counts(result: Result, evaluation: str) -> NDArray[np.int64] | None:
    """Counts of every image, (images, 3, K)."""
    kept = result.evaluations.get(evaluation)
    path = result.directory / kept.counts if kept and kept.counts else None
    if path is None or not path.is_file():
        return None
    with np.load(path) as file:
        counts: NDArray[np.int64] = file["counts"]
    return counts


def _columns(results: Sequence[Result]) -> list[Column]:
    keys = dict.fromkeys(key for result in results for key in result.evaluations)
    columns = []
    for key in sorted(keys, key=lambda k: (k.split("/")[1] != "train", k)):
        checkpoint, split, protocol = key.split("/")
        where = split.capitalize() + ("" if protocol == "whole" else f", {protocol}")
        where += "" if checkpoint == "last" else f", {checkpoint}"
        columns.append(Column(key, "miou", f"{where} mIoU (%)"))
        if split != "train":
            columns.append(Column(key, "pixel_accuracy", f"{where} pixel acc. (%)"))
    return columns


def _planned(results: Sequence[Result]) -> dict[tuple[str, int], State]:
    """State of every run that the sweep was to make, by row and seed."""
    planned = {}
    for sweep in {result.directory.parents[1] for result in results}:
        plan = sweep / "sweep.json"
        for path in map(Path, read_json(plan)) if plan.is_file() else ():
            run = RunDirectory(sweep / path.parent.name / path.name)
            planned[path.parent.name, int(path.name.removeprefix("seed-"))] = run.state()
    return planned
