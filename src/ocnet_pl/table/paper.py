"""The published numbers and protocols, `experiments/paper.yaml`."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from ocnet_pl.record.result import Result


@cache
def published() -> dict[str, Any]:
    """By table; beside `src/` in a checkout and inside the package in a wheel."""
    package = Path(__file__).resolve().parents[1]
    for folder in (package, package.parents[1]):
        path = folder / "experiments" / "paper.yaml"
        if path.is_file():
            content: dict[str, Any] = yaml.safe_load(path.read_text())
            return content
    raise FileNotFoundError("ocnet_pl was installed without experiments/paper.yaml: install it again")


def imitated(name: str, results: Sequence[Result]) -> str | None:
    """The published table that a sweep repeats: the one it is named after, or that `experiment=` says of every run."""
    if name in published():
        return name
    experiments = {result.choices.get("experiment") for result in results}
    only = experiments.pop() if len(experiments) == 1 else None
    return only if only in published() else None
