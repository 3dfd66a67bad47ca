"""What a head costs, as `ocnet-profile` measured it: one line of `profile.csv`."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from ocnet_pl.errors import UserError

FILE_NAME = "profile.csv"
MAPLESS = "mapless"
EXPLICIT = "explicit"


@dataclass(frozen=True)
class Cost:
    """Of one head under one form of attention. A number that could not be had is None.

    Attributes:
        head: its name, as in `conf/model/head/`.
        attention: `MAPLESS`, `EXPLICIT`, or empty for a head without attention.
        parameters: weights of all that was measured.
        multiply_adds: of one forward pass, by the textbook.
        forward_ms: one forward pass in evaluation mode.
        train_step_ms: forward, backward and optimizer step.
        forward_mb: peak memory of the forward pass, 10^6 bytes.
        train_step_mb: peak memory of the training step, 10^6 bytes.
        conditions: machine, versions, network, size, batch and precision, for readers.
    """

    head: str
    attention: str
    parameters: int
    multiply_adds: int
    forward_ms: float | None
    train_step_ms: float | None
    forward_mb: float | None
    train_step_mb: float | None
    conditions: str


def write_costs(path: Path, costs: Sequence[Cost]) -> None:
    """As CSV, one line each; a missing number is empty."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Cost)], lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(cost) for cost in costs)


def read_costs(path: Path) -> list[Cost]:
    """The inverse of `write_costs`.

    Raises:
        UserError: not such a file.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return [_cost(line) for line in csv.DictReader(file)]
    except (KeyError, TypeError, ValueError, csv.Error) as error:
        raise UserError(f"{path}: not a file of ocnet-profile; delete it or run ocnet-profile again") from error


def find_costs(sweep: Path) -> dict[str, Cost]:
    """By head, from the profile inside a sweep's directory or else beside it; empty where there is none.

    Of a head measured under both forms of attention it is the mapless one, which is what training uses.
    """
    path = cost_file(sweep)
    return {cost.head: cost for cost in read_costs(path) if cost.attention != EXPLICIT} if path else {}


def cost_file(sweep: Path) -> Path | None:
    """The profile inside a sweep's directory, or else beside it."""
    paths = (folder / FILE_NAME for folder in (sweep, sweep.parent))
    return next((path for path in paths if path.is_file()), None)


def _cost(line: Mapping[str, str]) -> Cost:
    return Cost(
        head=line["head"],
        attention=line["attention"],
        parameters=int(line["parameters"]),
        multiply_adds=int(line["multiply_adds"]),
        forward_ms=_number(line["forward_ms"]),
        train_step_ms=_number(line["train_step_ms"]),
        forward_mb=_number(line["forward_mb"]),
        train_step_mb=_number(line["train_step_mb"]),
        conditions=line["conditions"],
    )


def _number(text: str) -> float | None:
    return float(text) if text else None
