"""Around runs: all is checked before anything starts, and at the end of a multirun it is told what became of it."""

import shutil
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from ocnet_pl.config_values import refuse_impossible, refuse_other_kinds
from ocnet_pl.errors import UserError, one_line_errors
from ocnet_pl.run.directory import RunDirectory, State, read_json, write_json
from ocnet_pl.sweep.expansion import PlannedRun, expand
from ocnet_pl.sweep.launching import CLUSTER_LAUNCHERS
from ocnet_pl.sweep.plan import PLAN


@contextmanager
def _no_way_on() -> Iterator[None]:
    """Hydra goes on with a warning when a callback raises; what was not checked must not start."""
    try:
        yield
    except UserError:
        raise
    except Exception:
        traceback.print_exc()
        raise SystemExit(1) from None


class SweepCallback(Callback):
    """Checks a run, or all of a multirun, before anything starts, and tells at a multirun's end what became of it."""

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Before Hydra makes the run's directory, which a wrong name would put anywhere."""
        with one_line_errors("ocnet-train"), _no_way_on():
            HydraConfig.instance().set_config(config)  # for the name of the row; Hydra does so a moment later
            refuse_other_kinds(config, list(config.hydra.overrides.task))
            refuse_impossible(config)

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


def _refuse_missing_cluster(launcher: str) -> None:
    cluster = launcher in CLUSTER_LAUNCHERS
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
