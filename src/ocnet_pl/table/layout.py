"""Layout of results as tables: rows in the paper's order, differences to the baseline, the paper's numbers."""

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ocnet_pl.errors import UserError
from ocnet_pl.record.context import OnOwnClass, measure_beside
from ocnet_pl.record.costs import Cost, find_costs
from ocnet_pl.record.directory import RunDirectory
from ocnet_pl.record.finding import FoundResults
from ocnet_pl.record.plan import planned_runs, read_starts
from ocnet_pl.record.result import Result
from ocnet_pl.record.sample_pictures import read_sample
from ocnet_pl.record.scores import Score, newest_scores
from ocnet_pl.table.columns import ServerColumn, columns_of
from ocnet_pl.table.comparable import lineage
from ocnet_pl.table.deviations import deviations, unlike_images, unlike_seeds
from ocnet_pl.table.filling import fill_column, stand_in
from ocnet_pl.table.paper import head_label, imitated, published
from ocnet_pl.table.seed_counts import seed_counts
from ocnet_pl.table.structure import Notes, Row, Table

UNREADABLE = "unreadable"
"""State of a run whose result is damaged."""
REHEARSAL = "rehearsal"
"""State of a run that did not make all steps, or did not see or count all images."""


def make_table(
    name: str,
    results: Sequence[Result],
    found: FoundResults | None = None,
    *,
    baseline: str | None = None,
    block: int = 1,
) -> Table:
    """Lay out a sweep: rows in the paper's order, then by name; differences to the baseline if the sweep has one.

    Args:
        name: name of the sweep.
        results: results of its finished runs.
        found: damaged results and copies in its folder.
        baseline: name of the row that the others are compared with; None for that of the paper's table.
        block: number of neighbouring images that are left out together.

    Raises:
        UserError: the sweep has no row of that name.
    """
    folder = results[0].sweep
    shown = results  # gives the columns of a table that has only rehearsals
    rehearsals = [result for result in results if result.rehearsal]
    results = [result for result in results if not result.rehearsal]
    found = found or FoundResults()
    notes = Notes.of(found)
    imitates = imitated(name, results or shown)
    paper = published()[imitates] if imitates else {}
    missing = _missing(folder, results, found, notes) | {(r.row, r.seed): REHEARSAL for r in rehearsals}
    ours = list(_rows(folder, results, missing, paper.get("rows", {}), notes))
    base = _baseline(folder, ours, baseline or paper.get("baseline", "baseline"), chosen=baseline is not None)
    rows = ours + [Row("", others["label"], {}, {}) for others in paper.get("published", [])]
    printed = [paper.get("rows", {}).get(row.name, {}) for row in ours] + paper.get("published", [])
    scores: list[Score] = notes.readable(lambda: newest_scores(folder, results), [])
    columns = columns_of(results or shown)
    if scores or any("test/miou" in row for row in printed):
        columns.append(ServerColumn.of(scores))
    for picture in (path for run in results for path in sorted(RunDirectory(run.directory).samples.glob("*.png"))):
        notes.readable(partial(read_sample, picture), None)
    by_label = {row.label: list(row.results.values()) for row in ours if row.results}
    unlike = {**unlike_seeds(by_label), **unlike_images(by_label)}
    table = Table(
        name=name,
        title=_title(name, imitates, paper),
        folder=folder,
        columns=columns,
        rows=rows,
        baseline=base.name if base else None,
        imitates=imitates,
        protocol_of=paper.get("protocol_of", "the paper"),
        deviations=deviations(paper, by_label),
        unlike=list(unlike),
        unlike_rows=set(unlike.values()),
        block=block,
        seed_counts=notes.readable(lambda: seed_counts(read_starts(folder), results), []),
        scores=scores,
        rehearsals=rehearsals,
        notes=notes,
    )
    for place in range(len(columns)):
        fill_column(table, place, base, printed)
    stand_in(table)
    return table


def _baseline(folder: Path, rows: Sequence[Row], name: str, *, chosen: bool) -> Row | None:
    """Row of that name; None without one, unless it was chosen."""
    found = next((row for row in rows if row.name == name), None)
    if found is None and chosen:
        raise UserError(f"--baseline {name}: {folder} has no such row; its rows: {', '.join(row.name for row in rows)}")
    return found


def _title(name: str, imitates: str | None, paper: Mapping[str, Any]) -> str:
    if imitates is None:
        return name
    return str(paper["title"]) if name == imitates else f"{name}, after {paper['title']}"


def _rows(
    folder: Path,
    results: Sequence[Result],
    missing: Mapping[tuple[str, int], str],
    published_rows: Mapping[str, Any],
    notes: Notes,
) -> Iterator[Row]:
    names = {result.row for result in results} | {row for row, _ in missing}
    planned: list[str] = notes.readable(lambda: [run.row for run in planned_runs(folder)], [])
    order = list(dict.fromkeys([*published_rows, *planned]))
    costs: dict[str, Cost] = notes.readable(lambda: find_costs(folder), {})
    for name in sorted(names, key=lambda row: (order.index(row) if row in order else len(order), row)):
        finished = {r.seed: r for r in results if r.row == name}
        unfinished = {seed: state for (row, seed), state in missing.items() if row == name}
        head = next((r.head for r in finished.values()), name)
        published_row = published_rows.get(name, {})
        label = published_row.get("label") or _label(name, head, list(finished.values()))
        ancestors = [ancestor for result in finished.values() for ancestor in lineage(result, notes)]
        measures = [notes.readable(partial(measure_beside, result), None) for result in finished.values()]
        context = OnOwnClass.over_seeds([measure for measure in measures if measure])
        own_recipe = tuple(published_row["own_recipe"]) if "own_recipe" in published_row else None
        yield Row(
            name, label, finished, unfinished, ancestors, own_recipe=own_recipe, cost=costs.get(head), context=context
        )


def _label(name: str, head: str, results: Sequence[Result]) -> str:
    """Label of a row that the paper's table lacks. Results of older versions do not record the label of their head."""
    recorded = (result.label for result in results if result.label != name)
    return next(recorded, None) or (head_label(head) if name == head else None) or name


def _missing(folder: Path, results: Sequence[Result], found: FoundResults, notes: Notes) -> dict[tuple[str, int], str]:
    """State of every planned run without a result in the table, by row and seed."""
    planned: list[RunDirectory] = notes.readable(lambda: planned_runs(folder), [])
    states: dict[tuple[str, int], str] = {(run.row, run.seed): run.state() for run in planned}
    for directory in found.unreadable:
        if directory.parent.parent == folder and re.fullmatch(r"seed-\d{1,18}", directory.name):
            states[directory.parent.name, RunDirectory(directory).seed] = UNREADABLE
    return {run: state for run, state in states.items() if run not in {(r.row, r.seed) for r in results}}
