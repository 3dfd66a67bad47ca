"""The planned runs of a sweep (`sweep.json`), written before the first of them starts."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, cast

from pydantic import Field

from ocnet_pl.errors import UserError, readable_os_errors
from ocnet_pl.record.directory import RunDirectory
from ocnet_pl.record.lock import LockedError, locked
from ocnet_pl.record.sealed import read_record, write_json

PLAN = "sweep.json"
Run = Annotated[str, Field(pattern=r"^(.*/)?[^/]+/(seed-)?[0-9]+$")]
"""Directory of a run, ending in `<row>/seed-<n>`; version 0.1.0 wrote the folders above too."""


@dataclass(frozen=True)
class Start:
    """One command that started runs in a sweep's folder.

    Attributes:
        id: unique identity, also if a command is repeated.
        started: ISO time.
        runs: runs in starting order.
    """

    id: str
    started: str
    runs: tuple[Run, ...]

    def directories(self, sweep: Path) -> list[RunDirectory]:
        """Directories of its runs in the sweep's folder, which may have been moved since."""
        return [RunDirectory(sweep.joinpath(*Path(run).parts[-2:])) for run in self.runs]


@dataclass(frozen=True)
class _Plan:
    starts: list[Start]


_ANY_VERSION = cast("type[_Plan | tuple[str, ...]]", _Plan | tuple[Run, ...])  # version 0.1.0 wrote the runs alone


def add_start(sweep: Path, runs: Sequence[RunDirectory], identity: str) -> None:
    """Add a start to a sweep's plan, safely if several commands do so at once.

    Args:
        sweep: folder of the sweep, created if missing.
        runs: runs of the start, in order.
        identity: identity of the start.
    """
    start = Start(identity, datetime.now(UTC).isoformat(timespec="seconds"), tuple(run.name for run in runs))
    try:
        with readable_os_errors(sweep):
            sweep.mkdir(parents=True, exist_ok=True)
            with locked(sweep, patience=60):
                write_json(sweep / PLAN, asdict(_Plan([*read_starts(sweep), start])))
    except LockedError:
        raise UserError(f"{sweep / PLAN}: locked by another process; rerun the same command") from None


def read_starts(sweep: Path) -> list[Start]:
    """All starts in a sweep's plan, the earliest first; empty without a plan."""
    plan = sweep / PLAN
    with readable_os_errors(plan):
        if not plan.is_file():
            return []
    remedy = "delete it and rerun the same command; the runs are kept"
    content = read_record(plan, _ANY_VERSION, "the plan of a sweep", remedy)
    return content.starts if isinstance(content, _Plan) else [Start("", "", content)]


def planned_runs(sweep: Path) -> list[RunDirectory]:
    """The runs of all starts, in starting order; empty without a plan."""
    return list(dict.fromkeys(run for start in read_starts(sweep) for run in start.directories(sweep)))


def runs_of_start(sweep: Path, identity: str) -> list[RunDirectory]:
    """The runs that one start plans."""
    return [run for start in read_starts(sweep) if start.id == identity for run in start.directories(sweep)]
