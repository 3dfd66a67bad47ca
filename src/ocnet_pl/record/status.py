"""Progress of the runs of a sweep, read from their files while they are written."""

import csv
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from ocnet_pl.errors import UserError
from ocnet_pl.record.curves import last_logged_step, start_of
from ocnet_pl.record.directory import RunDirectory, State, own_place
from ocnet_pl.record.plan import planned_runs
from ocnet_pl.record.result import Result


@dataclass(frozen=True)
class RunStatus:
    """Progress of one run, as recorded in its files.

    Attributes:
        name: `<row>/seed-<n>`.
        state: state of the run.
        steps: number of steps that are logged; None before the first log of this start.
        max_steps: number of steps of the training; None before the first start.
        seconds: training time of a finished run; else None.
        seconds_left: remaining training time at the pace since this start; None if unknown.
        note: error of a failed run, score of a finished one, or reason why a file cannot be read.
    """

    name: str
    state: State
    steps: int | None = None
    max_steps: int | None = None
    seconds: float | None = None
    seconds_left: float | None = None
    note: str = ""


def sweep_status(sweep: Path) -> tuple[list[RunStatus], list[str]]:
    """Status of the planned runs in order, then of other runs in the folder; and remarks on what is left out.

    Copies of runs and a damaged plan are left out.
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
            remarks.append(f"{run.path}: skipped, a copy of {owner}; move it out of the sweep's folder or rename it")
        else:
            runs.append(run)
    return [_status(run) for run in runs], remarks


def _owner(run: RunDirectory) -> str:
    """Name of the run that a directory holds a copy of; empty if the directory holds its own run."""
    try:
        config = run.read_started() or {}
    except UserError:
        config = {}  # reported with its state
    row, seed = str(config.get("row", run.row)), config.get("seed", run.path.name.removeprefix("seed-").split(".")[0])
    return "" if own_place(run.path, row, seed) else f"{row}/seed-{seed}"


def seconds_left(runs: Sequence[RunStatus]) -> float | None:
    """Remaining time of the sweep, if all runs take equally long and as many keep running side by side.

    None if no run is running or the pace is unknown.
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
    state = State.WAITING
    try:
        state = run.state()
        return _readable_status(run, state)
    except UserError as error:
        return RunStatus(run.name, state, note=str(error))


def _readable_status(run: RunDirectory, state: State) -> RunStatus:
    if state is State.DONE:
        result = Result.read(run.result)
        return RunStatus(run.name, state, result.steps, result.steps, result.seconds, None, _score(result))
    note = run.read_failure() if state is State.FAILED else ""
    max_steps = _max_steps(run.read_started() or {})
    log = max(run.logs.glob("step-*/metrics.csv"), key=_written, default=None)
    running = state is State.RUNNING
    if running and (log is None or _written(log) < _written(run.started)):  # the log of an earlier start
        return RunStatus(run.name, state, None, max_steps, note="starting")
    try:
        steps = last_logged_step(log) if log else None
        left = _seconds_left(run, log, steps, max_steps) if log and running else None
    except (OSError, ValueError, csv.Error) as error:
        return RunStatus(run.name, state, None, max_steps, note=note or f"{log}: cannot be read ({error})")
    return RunStatus(
        run.name, state, steps, max_steps, None, left, "testing" if running and steps == max_steps else note
    )


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
    evaluation = result.evaluations.get(result.evaluation_key())
    return f"{result.val_split} mIoU {100 * evaluation.miou:.2f}" if evaluation and evaluation.miou is not None else ""
