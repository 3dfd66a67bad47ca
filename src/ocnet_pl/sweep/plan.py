"""What a sweep was to make: the runs of its `sweep.json`, which is written before the first of them starts."""

from pathlib import Path

from ocnet_pl.run.directory import RunDirectory, read_json

PLAN = "sweep.json"


def planned_runs(sweep: Path) -> list[RunDirectory]:
    """In the order in which they start; empty where there is no plan. The sweep's folder may have moved since."""
    plan = sweep / PLAN
    paths = map(Path, read_json(plan)) if plan.is_file() else ()
    return [RunDirectory(sweep / path.parent.name / path.name) for path in paths]
