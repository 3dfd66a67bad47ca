"""Training curves: the CSV files of every start of a run, joined by step."""

import csv
from collections import defaultdict
from pathlib import Path

Curves = dict[str, list[tuple[int, float]]]


def log_version(step: int) -> str:
    """Folder of the log of a start from `step`: `step-000120`."""
    return f"step-{step:06d}"


def step_of(log: Path) -> int:
    """Step that the folder of a log starts from: 120 of `step-000120`."""
    return int(log.name.removeprefix("step-"))


def read_curves(logs: Path) -> Curves:
    """By metric, pairs of step and value. Where a resume repeats steps, the later start counts."""
    starts = sorted(logs.glob("step-*/metrics.csv"), key=lambda path: step_of(path.parent))
    bounds = [step_of(path.parent) for path in starts]
    curves: dict[str, dict[int, float]] = defaultdict(dict)
    for i, path in enumerate(starts):
        end = min(bounds[i + 1 :], default=None)
        with path.open(newline="") as file:
            for row in csv.DictReader(file):
                step = int(row.pop("step"))
                row.pop("epoch", None)
                if end is None or step < end:
                    for name, value in row.items():
                        if value:
                            curves[name][step] = float(value)
    return {name: sorted(curve.items()) for name, curve in curves.items()}


def last_logged_step(log: Path) -> int | None:
    """Steps done at the last whole line of a `metrics.csv` that is being written; None before there is one."""
    whole = [line for line in log.read_text().splitlines(keepends=True) if line.endswith("\n")]
    steps = [int(row["step"]) for row in csv.DictReader(whole) if (row.get("step") or "").isdecimal()]
    return max(steps) + 1 if steps else None
