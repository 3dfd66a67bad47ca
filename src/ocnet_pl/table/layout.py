"""Results -> a table: rows in the paper's order, differences to the baseline, the paper's numbers beside ours."""

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path, PurePath
from typing import Any

from ocnet_pl.errors import UserError
from ocnet_pl.record.context import measure_beside, on_own_class
from ocnet_pl.record.costs import Cost, find_costs
from ocnet_pl.record.directory import RunDirectory
from ocnet_pl.record.plan import planned_runs
from ocnet_pl.record.result import Found, Result, find_results
from ocnet_pl.record.sample_pictures import read_sample
from ocnet_pl.record.scores import Score, newest_scores
from ocnet_pl.statistics import spread
from ocnet_pl.table.columns import Column, OnServer, columns_of
from ocnet_pl.table.comparison import (
    NEGLIGIBLE,
    compare,
    is_training_column,
    lineage,
    trained_on,
)
from ocnet_pl.table.deviations import deviations, unlike_images, unlike_seeds
from ocnet_pl.table.paper import imitated, published
from ocnet_pl.table.structure import Cell, Notes, Row, Table

UNREADABLE = "unreadable"
"""State of a run whose result is damaged."""
REHEARSAL = "rehearsal"
"""State of a run that did not make all steps, or did not see or count all images."""


def read_tables(folder: Path) -> list[Table]:
    """A table for every sweep below a folder.

    Raises:
        UserError: no such folder, or nothing finished in it.
    """
    return find_tables(folder)[0]


def find_tables(folder: Path) -> tuple[list[Table], Notes]:
    """A table for every sweep below a folder, and notes on what belongs to no sweep that has a table.

    Raises:
        UserError: no such folder, nothing finished in it that can be read, or a folder inside a sweep.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such directory; give the one of a sweep, for example outputs/demo")
    found = find_results(folder)
    sweeps = defaultdict(list)
    for result in found.results:
        sweeps[result.sweep, result.table].append(result)
    _set_copies_aside(sweeps, found)
    if not sweeps:
        raise UserError(_why_none(folder, found))
    for sweep, _ in sweeps:
        if sweep.absolute() in folder.absolute().parents:
            raise UserError(
                f"{folder}: is a part of the sweep {sweep}; and a table needs all of it: ocnet-report {sweep}"
            )
    tables = [make_table(name, of_sweep, found) for (_, name), of_sweep in sweeps.items()]
    others = _notes(found, lambda path: not any(_is_of(path, table.folder) for table in tables))
    return tables, others


def _set_copies_aside(sweeps: dict[tuple[Path, str], list[Result]], found: Found) -> None:
    """Count no sweep that was copied beside itself, and no run that was copied into another sweep.

    The folder that is named as the sweep is its own; one that was renamed is, where there is no other.
    """
    for sweep, name in list(sweeps):
        own = PurePath(name).name
        in_one_folder = [of for folder, of in sweeps if folder == sweep]
        beside = (sweep.with_name(own), name) in sweeps
        if sweep.name != own and (beside or any(PurePath(of).name == sweep.name for of in in_one_folder)):
            for result in sweeps.pop((sweep, name)):
                found.copies[result.directory] = f"{name}/{result.row}/seed-{result.seed}"
        elif sweep.name != own and len(in_one_folder) > 1:
            raise UserError(
                f"{sweep}: holds runs of several sweeps ({', '.join(in_one_folder)}); give each a folder of its own"
            )


def _why_none(folder: Path, found: Found) -> str:
    if found.unreadable:
        first, *others = found.unreadable.values()
        return first + (f" (and {len(others)} more results cannot be read)" if others else "")
    if found.copies:
        path, run = next(iter(found.copies.items()))
        return f"{path}: holds the result of {run}, whose directory ends in {run}; move it there, or give a sweep"
    return f"{folder}: no finished run in it (no result.json); train first: ocnet-train experiment=demo"


def _notes(found: Found, wanted: Callable[[Path], bool]) -> Notes:
    return Notes(
        [why for path, why in found.unreadable.items() if wanted(path)],
        [
            f"{path}: not counted, it holds the result of {run} outside of that run's place"
            for path, run in found.copies.items()
            if wanted(path)
        ],
    )


def _is_of(directory: Path, sweep: Path) -> bool:
    """Whether something lies in a sweep, or in a folder beside it whose name begins with the sweep's."""
    whole, around = directory.absolute(), sweep.absolute()
    part = whole.relative_to(around.parent).parts[:1] if whole.is_relative_to(around.parent) else ()
    return whole.is_relative_to(around) or bool(part and part[0].startswith(around.name))


