"""Results -> a table: rows in the paper's order, differences to the baseline, the paper's numbers beside ours."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ocnet_pl.context.record import on_own_class
from ocnet_pl.cost.record import find_costs
from ocnet_pl.errors import UserError
from ocnet_pl.paper import imitated, published
from ocnet_pl.run.directory import RunDirectory, State
from ocnet_pl.run.result import Result, read_results
from ocnet_pl.statistics import Interval, paired_bootstrap, paired_difference, spread
from ocnet_pl.sweep.plan import planned_runs
from ocnet_pl.sweep.scores import newest_scores
from ocnet_pl.table.columns import Column, OnServer, Tested, columns_of
from ocnet_pl.table.deviations import deviations, unlike_seeds
from ocnet_pl.table.structure import LABELS, Cell, Row, Table


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
    sweeps = defaultdict(list)
    for result in results:
        sweeps[result.sweep, result.table].append(result)
    return [make_table(name, of_sweep) for (_, name), of_sweep in sweeps.items()]


def make_table(name: str, results: Sequence[Result]) -> Table:
    """Rows in the paper's order, then by name; differences to the baseline where there is one."""
    imitates = imitated(name, results)
    paper = published()[imitates] if imitates else {}
    folder = results[0].sweep
    rows = list(_rows(results, paper))
    base = next((row for row in rows if row.name == paper.get("baseline", "baseline")), None)
    ours = list(rows)
    rows += [Row("", others["label"], {}, {}) for others in paper.get("published", [])]
    printed = [paper.get("rows", {}).get(row.name, {}) for row in ours] + paper.get("published", [])
    scores = newest_scores(folder, results)
    columns = columns_of(results)
    if scores or any("test/miou" in row for row in printed):
        columns.append(OnServer.of(scores))
    for row, published_row in zip(rows, printed, strict=True):
        row.cells = [_cell(column, row, base, published_row) for column in columns]
    table = Table(
        name=name,
        title=_title(name, imitates, paper),
        folder=folder,
        columns=columns,
        rows=rows,
        baseline=base.name if base else None,
        imitates=imitates,
        deviations=deviations(paper, {row.label: list(row.results.values()) for row in ours if row.results}),
        unlike=unlike_seeds({row.label: list(row.results.values()) for row in ours}),
        scores=scores,
    )
    _stand_in(table)
    return table


def _title(name: str, imitates: str | None, paper: dict[str, Any]) -> str:
    if imitates is None:
        return name
    return str(paper["title"]) if name == imitates else f"{name}, after {paper['title']}"


def _rows(results: Sequence[Result], paper: dict[str, Any]) -> Iterator[Row]:
    planned = _planned(results)
    names = {result.row for result in results} | {row for row, _ in planned}
    order = [*paper.get("rows", {}), *LABELS]
    costs = find_costs(results[0].sweep)
    for name in sorted(names, key=lambda row: (order.index(row) if row in order else len(order), row)):
        label = paper.get("rows", {}).get(name, {}).get("label") or LABELS.get(name, name)
        finished = {r.seed: r for r in results if r.row == name}
        unfinished = {seed: state for (row, seed), state in planned.items() if row == name and seed not in finished}
        head = next((r.head for r in finished.values()), name)
        lineage = [ancestor for result in finished.values() for ancestor in _lineage(result)]
        context = on_own_class(finished.values())
        yield Row(name, label, finished, unfinished, lineage, cost=costs.get(head), context=context)


def _cell(column: Column, row: Row, base: Row | None, published_row: dict[str, Any]) -> Cell:
    values = {seed: column.value(result) for seed, result in row.results.items()}
    paper = published_row.get(column.paper_key) if column.paper_key else None
    cell = Cell(
        values,
        spread(list(values.values())),
        paper=(paper[0], paper[1]) if paper else None,
        trained_on=_trained_on(row, column),
    )
    if base is None or base is row or cell.trained_on or _trained_on(base, column):
        return cell
    of_base = {seed: column.value(result) for seed, result in base.results.items()}
    interval, unknown = _interval(column, row, base)
    return replace(cell, difference=paired_difference(values, of_base), interval=interval, unknown=unknown)


def _trained_on(row: Row, column: Column) -> bool:
    """Whether a run of the row, or one that it started from, learned from the images that the number is of."""
    return column.split is not None and any(run.trained_on(column.split) for run in row.lineage)


def _lineage(result: Result) -> Iterator[Result]:
    """The run and those that it started from, as far as they are there."""
    yield result
    if parent := result.config.get("parent"):
        origin = RunDirectory(result.directory).sibling(parent)
        if origin.result.is_file():
            yield from _lineage(Result.read(origin.result))


def _interval(column: Column, row: Row, base: Row) -> tuple[Interval | None, str | None]:
    """Where the difference lies, or else in words why that is not known."""
    if not isinstance(column, Tested) or column.metric != "miou" or not row.results or not base.results:
        return None, None
    seeds = sorted(row.results.keys() & base.results.keys())
    if not seeds:
        return None, f"it has no seed in common with {base.label}"
    runs = [r.results[seed] for r in (row, base) for seed in seeds]
    tests = {f"{run.row}/seed-{run.seed}": _image_counts(column, run) for run in runs}
    known = {run: test for run, test in tests.items() if test is not None}
    if missing := [run for run in tests if run not in known]:
        return None, f"the counts of the images of {', '.join(missing)} are not there"
    images, _ = next(iter(known.values()))
    if others := [run for run, (names, _) in known.items() if names != images]:
        return None, f"{', '.join(others)} were tested on other images than {next(iter(known))}"
    if len(images) == 1:
        return None, "it is of a single image"
    counts = np.stack([array for _, array in known.values()])
    return paired_bootstrap(counts[: len(seeds)], counts[len(seeds) :]), None


def _image_counts(column: Tested, result: Result) -> tuple[list[str], NDArray[np.int64]] | None:
    """Names of the images, and the counts of each, (images, 3, K)."""
    path = result.counts_file(column.key(result))
    if path is None:
        return None
    with np.load(path) as file:
        return file["images"].tolist(), file["counts"]


def _stand_in(table: Table) -> None:
    """What is known of a row that no server has scored."""
    for row in table.rows if isinstance(table.columns[-1], OnServer) else ():
        main, last = row.cells[table.main_column], row.cells[-1]
        if last.paper and main.ours.n and not last.ours.n and not main.trained_on:
            row.cells[-1] = replace(last, stand_in=main.ours)


def _planned(results: Sequence[Result]) -> dict[tuple[str, int], State]:
    """State of every run that the sweep was to make, by row and seed."""
    return {(run.row, run.seed): run.state() for run in planned_runs(results[0].sweep)}
