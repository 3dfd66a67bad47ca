"""Find the sweeps below a folder and read their tables; copies are set aside."""

from collections import defaultdict
from collections.abc import Callable
from functools import partial
from pathlib import Path, PurePath

from ocnet_pl.errors import UserError
from ocnet_pl.record.finding import FoundResults, find_results, refuse_missing
from ocnet_pl.record.result import Result
from ocnet_pl.table.layout import make_table
from ocnet_pl.table.structure import Notes, Table

Sweeps = dict[tuple[Path, str], list[Result]]
"""Results by the folder and the name of their sweep."""


def read_tables(folder: Path) -> list[Table]:
    """Read a table for every sweep below a folder.

    Raises:
        UserError: no such folder, or it contains no finished run.
    """
    return find_tables(folder)[0]


def find_tables(folder: Path, *, baseline: str | None = None, block: int = 1) -> tuple[list[Table], Notes]:
    """Read a table for every sweep below a folder, and notes on files that belong to none of them.

    Args:
        folder: any folder.
        baseline: name of the row that the others are compared with; None for that of the paper's table.
        block: number of neighbouring images that are left out together; more than 1 for the images of videos.

    Raises:
        UserError: no such folder, no readable finished run in it, a folder inside a sweep, or no such baseline.
    """
    refuse_missing(folder)
    found = find_results(folder)
    sweeps: Sweeps = defaultdict(list)
    for result in found.results:
        sweeps[result.sweep, result.table].append(result)
    _set_copies_aside(sweeps, found)
    if not sweeps:
        raise UserError(_why_none(folder, found))
    for sweep, _ in sweeps:
        if sweep.absolute() in folder.absolute().parents:
            raise UserError(
                f"{folder}: a part of the sweep {sweep}, and a table needs all of it; run ocnet-report {sweep}"
            )
    tables = [
        make_table(name, of_sweep, _part(found, partial(_is_of, sweep=sweep)), baseline=baseline, block=block)
        for (sweep, name), of_sweep in sweeps.items()
    ]
    return tables, Notes.of(_part(found, lambda path: not any(_is_of(path, sweep) for sweep, _ in sweeps)))


def _set_copies_aside(sweeps: Sweeps, found: FoundResults) -> None:
    """Move copied sweeps, and runs copied into another sweep, from the sweeps to the copies.

    The folder that bears the name of a sweep is the original; a renamed folder is, if no other folder is.
    """
    for sweep, name in list(sweeps):
        own = PurePath(name).name
        in_one_folder = [of for folder, of in sweeps if folder == sweep]
        beside = sweep.name != "" and (sweep.with_name(own), name) in sweeps
        if sweep.name != own and (beside or any(PurePath(of).name == sweep.name for of in in_one_folder)):
            for result in sweeps.pop((sweep, name)):
                found.copies[result.directory] = f"{name}/{result.name}"
        elif sweep.name != own and len(in_one_folder) > 1:
            raise UserError(
                f"{sweep}: contains runs of several sweeps ({', '.join(in_one_folder)}); move each to its own folder"
            )


def _why_none(folder: Path, found: FoundResults) -> str:
    if found.unreadable:
        first, *others = found.unreadable.values()
        return first + (f" (and {len(others)} more results cannot be read)" if others else "")
    if found.copies:
        path, run = next(iter(found.copies.items()))
        return f"{path}: holds the result of {run}, whose directory must end in {run}; move it, or give a sweep"
    return f"{folder}: contains no finished run (no result.json); train first: ocnet-train experiment=demo"


def _part(found: FoundResults, wanted: Callable[[Path], bool]) -> FoundResults:
    """The unreadable files and the copies in some directories."""
    parts = ({path: text for path, text in of.items() if wanted(path)} for of in (found.unreadable, found.copies))
    return FoundResults([], *parts)


def _is_of(directory: Path, sweep: Path) -> bool:
    """Return whether a path lies in a sweep, or in a folder beside it whose name begins with the sweep's."""
    whole, around = directory.absolute(), sweep.absolute()
    part = whole.relative_to(around.parent).parts[:1] if whole.is_relative_to(around.parent) else ()
    return whole.is_relative_to(around) or bool(part and part[0].startswith(around.name))