def make_table(name: str, results: Sequence[Result], found: Found | None = None) -> Table:
    """Rows in the paper's order, then by name; differences to the baseline where there is one.

    Args:
        name: of the sweep.
        results: of its finished runs.
        found: what was found with them; notes are made of the sweep's part of it.
    """
    folder = results[0].sweep
    rehearsals = [result for result in results if result.rehearsal]
    shown = results  # columns and costs of a table that has nothing but rehearsals
    results = [result for result in results if not result.rehearsal]
    found = found or Found()
    notes = _notes(found, lambda path: _is_of(path, folder))
    imitates = imitated(name, results or shown)
    paper = published()[imitates] if imitates else {}
    missing = _missing(folder, results, found, notes) | {(run.row, run.seed): REHEARSAL for run in rehearsals}
    rows = list(_rows(folder, results, missing, paper, notes))
    base = next((row for row in rows if row.name == paper.get("baseline", "baseline")), None)
    ours = list(rows)
    rows += [Row("", others["label"], {}, {}) for others in paper.get("published", [])]
    printed = [paper.get("rows", {}).get(row.name, {}) for row in ours] + paper.get("published", [])
    scores: list[Score] = notes.readable(lambda: newest_scores(folder, results), [])
    columns = columns_of(results or shown)
    if scores or any("test/miou" in row for row in printed):
        columns.append(OnServer.of(scores))
    for row, published_row in zip(rows, printed, strict=True):
        row.cells = [_cell(column, row, base, published_row, ours, notes) for column in columns]
    for picture in (path for run in results for path in sorted(RunDirectory(run.directory).samples.glob("*.png"))):
        notes.readable(partial(read_sample, picture), None)
    table = Table(
        name=name,
        title=_title(name, imitates, paper),
        folder=folder,
        columns=columns,
        rows=rows,
        baseline=base.name if base else None,
        imitates=imitates,
        deviations=deviations(paper, {row.label: list(row.results.values()) for row in ours if row.results}),
        unlike=[
            *unlike_seeds({row.label: list(row.results.values()) for row in ours}),
            *unlike_images({row.label: list(row.results.values()) for row in ours}),
        ],
        scores=scores,
        rehearsals=rehearsals,
        notes=notes,
    )
    _stand_in(table)
    return table


def _title(name: str, imitates: str | None, paper: dict[str, Any]) -> str:
    if imitates is None:
        return name
    return str(paper["title"]) if name == imitates else f"{name}, after {paper['title']}"


def _rows(
    folder: Path,
    results: Sequence[Result],
    missing: dict[tuple[str, int], str],
    paper: dict[str, Any],
    notes: Notes,
) -> Iterator[Row]:
    names = {result.row for result in results} | {row for row, _ in missing}
    planned: list[str] = notes.readable(lambda: [run.row for run in planned_runs(folder)], [])
    order = list(dict.fromkeys([*paper.get("rows", {}), *planned]))
    costs: dict[str, Cost] = notes.readable(lambda: find_costs(folder), {})
    for name in sorted(names, key=lambda row: (order.index(row) if row in order else len(order), row)):
        label = paper.get("rows", {}).get(name, {}).get("label") or name
        finished = {r.seed: r for r in results if r.row == name}
        label = next((r.label for r in finished.values()), name) if label == name else label
        unfinished = {seed: state for (row, seed), state in missing.items() if row == name}
        head = next((r.head for r in finished.values()), name)
        ancestors = [ancestor for result in finished.values() for ancestor in lineage(result, notes)]
        measures = [notes.readable(partial(measure_beside, result), None) for result in finished.values()]
        context = on_own_class([measure for measure in measures if measure])
        yield Row(name, label, finished, unfinished, ancestors, cost=costs.get(head), context=context)


def _cell(
    column: Column, row: Row, base: Row | None, published_row: dict[str, Any], rows: Sequence[Row], notes: Notes
) -> Cell:
    values = {seed: column.value(result) for seed, result in row.results.items()}
    paper = published_row.get(column.paper_key) if column.paper_key else None
    cell = Cell(values, spread(list(values.values())), paper=(paper[0], paper[1]) if paper else None)
    declared = is_training_column(column, rows)
    seen, of = trained_on(column, row)
    if seen and not declared:
        cell = replace(cell, seen=(seen, of), trained_on=seen > NEGLIGIBLE * of)
    if base is None or base is row or not base.results or not cell.ours.n or cell.trained_on:
        return cell
    if not declared and (seen_by_base := trained_on(column, base))[0] > NEGLIGIBLE * seen_by_base[1]:
        return cell
    found = compare(column, row, base, notes)
    return replace(cell, difference=found.difference, interval=found.interval, unknown=found.reason)


def _stand_in(table: Table) -> None:
    """What is known of a row that no server has scored."""
    for row in table.rows if isinstance(table.columns[-1], OnServer) else ():
        main, last = row.cells[table.main_column], row.cells[-1]
        if last.paper and main.ours.n and not last.ours.n and not main.trained_on:
            row.cells[-1] = replace(last, stand_in=main.ours)


def _missing(folder: Path, results: Sequence[Result], found: Found, notes: Notes) -> dict[tuple[str, int], str]:
    """State of every run that the sweep was to make and that has no result in the table, by row and seed."""
    planned: list[RunDirectory] = notes.readable(lambda: planned_runs(folder), [])
    states: dict[tuple[str, int], str] = {(run.row, run.seed): run.state() for run in planned}
    for directory in found.unreadable:
        if directory.parent.parent == folder and re.fullmatch(r"seed-\d{1,18}", directory.name):
            states[directory.parent.name, RunDirectory(directory).seed] = UNREADABLE
    return {run: state for run, state in states.items() if run not in {(r.row, r.seed) for r in results}}
