"""All runs of a sweep, composed before the first of them starts, and what is refused then."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser

from ocnet_pl.config import compose, plain, readable_config_errors
from ocnet_pl.config_values import refuse_impossible, refuse_other_kinds
from ocnet_pl.errors import UserError
from ocnet_pl.run.identity import Plain


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
        UserError: a run that cannot be composed or that no run can be, or two that would share a directory.
    """
    with readable_config_errors():
        hydra = GlobalHydra.instance().hydra  # while a command is at work it knows what glob(*) stands for
        loader = None if hydra is None else hydra.config_loader
        parsed = OverridesParser.create(config_loader=loader).parse_overrides(list(overrides))
        (jobs,) = BasicSweeper.split_arguments(parsed, max_batch_size=None)
    composed = [compose(*job) for job in jobs]
    runs = []
    seen: set[str] = set()
    for job, one in zip(jobs, composed, strict=True):
        if not seen.issuperset(job):  # to compose takes a while, and the runs of a sweep say much the same
            refuse_other_kinds(one, job)
        seen.update(job)
        refuse_impossible(one)
        config = plain(one)
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
