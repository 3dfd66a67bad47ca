"""What a run of a sweep is: a fresh process in a directory of its own, skipped when done, resumed when broken."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
import traceback
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from ocnet_pl.config import compose, plain, readable_config_errors, refuse_other_kinds
from ocnet_pl.errors import UserError, one_line_errors
from ocnet_pl.gpus import borrowed, visible_gpus
from ocnet_pl.identity import Plain
from ocnet_pl.plan import PLAN, planned_runs
from ocnet_pl.process import EXIT_STOPPED, die_with_parent
from ocnet_pl.result import Result
from ocnet_pl.run_directory import RunDirectory, State, read_json, write_json

RANK_VARIABLES = (
    "LOCAL_RANK", "NODE_RANK", "GROUP_RANK", "RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT",
    "PL_GLOBAL_SEED", "WANDB_RUN_ID", "WANDB_SERVICE",
    "SLURM_NTASKS", "SLURM_NTASKS_PER_NODE", "SLURM_PROCID", "SLURM_LOCALID", "SLURM_NODEID",
)  # fmt: skip
"""What a process group or a cluster's job leaves in the environment: a run that inherits it joins somebody else's
group, or takes the job's one task for all of its processes."""


@dataclass(frozen=True)
class PlannedRun:
    """One run of a sweep: what to override, and where it goes."""

    overrides: tuple[str, ...]
    directory: Path
    config: Plain


def expand(overrides: Sequence[str]) -> list[PlannedRun]:
    """All runs of a sweep, composed, in the order in which they start.

    Args:
        overrides: those of the experiment's sweeper and those typed, the latter counting.

    Raises:
        UserError: a run that cannot be composed, or two that would share a directory.
    """
    with readable_config_errors():
        parsed = OverridesParser.create().parse_overrides(list(overrides))
        (jobs,) = BasicSweeper.split_arguments(parsed, max_batch_size=None)
    refuse_other_kinds(compose(*jobs[0]), jobs[0])
    runs = []
    for job in jobs:
        config = plain(compose(*job))
        directory = Path(config["outputs"], config["name"], str(config["row"]), f"seed-{config['seed']}")
        runs.append(PlannedRun(tuple(job), directory, config))
    _refuse_shared_directories(runs)
    return runs


def _refuse_shared_directories(runs: Sequence[PlannedRun]) -> None:
    by_directory = defaultdict(list)
    for run in runs:
        by_directory[run.directory].append(run)
    for directory, sharing in by_directory.items():
        if len(sharing) > 1:
            swept = [o for o in sharing[0].overrides if o not in sharing[1].overrides]
            key = swept[0].split("=", 1)[0] if swept else "schedule.lr"
            name = "${hydra:runtime.choices." + key + "}" if "/" in key else "${" + key + "}"
            raise UserError(
                f"{len(sharing)} runs of this sweep want {directory}: give every row a name of its own, "
                f"for example 'row={key.rsplit('.', 1)[-1].rsplit('/', 1)[-1]}-{name}'"
            )


def _refuse_missing_cluster(launcher: str) -> None:
    cluster = launcher in ("slurm", "submitit_slurm")
    if cluster and find_spec("hydra_plugins.hydra_submitit_launcher") is None:
        raise UserError(f"hydra/launcher={launcher}: is an extra; install it: pip install 'ocnet_pl[slurm]'")
    if cluster and shutil.which("srun") is None:
        raise UserError(
            f"hydra/launcher={launcher}: there is no srun on this machine; start the sweep where SLURM jobs are "
            "submitted, or try it here with hydra/launcher=submitit_local"
        )


def _refuse_missing_parents(runs: Sequence[PlannedRun]) -> None:
    coming = {run.directory for run in runs}
    for run in runs:
        if run.config["parent"] is None:
            continue
        parent = RunDirectory(run.directory).sibling(run.config["parent"])
        if parent.path not in coming and parent.state() not in (State.DONE, State.RUNNING):
            raise UserError(
                f"{run.directory} starts from {parent.path}, which is {parent.state()} and no part of this sweep: "
                f"train it first (ocnet-train experiment={parent.path.parents[1].name}), or add its row"
            )


@contextmanager
def _no_way_on() -> Iterator[None]:
    """Hydra goes on with a warning when a callback raises; a sweep that was not checked must not start."""
    try:
        yield
    except UserError:
        raise
    except Exception:
        traceback.print_exc()
        raise SystemExit(1) from None


class SweepCallback(Callback):
    """Around a multirun: checks all of it before anything starts, and tells at the end what became of it."""

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        with one_line_errors("ocnet-train"), _no_way_on():
            _refuse_missing_cluster(config.hydra.runtime.choices["hydra/launcher"])
            params = config.hydra.sweeper.get("params") or {}
            runs = expand([*(f"{key}={value}" for key, value in params.items()), *config.hydra.overrides.task])
            for run in runs:
                RunDirectory(run.directory).refuse_other_config(run.config)
            _refuse_missing_parents(runs)
            plan = Path(config.hydra.sweep.dir, PLAN)
            known = read_json(plan) if plan.is_file() else []
            write_json(plan, known + [str(r.directory) for r in runs if str(r.directory) not in known])
            self.runs = [RunDirectory(run.directory) for run in runs]
            print(
                f"{len(runs)} runs in {plan.parent}; what they print goes to console.log in their directories",
                flush=True,
            )

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Ends the process with exit code 1 when a run failed."""
        states = [run.state() for run in self.runs]
        counts = ", ".join(f"{states.count(state)} {state}" for state in State if state in states)
        print(f"{config.hydra.sweep.dir}: {counts}", flush=True)
        for run, state in zip(self.runs, states, strict=True):
            if state is State.FAILED:
                print(f"  {run.path}: {read_json(run.failure)['error']}\n    see {run.console}", flush=True)
            elif state is State.BROKEN:
                print(f"  {run.path}: stopped in the middle\n    see {run.console}", flush=True)
        if any(state in (State.FAILED, State.BROKEN, State.WAITING) for state in states):
            print("  the same command again runs just what is missing", flush=True)
            raise SystemExit(1)


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
    coming = {State.RUNNING}
    if HydraConfig.get().runtime.choices["hydra/launcher"] != "basic":
        coming.add(State.WAITING)  # runs side by side: it may start yet; one after another it would have started
    if parent.state() in coming:
        _tell(run, f"waits for {row}")
    while parent.state() in coming:
        time.sleep(every)
    return "" if parent.state() is State.DONE else f"its parent {parent.path} is {parent.state()}"


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
