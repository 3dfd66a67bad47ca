"""Find the sweeps and the finished runs below a folder."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ocnet_pl.errors import UserError, readable_os_errors, unusable
from ocnet_pl.record.directory import own_place
from ocnet_pl.record.plan import PLAN
from ocnet_pl.record.result import Result


@dataclass
class Found:
    """Results below a folder.

    Attributes:
        results: results by table, row and seed.
        unreadable: reason why a result or folder cannot be read, by directory.
        copies: `<row>/seed-<n>` of the run that a directory holds a copy of, by directory.
    """

    results: list[Result] = field(default_factory=list)
    unreadable: dict[Path, str] = field(default_factory=dict)
    copies: dict[Path, str] = field(default_factory=dict)


def refuse_missing(folder: Path) -> None:
    """Raise `UserError` if there is no such directory."""
    if not folder.is_dir():
        raise UserError(f"{folder}: no such directory; give the directory of a sweep, e.g. outputs/demo")


def find_sweeps(folder: Path) -> list[Path]:
    """The folder itself, or the folders directly in it, that hold runs.

    Raises:
        UserError: no such directory, or no sweep in it.
    """
    refuse_missing(folder)
    with readable_os_errors(folder):
        folders = [folder, *sorted(path for path in folder.iterdir() if path.is_dir())]
    sweeps = [path for path in folders if (path / PLAN).is_file() or any(path.glob("*/seed-*/config.json"))]
    if not sweeps:
        raise UserError(f"{folder}: contains no sweep and no run; start one: ocnet-train experiment=demo")
    return sweeps


def find_results(folder: Path) -> Found:
    """Read all finished runs below a folder, following links. Damaged results are listed, not raised."""
    found = Found()
    if ".." in folder.parts:  # the folders above a run must be named by its path
        folder = Path(os.path.abspath(folder))  # noqa: PTH100 (keeps links)
    for path in _result_files(folder, found.unreadable):
        try:
            result = Result.read(path)
        except UserError as error:
            found.unreadable[path.parent] = str(error)
            continue
        if own_place(path.parent, result.row, result.seed):
            found.results.append(result)
        else:
            found.copies[path.parent] = result.name
    found.results.sort(key=lambda result: (result.table, result.row, result.seed))
    return found


def read_results(folder: Path) -> list[Result]:
    """Read all finished runs below a folder, by table, row and seed; raises `UserError` for a damaged one."""
    found = find_results(folder)
    if found.unreadable:
        raise UserError(next(iter(found.unreadable.values())))
    return found.results


def _result_files(folder: Path, unreadable: dict[Path, str]) -> Iterator[Path]:
    """Every `result.json` in and below a folder, in order; `Path.rglob` does not follow links before Python 3.13."""
    waiting: list[tuple[Path, frozenset[Path]]] = [(folder, frozenset())]
    while waiting:
        here, above = waiting.pop()
        try:
            real = here.resolve()
            if real in above:  # a link to a folder around it
                continue
            inside = sorted(here.iterdir())
            folders = [path for path in inside if path.is_dir()]
        except OSError as error:
            unreadable[here] = unusable(error)
            continue
        yield from (path for path in inside if path.name == "result.json")
        waiting += [(path, above | {real}) for path in reversed(folders)]
