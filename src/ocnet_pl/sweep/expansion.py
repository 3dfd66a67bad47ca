"""Expansion of a sweep into runs, composed and checked before the first one starts."""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper  # private: Hydra's own expansion of a sweep
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser

from ocnet_pl.config.compose import compose, plain, readable_config_errors
from ocnet_pl.config.places import run_directory
from ocnet_pl.config.validate import validate
from ocnet_pl.errors import UserError
from ocnet_pl.record.directory import RunDirectory, State
from ocnet_pl.record.identity import Plain


@dataclass(frozen=True)
class PlannedRun:
    """One run of a sweep: its overrides, directory and config."""

    overrides: tuple[str, ...]
    directory: Path
    config: Plain


def expand(overrides: Sequence[str]) -> list[PlannedRun]:
    """Compose and check all runs of a sweep, in the order in which they start.

    Args:
        overrides: as typed, those of the experiment's sweeper first; the last one of a setting counts. Interpolations
            are resolved for each run.

    Raises:
        UserError: a run that cannot be composed or trained, or two runs that would share a directory.
    """
    with readable_config_errors(sweeps=True):
        hydra = GlobalHydra.instance().hydra  # private: while a command is at work, it expands glob(*)
        loader = None if hydra is None else hydra.config_loader
        parsed = OverridesParser.create(config_loader=loader).parse_overrides(list(overrides))
        (jobs,) = BasicSweeper.split_arguments(parsed, max_batch_size=None)
    composed = [compose(*job) for job in jobs]
    runs = []
    seen: set[str] = set()
    for job, config in zip(jobs, composed, strict=True):
        validate(config, () if seen.issuperset(job) else job)  # which composes again: once for each override
        seen.update(job)
        runs.append(PlannedRun(tuple(job), run_directory(config), plain(config)))
    _refuse_shared_directories(runs)
    return runs


def _refuse_shared_directories(runs: Sequence[PlannedRun]) -> None:
    by_directory = defaultdict(list)
    for run in runs:
        by_directory[run.directory].append(run)
    for directory, sharing in by_directory.items():
        if len(sharing) == 1:
            continue
        typed = [[override.lstrip("+").partition("=") for override in run.overrides] for run in sharing]
        settings = [{key: value for key, _, value in words} for words in typed]
        swept = [key for key in settings[0] if len({one.get(key) for one in settings}) > 1]
        if not swept:
            raise UserError(f"{directory}: planned {len(sharing)} times by this sweep; list every value once")
        parts = [f"{re.split(r'[./]', key.partition('@')[0])[-1]}-{_interpolation(key)}" for key in swept]
        raise UserError(
            f"{len(sharing)} runs of this sweep would share {directory}: give every row its own name, "
            f"e.g. 'row={'-'.join(parts)}'"
        )


def _interpolation(key: str) -> str:
    return "${hydra:runtime.choices." + key + "}" if "/" in key else "${" + key + "}"


def refuse_missing_parents(runs: Sequence[PlannedRun]) -> None:
    """Check that every parent is finished, being trained, or part of the same sweep.

    Raises:
        UserError: a parent is none of these, or a row starts from itself, directly or through other rows.
    """
    configs = {run.directory: run.config for run in runs}
    for run in runs:
        refuse_circle(run.directory, run.config, configs)
        if run.config["parent"] is None:
            continue
        parent = RunDirectory(run.directory).sibling(run.config["parent"])
        if parent.path not in configs and parent.state() not in (State.DONE, State.RUNNING):
            raise UserError(
                f"{run.directory}: starts from {parent.path}, which is {parent.state()} and not part of this sweep; "
                f"train it first (ocnet-train experiment={parent.path.parents[1].name}), or add its row to this sweep"
            )


def refuse_circle(directory: Path, config: Plain, coming: Mapping[Path, Plain] = MappingProxyType({})) -> None:
    """Follow a run's parents until a run without a parent.

    Args:
        directory: directory of the run.
        config: config of the run.
        coming: configs of other runs of the same sweep; those of all others are read from their directories.

    Raises:
        UserError: the run starts from itself, directly or through other rows.
    """
    chain, following = [directory], config
    while (row := following.get("parent")) is not None:
        parent = RunDirectory(chain[-1]).sibling(str(row))
        if parent.path in chain:
            rows = " -> ".join(path.parent.name for path in [*chain, parent.path])
            raise UserError(
                f"parent={config['parent']}: a row cannot start from itself ({rows}); choose another parent="
            )
        chain.append(parent.path)
        following = coming.get(parent.path) or parent.read_started() or {}
