"""The planned runs of a sweep (`sweep.json`), written before the first of them starts."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ocnet_pl.errors import UserError, readable_os_errors
from ocnet_pl.record.directory import RunDirectory, read_json, write_json
from ocnet_pl.record.lock import LockedError, locked

PLAN = "sweep.json"


@dataclass(frozen=True)
class Start:
    """One command that started runs in a sweep's folder.

    Attributes:
        id: differs from that of every other start, also where a command is repeated.
        started: ISO time.
        runs: `<row>/seed-<n>` in the order in which they start.
    """

    id: str
    started: str
    runs: tuple[str, ...]


def add_start(sweep: Path, runs: Sequence[RunDirectory], identity: str) -> None:
    """Add a start to a sweep's plan; of two commands that do so at once none is lost.

    Args:
        sweep: folder of the sweep, made if it does not exist.
        runs: what the command starts there, in this order.
        identity: of the start.

    Raises:
        UserError: the plan is damaged or cannot be written.
    """
    now = datetime.now(UTC).isoformat(timespec="seconds")
    start = Start(identity, now, tuple(f"{run.row}/{run.path.name}" for run in runs))
    try:
        with readable_os_errors(sweep):
            sweep.mkdir(parents=True, exist_ok=True)
            with locked(sweep, patience=60):
                starts = [*read_starts(sweep), start]
                content = [{"id": one.id, "started": one.started, "runs": list(one.runs)} for one in starts]
                write_json(sweep / PLAN, {"starts": content})
    except LockedError:
        raise UserError(f"{sweep / PLAN}: another process keeps it locked; run the same command again") from None


def read_starts(sweep: Path) -> list[Start]:
    """All starts in a sweep's plan, the earliest first; empty without a plan.

    Raises:
        UserError: the plan is damaged.
    """
    plan = sweep / PLAN
    with readable_os_errors(plan):
        if not plan.is_file():
            return []
    content = read_json(plan)
    if isinstance(content, list):  # version 0.1.0 wrote the directories alone
        content = {"starts": [{"id": "", "started": "", "runs": content}]}
    try:
        return [_start(one) for one in content["starts"]]
    except (KeyError, TypeError):
        raise UserError(
            f"{plan}: not the plan of a sweep; delete it (the runs beside it stay) and run the same command again"
        ) from None


def planned_runs(sweep: Path) -> list[RunDirectory]:
    """The runs of all starts, in the order in which they start; empty without a plan.

    The sweep's folder may have been moved since.

    Raises:
        UserError: the plan is damaged.
    """
    names = dict.fromkeys(name for start in read_starts(sweep) for name in start.runs)
    return [RunDirectory(sweep / name) for name in names]


def runs_of_start(sweep: Path, identity: str) -> list[RunDirectory]:
    """The runs that one start plans.

    Raises:
        UserError: the plan is damaged.
    """
    return [RunDirectory(sweep / name) for one in read_starts(sweep) if one.id == identity for name in one.runs]


def _start(content: Any) -> Start:
    """Raises: KeyError, TypeError: not such a start."""
    identity, started, runs = content["id"], content["started"], content["runs"]
    if not isinstance(runs, list) or not all(isinstance(text, str) for text in (identity, started, *runs)):
        raise TypeError
    places = [Path(run) for run in runs]
    if not all(place.parent.name and place.name.removeprefix("seed-").isdecimal() for place in places):
        raise TypeError
    return Start(identity, started, tuple(f"{place.parent.name}/{place.name}" for place in places))
