"""Validate every run before a sweep starts and summarise the outcome at the end."""

import json
import os
import shutil
import traceback
import uuid
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf

from ocnet_pl.config.compose import readable_config_errors, typed_overrides
from ocnet_pl.config.extras import require_extra
from ocnet_pl.config.places import run_directory
from ocnet_pl.config.validate import refuse_other_places, validate
from ocnet_pl.errors import UserError, one_line_errors
from ocnet_pl.process import CONF_VARIABLE, START_VARIABLE, is_alone, refuse_other_group
from ocnet_pl.record.directory import DATA, RunDirectory, State
from ocnet_pl.record.plan import add_start, runs_of_start
from ocnet_pl.record.result import Result
from ocnet_pl.run.advice import print_advice
from ocnet_pl.sweep.expansion import PlannedRun, expand, refuse_circle, refuse_missing_parents
from ocnet_pl.sweep.launching import CLUSTER_LAUNCHERS, stop_on_interrupt
from ocnet_pl.sweep.search import RESULTS, ends, is_search, require_sweeper


@contextmanager
def _ending_on_errors() -> Iterator[None]:
    """End the process on any error: Hydra would continue with a warning, and start runs that were not checked."""
    with one_line_errors("ocnet-train"):
        try:
            with readable_config_errors():
                yield
        except UserError:
            raise
        except Exception:
            traceback.print_exc()
            raise SystemExit(1) from None


class SweepCallback(Callback):
    """Checks a run, or all runs of a sweep, before anything starts, and summarises a sweep at its end."""

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Check a run before Hydra makes its directory, which a wrong name would put anywhere."""
        with _ending_on_errors():
            # private: Hydra sets its config only after this; the name of the row needs it.
            HydraConfig.instance().set_config(config)
            refuse_other_places(config.hydra, run_directory(config))
            validate(config, typed_overrides(config.hydra))
            refuse_other_group(config.trainer.devices, config.trainer.num_nodes)
            run = RunDirectory(run_directory(config))
            if config.rehearsal and is_alone() and START_VARIABLE not in os.environ:  # a sweep has done so
                _remove_rehearsal(run)
            refuse_circle(run.path, {"parent": config.parent})
            run.create()

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Plan and check all runs of a sweep."""
        with _ending_on_errors():
            launcher = config.hydra.runtime.choices["hydra/launcher"]
            _refuse_missing_cluster(launcher)
            require_sweeper(config.hydra)
            refuse_other_places(config.hydra)
            params = config.hydra.sweeper.get("params") or {}
            overrides = [*(f"{key}={value}" for key, value in params.items()), *typed_overrides(config.hydra)]
            self.searches = is_search(config.hydra)
            self.runs = _one_seed_of_rehearsals(expand(ends(overrides) if self.searches else overrides))
            for run in self.runs:
                if run.config["rehearsal"]:
                    _remove_rehearsal(RunDirectory(run.directory))
                RunDirectory(run.directory).refuse_unwritable()
                RunDirectory(run.directory).refuse_other_config(run.config)
            _refuse_changed_data(self.runs)
            refuse_missing_parents(self.runs)
            self.start = start = uuid.uuid4().hex[:12]
            self.sweeps: dict[Path, list[PlannedRun]] = defaultdict(list)
            for run in self.runs:
                self.sweeps[run.directory.parents[1]].append(run)
            for sweep, runs in self.sweeps.items():
                # A search decides on its runs as it goes; those here are the ends of what it searches.
                add_start(sweep, [] if self.searches else [RunDirectory(run.directory) for run in runs], start)
                count = "search" if self.searches else f"{len(runs)} runs"
                print(f"{count} in {sweep}; output: console.log in the runs' directories", flush=True)
            if launcher not in CLUSTER_LAUNCHERS and self.runs:  # whose machines are others
                print_advice(OmegaConf.create(self.runs[0].config))
            self.end_listening = stop_on_interrupt(launcher)
            _pass_on(config, {START_VARIABLE: start, CONF_VARIABLE: os.environ.get(CONF_VARIABLE, "")})

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Print the summary; end with exit code 1 if a run is not finished."""
        self.end_listening()
        with _ending_on_errors():
            if self.searches:
                self.runs = [
                    PlannedRun((), run.path, run.read_started() or {})
                    for sweep in self.sweeps
                    for run in dict.fromkeys(runs_of_start(sweep, self.start))
                ]
            states = [RunDirectory(run.directory).state() for run in self.runs]
            counts = ", ".join(f"{states.count(state)} {state}" for state in State if state in states)
            print(f"{', '.join(map(str, self.sweeps))}: {counts}", flush=True)
            for sweep in self.sweeps:
                if (sweep / RESULTS).is_file():
                    print(f"best values: {sweep / RESULTS}", flush=True)
            if State.DONE in states and any(run.config.get("rehearsal") for run in self.runs):
                _rehearse_reports(self.sweeps)
            problems = [
                problem for run, state in zip(self.runs, states, strict=True) if (problem := _problem(run, state))
            ]
            for problem in problems:
                print(f"  {problem}", flush=True)
            if problems or any(state in (State.FAILED, State.BROKEN, State.WAITING) for state in states):
                print("  rerun the same command to train the missing runs", flush=True)
                raise SystemExit(1)


def _one_seed_of_rehearsals(runs: Sequence[PlannedRun]) -> list[PlannedRun]:
    """The runs, without the rehearsals of further seeds of a row, which would do the same again."""
    first = {run.directory.parent: run for run in reversed(runs)}
    return [run for run in runs if not run.config["rehearsal"] or run is first[run.directory.parent]]


def _remove_rehearsal(run: RunDirectory) -> None:
    """Delete an earlier rehearsal: it says nothing of today's settings and code."""
    if run.state() is not State.RUNNING and (run.read_started() or {}).get("rehearsal") is True:
        shutil.rmtree(run.path)


