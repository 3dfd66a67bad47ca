"""Progress of the runs of a sweep, read from their files while they are written."""

import csv
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from ocnet_pl.errors import UserError, readable_os_errors
from ocnet_pl.record.curves import last_logged_step, start_of
from ocnet_pl.record.directory import RunDirectory, State, own_place
from ocnet_pl.record.plan import PLAN, planned_runs
from ocnet_pl.record.result import Result, evaluation_key


@dataclass(frozen=True)
class RunStatus:
    """Progress of one run, as far as its files show it.

    Attributes:
        name: `<row>/seed-<n>`.
        state: of the run.
        steps: done, as far as they are logged; None before the first log of this start.
        max_steps: of the training; None before the first start.
        seconds: of training, of a finished run; else None.
        seconds_left: of training, at the pace since this start; None where that cannot be known.
        note: the error of a failed run, the score of a finished one, the file that is damaged.
    """

    name: str
    state: State
    steps: int | None = None
    max_steps: int | None = None
    seconds: float | None = None
    seconds_left: float | None = None
    note: str = ""


def find_sweeps(folder: Path) -> list[Path]:
    """The folder itself, or those directly in it, that hold runs.

    Raises:
        UserError: there is none.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such directory; give the one of a sweep, for example outputs/demo")
    with readable_os_errors(folder):
        folders = [folder, *sorted(path for path in folder.iterdir() if path.is_dir())]
    sweeps = [path for path in folders if (path / PLAN).is_file() or any(path.glob("*/seed-*/config.json"))]
    if not sweeps:
        raise UserError(f"{folder}: no sweep and no run in it; start one: ocnet-train experiment=demo")
    return sweeps


def sweep_status(sweep: Path) -> tuple[list[RunStatus], list[str]]:
    """Every planned run in its order, then the others that were started there; and remarks on what is left out.

    Left out are copies of runs, and a plan that is damaged.
    """
    remarks = []
    try:
        runs = planned_runs(sweep)
    except UserError as error:
        runs = []
        remarks.append(str(error))
    for path in sorted(sweep.glob("*/seed-*/config.json")):
        run = RunDirectory(path.parent)
        if run in runs:
            continue
        if owner := _owner(run):
            remarks.append(f"{run.path}: a copy of {owner}, left out; move it out of the sweep's folder or rename it")
        else:
            runs.append(run)
    return [_status(run) for run in runs], remarks


def _owner(run: RunDirectory) -> str:
    """`<row>/seed-<n>` of the run of which a directory holds a copy; empty if the run is the directory's own."""
    try:
        config = run.read_started() or {}
    except UserError:
        config = {}  # its state tells
    row, seed = str(config.get("row", run.row)), config.get("seed", run.path.name.removeprefix("seed-").split(".")[0])
    return "" if own_place(run.path, "", row, seed) else f"{row}/seed-{seed}"


def seconds_left(runs: Sequence[RunStatus]) -> float | None:
    """Of the whole sweep, if runs still to come take as long as others and as many stay side by side.

    None where nothing is running, or nothing is known of the pace.
    """
    running = [run for run in runs if run.state is State.RUNNING]
    to_come = sum(run.state in (State.WAITING, State.BROKEN) for run in runs)
    known = [run.seconds_left for run in running if run.seconds_left is not None]
    lengths = [run.seconds for run in runs if run.seconds]
    if not running or (not known and not lengths) or (to_come and not lengths):
        return None
    typical = median(lengths) if lengths else 0.0
    work = sum(known) + typical * (to_come + 0.5 * (len(running) - len(known)))
    return max(work / len(running), *known, 0.0)


def _status(run: RunDirectory) -> RunStatus:
    name, state = f"{run.row}/{run.path.name}", State.WAITING
    try:
        state = run.state()
        return _readable_status(run, name, state)
    except UserError as error:
        return RunStatus(name, state, note=str(error))


def _readable_status(run: RunDirectory, name: str, state: State) -> RunStatus:
    """Raises: UserError: a file of the run is damaged."""
    if state is State.DONE:
        result = Result.read(run.result)
        return RunStatus(name, state, result.steps, result.steps, result.seconds, None, _score(result))
    note = run.read_failure() if state is State.FAILED else ""
    max_steps = _max_steps(run.read_started() or {})
    log = max(run.logs.glob("step-*/metrics.csv"), key=_written, default=None)
    if state is State.RUNNING and (log is None or _written(log) < _written(run.started)):  # of the start before
        return RunStatus(name, state, None, max_steps, note="starts")
    try:
        steps = last_logged_step(log) if log else None
        left = _seconds_left(run, log, steps, max_steps) if log and state is State.RUNNING else None
    except (OSError, ValueError, csv.Error) as error:
        return RunStatus(name, state, None, max_steps, note=note or f"{log}: cannot be read ({error})")
    if state is State.RUNNING:
        return RunStatus(name, state, steps, max_steps, None, left, "tests" if steps == max_steps else "")
    return RunStatus(name, state, steps, max_steps, note=note)


def _max_steps(config: dict[str, Any]) -> int | None:
    schedule = config.get("schedule")
    steps = schedule.get("max_steps") if isinstance(schedule, dict) else None
    return steps if isinstance(steps, int) else None


def _seconds_left(run: RunDirectory, log: Path, steps: int | None, max_steps: int | None) -> float | None:
    if steps is None or max_steps is None:
        return None
    since_start = steps - (start_of(log.parent) or 0)
    took = _written(log) - _written(run.started)
    if since_start <= 0 or took <= 0:
        return None
    return max(0.0, took / since_start * (max_steps - steps) - (time.time() - _written(log)))


def _written(path: Path) -> float:
    return path.stat().st_mtime


def _score(result: Result) -> str:
    split = result.val_split
    evaluation = result.evaluations.get(evaluation_key("last", split, result.protocol))
    return "" if evaluation is None or evaluation.miou is None else f"{split} mIoU {100 * evaluation.miou:.2f}"
