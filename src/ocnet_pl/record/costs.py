"""Costs of heads as measured by `ocnet-profile`: the lines of `profile.csv`."""

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from ocnet_pl.atomic import write_text
from ocnet_pl.errors import UserError, unusable
from ocnet_pl.escaping import spreadsheet
from ocnet_pl.record.sealed import CHECKSUM, Amount, Whole, checksum, validated

FILE_NAME = "profile.csv"
MAPLESS = "mapless"
EXPLICIT = "explicit"


@dataclass(frozen=True)
class Cost:
    """Cost of one head under one form of attention. Values that could not be measured are None.

    Attributes:
        head: name of the head, as in `conf/model/head/`.
        attention: `MAPLESS`, `EXPLICIT`, or empty for a head without attention.
        parameters: number of weights of the measured network.
        multiply_adds: multiply-adds of one forward pass, with textbook attention.
        forward_ms: time of one forward pass in evaluation mode.
        train_step_ms: time of forward, backward and optimizer step.
        forward_mb: peak memory of the forward pass, 10^6 bytes.
        train_step_mb: peak memory of the training step, 10^6 bytes.
        conditions: machine, versions, network, size, batch and precision, for readers.
        label: name of the head in tables; empty in files of older versions.
    """

    head: str
    attention: str
    parameters: Whole
    multiply_adds: Whole
    forward_ms: Amount | None
    train_step_ms: Amount | None
    forward_mb: Amount | None
    train_step_mb: Amount | None
    conditions: str
    label: str = ""


_WHAT = "a file of ocnet-profile"
_REMEDY = "delete it or run ocnet-profile again"
_COLUMNS = [field.name for field in fields(Cost)]
_NUMBERS = [name for name in _COLUMNS if name not in ("head", "attention", "conditions", "label")]


def write_costs(path: Path, costs: Sequence[Cost]) -> None:
    """Write costs atomically as CSV, one line with a checksum per cost; a missing value is empty."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, [*_COLUMNS, CHECKSUM], lineterminator="\n")
    writer.writeheader()
    for cost in costs:
        cells = {name: "" if value is None else str(value) for name, value in asdict(cost).items()}
        cells |= {name: spreadsheet(cells[name]) for name in _COLUMNS if name not in _NUMBERS}
        writer.writerow({**cells, CHECKSUM: checksum(cells)})
    write_text(path, buffer.getvalue())


def read_costs(path: Path) -> list[Cost]:
    """Read a file of `write_costs`, also of versions without checksums."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            costs = [_cost(path, line) for line in csv.DictReader(file, restkey="more", restval=None, strict=True)]
    except OSError as error:
        raise UserError(unusable(error)) from error
    except (ValueError, csv.Error) as error:  # invalid UTF-8 is a ValueError too
        raise UserError(f"{path}: not {_WHAT} ({error}); {_REMEDY}") from error
    if not costs:
        raise UserError(f"{path}: not {_WHAT} (it has no lines); {_REMEDY}")
    return costs


def find_costs(sweep: Path) -> dict[str, Cost]:
    """Costs by head from the profile inside a sweep's directory or beside it; empty without a profile.

    For a head that was measured under both forms of attention, the memory-efficient one, which training uses.
    """
    path = cost_file(sweep)
    return {cost.head: cost for cost in read_costs(path) if cost.attention != EXPLICIT} if path else {}


def cost_file(sweep: Path) -> Path | None:
    """Path of the profile inside a sweep's directory, or else beside it."""
    paths = (folder / FILE_NAME for folder in (sweep, sweep.parent))
    return next((path for path in paths if path.is_file()), None)


def _cost(path: Path, line: dict[str, str | None]) -> Cost:
    if CHECKSUM in line and line.pop(CHECKSUM) != checksum(line):
        raise UserError(f"{path}: a checksum does not match, so it was changed after it was written; {_REMEDY}")
    numbers = {name: line[name] or "null" for name in _NUMBERS if name in line}
    texts = {name: json.dumps(value) for name, value in line.items() if name not in numbers}
    content = ",".join(f"{json.dumps(name)}:{value}" for name, value in (texts | numbers).items())
    return validated(path, Cost, f"{{{content}}}", _WHAT, _REMEDY)
