"""What a run of a sweep is: a fresh process in a directory of its own, skipped when done, resumed when broken."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from ocnet_pl.process import EXIT_STOPPED, die_with_parent
from ocnet_pl.run.directory import RunDirectory, State, write_json
from ocnet_pl.run.result import Result
from ocnet_pl.sweep.gpus import borrowed, visible_gpus
from ocnet_pl.sweep.plan import PLAN, planned_runs

CLUSTER_LAUNCHERS = ("slurm", "submitit_slurm")
"""Under which a run is a job of its own, queued again when it is preempted."""

RANK_VARIABLES = (
    "LOCAL_RANK", "NODE_RANK", "GROUP_RANK", "RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT",
    "PL_GLOBAL_SEED", "WANDB_RUN_ID", "WANDB_SERVICE",
    "SLURM_NTASKS", "SLURM_NTASKS_PER_NODE", "SLURM_PROCID", "SLURM_LOCALID", "SLURM_NODEID",
)  # fmt: skip
"""What a process group or a cluster's job leaves in the environment: a run that inherits it joins somebody else's
group, or takes the job's one task for all of its processes."""


def start_run(config: DictConfig, overrides: Sequence[str]) -> float | None:
    """Trains one run of a sweep in a process of its own, unless it is finished.

    A failure costs this run only: it is kept in the run's directory and told at the end of the sweep.

    Returns:
        The validation mIoU, for sweepers that search; None when there is none.
    """
    die_with_parent()
    run = RunDirectory(Path(HydraConfig.get().runtime.output_dir))
    state, began = run.state(), time.monotonic()
    if state in (State.DONE, State.RUNNING):
        _tell(
            run, "finished before, skipped" if state is State.DONE else "is being trained by another process, skipped"
        )
    elif reason := _wait_for_parent(run, config.parent):
        write_json(run.failure, {"error": reason, "traceback": ""})
        state = run.state()
        _tell(run, f"not started: {reason}")
    else:
        _tell(run, "resumes" if run.last_checkpoint.is_file() else "starts")
        try:
            with borrowed(visible_gpus(), _gpus_wanted(config)) as gpus:
                code = _train_in_fresh_process(run, overrides, gpus)
            if code not in (0, EXIT_STOPPED, -signal.SIGTERM) and run.state() is not State.RUNNING:
                _record_failure(run, code)
        except OSError as error:  # a full disk takes neither a log nor a failure; the other runs go on
            _tell(run, f"cannot write in its directory: {error.strerror}")
        state = run.state()
        outcome = f"{state} in {time.monotonic() - began:.0f} s"
        _tell(run, outcome + (f", mIoU {_score(run, config):.1%}" if state is State.DONE else f"; see {run.console}"))
    return _score(run, config) if state is State.DONE else None


def _wait_for_parent(run: RunDirectory, row: str | None, *, every: float = 2.0) -> str:
    """Waits while the run that this one starts from is being trained, by whomever; says why it cannot start, if so."""
    if row is None:
        return ""
    parent = run.sibling(row)
    if _comes(parent, run):
        _tell(run, f"waits for {row}")
    while _comes(parent, run):
        time.sleep(every)
    return "" if parent.state() is State.DONE else f"its parent {parent.path} is {parent.state()}"


def _comes(parent: RunDirectory, run: RunDirectory) -> bool:
    """Whether the parent is being trained, or will be by this sweep."""
    state, launcher = parent.state(), HydraConfig.get().runtime.choices["hydra/launcher"]
    if state in (State.RUNNING, State.DONE) or launcher == "basic":  # one after another it would have started
        return state is State.RUNNING
    sweep = run.path.parents[1]
    if parent.path not in [planned.path for planned in planned_runs(sweep)]:
        return False
    if state is State.BROKEN and launcher in CLUSTER_LAUNCHERS:
        return True
    last_attempt = {State.FAILED: parent.failure, State.BROKEN: parent.started}.get(state)
    try:
        # What it died of before this sweep began is what the sweep makes good.
        return last_attempt is None or last_attempt.stat().st_mtime < (sweep / PLAN).stat().st_mtime
    except FileNotFoundError:
        return True  # it has just begun


def _tell(run: RunDirectory, what: str) -> None:
    planned = planned_runs(run.path.parents[1])
    progress = f"[{sum(r.result.is_file() for r in planned)}/{len(planned)} done] " if planned else ""
    print(f"{progress}{run.path.parent.name}/{run.path.name} {what}", flush=True)


def _score(run: RunDirectory, config: DictConfig) -> float:
    result = Result.read(run.result)
    evaluation = result.evaluations[f"last/{config.evaluate_on[0]}/{result.choices['inference']}"]
    return float("nan") if evaluation.miou is None else evaluation.miou


def _gpus_wanted(config: DictConfig) -> int:
    """How many GPUs a run must have for itself: where several runs share this machine, else none in particular."""
    side_by_side = HydraConfig.get().runtime.choices["hydra/launcher"] == "joblib"
    if not side_by_side or config.trainer.accelerator == "cpu":
        return 0
    devices = config.trainer.devices
    return devices if isinstance(devices, int) and devices > 0 else len(visible_gpus())


def _train_in_fresh_process(run: RunDirectory, overrides: Sequence[str], gpus: Sequence[str] = ()) -> int:
    environment = {k: v for k, v in os.environ.items() if k not in RANK_VARIABLES}
    if gpus:
        environment["CUDA_VISIBLE_DEVICES"] = ",".join(gpus)
    command = [sys.executable, "-m", "ocnet_pl.command.train", *overrides, "hydra.mode=RUN"]
    run.path.mkdir(parents=True, exist_ok=True)
    with run.console.open("a") as console:
        process = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            return process.wait()
        finally:
            _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ends a run and all its ranks: first asked, then made to."""
    for sign, patience in ((signal.SIGTERM, 20), (signal.SIGKILL, 5)):
        try:
            os.killpg(process.pid, sign)
        except ProcessLookupError:
            return
        with suppress(subprocess.TimeoutExpired):
            process.wait(patience)


def _record_failure(run: RunDirectory, code: int) -> None:
    """For a run that could not say itself what it died of."""
    if run.failure.is_file():
        return
    how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
    words = [line.strip() for line in run.console.read_text(errors="replace").splitlines() if _ERROR.search(line)]
    write_json(run.failure, {"error": f"{how}: {words[-1]}" if words else how, "traceback": ""})


_ERROR = re.compile(r"^(\w+\.)*\w*(Error|Exception)\b|^ocnet-\w+: error: ")