def _rehearse_reports(sweeps: Iterable[Path]) -> None:
    """Write the report of each sweep, as `ocnet-report` does."""
    from ocnet_pl.report.files import table_files, write_all
    from ocnet_pl.table import find_tables

    for sweep in sweeps:
        tables, _ = find_tables(sweep)
        write_all({path: text for table in tables for path, text in table_files(table, table.folder, None).items()})
        print(f"rehearsed; nothing of it is a result: ocnet-report {sweep}", flush=True)


def _problem(planned: PlannedRun, state: State) -> str:
    """The error of a run at the end of its sweep, with its log; empty without one."""
    run = RunDirectory(planned.directory)
    try:
        if state is State.FAILED:
            return f"{run.path}: {run.read_failure()}\n    see {run.console}"
        if state is State.BROKEN:
            return f"{run.path}: interrupted\n    see {run.console}"
        if state is State.DONE:
            run.refuse_other_config(planned.config)  # another command may have trained it meanwhile
            Result.read(run.result)
    except UserError as error:
        return str(error)
    return ""


def _refuse_changed_data(runs: Sequence[PlannedRun]) -> None:
    """Compare the images of runs that will be skipped or resumed with those that they recorded.

    Raises:
        UserError: the data set holds other images now.
    """
    begun = [run for run in runs if (run.directory / DATA).is_file()]
    if not begun:
        return
    by_data: dict[str, list[PlannedRun]] = defaultdict(list)
    for run in begun:
        by_data[json.dumps([run.config["dataset"], run.config["evaluate_on"]], sort_keys=True)].append(run)
    from ocnet_pl.record.images import refuse_other_images
    from ocnet_pl.run.preparing import prepare_data

    for sharing in by_data.values():
        _, images = prepare_data(OmegaConf.create(sharing[0].config))
        for run in sharing:
            refuse_other_images(RunDirectory(run.directory), images)


def _pass_on(config: DictConfig, environment: Mapping[str, str]) -> None:
    """Set environment variables in every run of this sweep, under any launcher and on any machine."""
    for name, value in environment.items():
        quoted = value.replace("\\", "\\\\").replace("'", "\\'")
        config.hydra.overrides.hydra.append(f"+hydra.job.env_set.{name}='{quoted}'")


def _refuse_missing_cluster(launcher: str) -> None:
    if launcher not in CLUSTER_LAUNCHERS:
        return
    require_extra(f"hydra/launcher={launcher}", "hydra_plugins.hydra_submitit_launcher", "slurm")
    if shutil.which("srun") is None:
        raise UserError(
            f"hydra/launcher={launcher}: no srun on this machine; start the sweep on a machine that submits SLURM "
            "jobs, or test it here with hydra/launcher=submitit_local"
        )
