"""Published numbers and protocols: `experiments/paper.yaml`."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from ocnet_pl.record.result import Result


@cache
def published() -> dict[str, Any]:
    """Content of `paper.yaml` by table. The file lies beside `src/` in a checkout, and inside an installed package."""
    package = Path(__file__).resolve().parents[1]
    for folder in (package, package.parents[1]):
        path = folder / "experiments" / "paper.yaml"
        if path.is_file():
            content: dict[str, Any] = yaml.safe_load(path.read_text())
            return content
    raise FileNotFoundError("ocnet_pl was installed without experiments/paper.yaml: install it again")


def imitated(name: str, results: Sequence[Result]) -> str | None:
    """Published table that a sweep repeats: its namesake, or the `experiment=` of all its runs; None for no table."""
    if name in published():
        return name
    experiments = {result.choices.get("experiment") for result in results}
    only = experiments.pop() if len(experiments) == 1 else None
    return only if only in published() else None


def head_label(head: str) -> str | None:
    """Label of a head in the paper's first table, without the backbone, e.g. `Base-OC`; None for other heads."""
    label = published()["table1"]["rows"].get(head, {}).get("label")
    return None if label is None else str(label).split(maxsplit=1)[1].removeprefix("+ ")
