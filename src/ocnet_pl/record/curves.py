"""Training curves: the CSV files of all starts of a run, joined by step."""

import csv
import math
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from ocnet_pl.errors import UserError

Curves = dict[str, list[tuple[int, float]]]
"""Pairs of step and value, by metric."""

SPEED = "images/s"
"""Column of `metrics.csv` that is no curve: it is another one in every repetition of a run."""


def log_version(step: int) -> str:
    """Log folder of a start from `step`: `step-000120`."""
    return f"step-{step:06d}"


def start_of(log: Path) -> int | None:
    """Step from which a start began: 120 for the folder `step-000120`; None for another folder."""
    found = re.fullmatch(r"step-(\d{1,18})", log.name)
    return int(found[1]) if found else None


def read_curves(logs: Path) -> Curves:
    """Join the curves of all starts. Where a resumed run repeats steps, the later start replaces the earlier one.

    Non-finite values, such as the mIoU of images without labels, are left out.
    """
    starts = sorted(
        (start, path) for path in logs.glob("*/metrics.csv") if (start := start_of(path.parent)) is not None
    )
    curves: dict[str, dict[int, float]] = defaultdict(dict)
    for i, (_, path) in enumerate(starts):
        end = starts[i + 1][0] if i + 1 < len(starts) else math.inf
        for step, values in _lines(path):
            if step < end:
                for name, value in values.items():
                    curves[name][step] = value
    return {name: sorted(curve.items()) for name, curve in curves.items()}


def last_logged_step(log: Path) -> int | None:
    """Number of steps done at the last complete line of a `metrics.csv`; None if no line is complete."""
    steps = [int(row["step"]) for row in _rows(log) if re.fullmatch(r"\d{1,18}", row.get("step") or "")]
    return max(steps) + 1 if steps else None


def _lines(path: Path) -> Iterator[tuple[int, dict[str, float]]]:
    """Step and finite values of every line."""
    for number, row in enumerate(_rows(path), 2):
        try:
            step = int(row.pop("step"))
            for name in ("epoch", SPEED):
                row.pop(name, None)
            values = {name: float(text) for name, text in row.items() if text}
        except (ValueError, TypeError, KeyError) as error:
            raise _damaged(path, f"line {number}") from error
        yield step, {name: value for name, value in values.items() if math.isfinite(value)}


def _rows(path: Path) -> list[dict[str, str]]:
    """Complete lines by column; a line that a killed process left unfinished is dropped."""
    try:
        text = path.read_text(encoding="utf-8")
        return list(csv.DictReader(text[: text.rfind("\n") + 1].splitlines(keepends=True)))
    except (UnicodeDecodeError, csv.Error) as error:
        raise _damaged(path, str(error)) from error


def _damaged(path: Path, where: str) -> UserError:
    return UserError(
        f"{path}: damaged ({where}); restore it, or delete it and rerun the same command, which then finishes the run "
        "without these curves"
    )
