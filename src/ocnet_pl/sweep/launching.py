"""Start of one run of a sweep in a process of its own: skipped when done, resumed when interrupted."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import FrameType

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from ocnet_pl.config.compose import plain
from ocnet_pl.errors import EXIT_INTERRUPTED, UserError
from ocnet_pl.process import EXIT_STOPPED, GROUP_VARIABLES, START_VARIABLE, die_with_parent, stop_children
from ocnet_pl.record.directory import RunDirectory, State
from ocnet_pl.record.plan import add_start, planned_runs, runs_of_start
from ocnet_pl.record.result import Result
from ocnet_pl.record.sealed import write_json
from ocnet_pl.run.gpus import visible_gpus
from ocnet_pl.sweep.gpus import borrowed
from ocnet_pl.sweep.search import is_search
from ocnet_pl.sweep.starting import RunProcess, start_process

CLUSTER_LAUNCHERS = ("slurm", "submitit_slurm")
"""Launchers that make every run a job, which is queued again when it is preempted."""

FORKING_LAUNCHERS = ("basic", "joblib")
"""Launchers whose processes start one run after another; all others make a process for each run."""


def start_run(config: DictConfig, overrides: Sequence[str]) -> float | None:
    """Train one run of a sweep in a process of its own, unless it is finished.

    A failure ends this run only: it is recorded in the run's directory and reported at the end of the sweep.

    Returns:
        The validation mIoU, for sweepers that search; None without one.
    """
    die_with_parent()
    run = RunDirectory(Path(HydraConfig.get().runtime.output_dir))
    try:
        return _start(run, config, overrides)
    except UserError as error:
        _report(run, f"not started: {error}")
    except OSError as error:  # a full disk takes neither a log nor a failure; the other runs go on
        _report(run, f"cannot write in its directory: {error.strerror}")
    return None


def _start(run: RunDirectory, config: DictConfig, overrides: Sequence[str]) -> float | None:
    start = os.environ.get(START_VARIABLE, "")
    if is_search(HydraConfig.get()):
        add_start(run.path.parents[1], [run], start)
    elif run not in runs_of_start(run.path.parents[1], start):
        if config.rehearsal:  # another seed of its row rehearses
            with suppress(OSError):
                run.path.rmdir()  # Hydra has made it
            return None
        raise UserError(
            "the sweep did not plan this run; use values of name=, row= and seed= that do not depend on time or machine"
        )
    run.refuse_other_config(plain(config))
    state, began = run.state(), time.monotonic()
    if state is State.DONE:
        _report(run, "already finished, skipped")
        return _score(run, config)
    if state is State.RUNNING:
        _report(run, "is being trained by another process, skipped")
        return None
    run.create()
    if reason := _wait_for_parent(run, config.parent, start):
        write_json(run.failure, {"error": reason, "traceback": ""})
        _record_end(run, start)
        _report(run, f"not started: {reason}")
        return None
    _report(run, "resumes" if run.last_checkpoint.is_file() else "starts")
    try:
        with borrowed(visible_gpus(), _gpus_wanted(config)) as gpus:
            code = _train_in_own_process(run, overrides, gpus)
        if code not in (0, EXIT_STOPPED, EXIT_INTERRUPTED, -signal.SIGTERM) and run.state() is not State.RUNNING:
            _record_failure(run, code)
    finally:
        _record_end(run, start)
    state = run.state()
    outcome = f"{state} in {time.monotonic() - began:.0f} s"
    if state is not State.DONE:
        _report(run, f"{outcome}; see {run.console}")
        return None
    score = _score(run, config)
    _report(run, f"{outcome}, mIoU {'none' if score is None else f'{score:.1%}'}")
    return score


def stop_on_interrupt(launcher: str) -> Callable[[], object]:
    """Make Ctrl-C end a sweep as SIGTERM ends a run: its runs finish their step and save.

    Otherwise the launcher's workers, and with them their runs, would be killed.

    Args:
        launcher: name of the launcher in Hydra.

    Returns:
        A function that restores the previous handler.
    """

    def stop(signum: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        if launcher not in CLUSTER_LAUNCHERS:
            print("\nstopping: the runs finish their step and save", file=sys.stderr, flush=True)
            stop_children(patience=_PATIENCE)
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, stop)
    return partial(signal.signal, signal.SIGINT, before)


_PATIENCE = 120.0
"""Seconds that a run may take to save."""


def _wait_for_parent(run: RunDirectory, row: str | None, start: str, *, every: float = 2.0) -> str:
    """Wait until the parent of a run is trained, by any process; return why the run cannot start, or ""."""
    if row is None:
        return ""
    parent = run.sibling(row)
    if _comes(parent, run, start):
        _report(run, f"waits for {row}")
    while _comes(parent, run, start):
        time.sleep(every)
    return "" if parent.state() is State.DONE else f"its parent {parent.path} is {parent.state()}"


def _comes(parent: RunDirectory, run: RunDirectory, start: str) -> bool:
    """Return whether the parent is being trained, or will be by this start of the sweep."""
    state, launcher = parent.state(), HydraConfig.get().runtime.choices["hydra/launcher"]
    if state in (State.RUNNING, State.DONE) or launcher == "basic":  # it runs one after another: the parent came before
        return state is State.RUNNING
    if parent not in runs_of_start(run.path.parents[1], start):
        return False
    if state is State.BROKEN and launcher in CLUSTER_LAUNCHERS:
        return True  # preempted
    return not _end_of(parent, start).exists()  # this start repeats what failed in an earlier one


def _end_of(run: RunDirectory, start: str) -> Path:
    """An empty file, made when an attempt of this start ends; it fits on a full disk."""
    return run.path / f".ended-{start}"


def _record_end(run: RunDirectory, start: str) -> None:
    for earlier in run.path.glob(_end_of(run, "*").name):
        earlier.unlink(missing_ok=True)
    _end_of(run, start).touch()


def _report(run: RunDirectory, event: str) -> None:
    planned = planned_runs(run.path.parents[1])
    progress = f"[{sum(r.result.is_file() for r in planned)}/{len(planned)} done] " if planned else ""
    print(f"{progress}{run.path.parent.name}/{run.path.name} {event}", flush=True)


def _score(run: RunDirectory, config: DictConfig) -> float | None:
    result = Result.read(run.result)
    return result.evaluations[result.evaluation_key(split=config.evaluate_on[0])].miou


def _gpus_wanted(config: DictConfig) -> int:
    """Number of GPUs to reserve for a run; 0 if no other run of the sweep shares this machine."""
    parallel = HydraConfig.get().runtime.choices["hydra/launcher"] == "joblib"
    if not parallel or config.trainer.accelerator == "cpu":
        return 0
    devices = config.trainer.devices
    return devices if isinstance(devices, int) and devices > 0 else len(visible_gpus())


def _train_in_own_process(run: RunDirectory, overrides: Sequence[str], gpus: Sequence[str] = ()) -> int:
    environment = {k: v for k, v in os.environ.items() if k not in GROUP_VARIABLES}
    if gpus:
        environment["CUDA_VISIBLE_DEVICES"] = ",".join(gpus)
    run.path.mkdir(parents=True, exist_ok=True)
    forked = HydraConfig.get().runtime.choices["hydra/launcher"] in FORKING_LAUNCHERS
    process = start_process([*overrides, "hydra.mode=RUN"], environment, run.console, forked=forked)
    try:
        return process.wait()
    finally:
        _end(process)


def _end(process: RunProcess) -> None:
    """End a run and all its ranks: with SIGTERM, later with SIGKILL."""
    for sign, patience in ((signal.SIGTERM, _PATIENCE), (signal.SIGKILL, 5)):
        try:
            os.killpg(process.pid, sign)
        except ProcessLookupError:
            return
        with suppress(subprocess.TimeoutExpired):
            process.wait(patience)


def _record_failure(run: RunDirectory, code: int) -> None:
    """Record the failure of a run that could not do so itself."""
    if run.failure.is_file():
        return
    how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
    words = [line.strip() for line in run.console.read_text(errors="replace").splitlines() if _ERROR.search(line)]
    write_json(run.failure, {"error": f"{how}: {words[-1]}" if words else how, "traceback": ""})


_ERROR = re.compile(r"^(\w+\.)*\w*(Error|Exception)\b|^ocnet-\w+: error: ")
