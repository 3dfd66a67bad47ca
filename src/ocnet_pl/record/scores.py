"""Scores of a test server, entered by hand and kept with their date in the sweep's `scores.json`."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from ocnet_pl.atomic import refuse_unwritable
from ocnet_pl.errors import UserError
from ocnet_pl.record.finding import Found, find_results
from ocnet_pl.record.result import Result
from ocnet_pl.record.sealed import Amount, Whole, read_record, write_record

FILE_NAME = "scores.json"
_WHAT = "a file of ocnet-report --score"
_REMEDY = "restore it, or delete it and enter the scores again"
_FORM = "write <table>/<row>=<mIoU>, e.g. table2/ohem=78.9"


@dataclass(frozen=True)
class Score:
    """Score of one run's predictions on a test server.

    Attributes:
        row, seed: row and seed of the run.
        miou: mIoU in per cent.
        entered: ISO time.
        weights_sha256: hash of the network's weights, so that the score does not apply to a network trained later.
    """

    row: str
    seed: Whole
    miou: Amount
    entered: str
    weights_sha256: str


def enter_scores(folder: Path, texts: Sequence[str]) -> list[Path]:
    """Add scores to the files of their sweeps, all or none. Earlier scores are kept in the files.

    Args:
        folder: directory of one or more sweeps.
        texts: `<table>/<row>=<mIoU>`, or `<table>/<row>/seed-<n>=<mIoU>` if several seeds are finished.

    Returns:
        Paths of the files that were written.

    Raises:
        UserError: a text is not of this form, no such run exists, or a value is not an mIoU.
    """
    found = find_results(folder)
    entered: dict[Path, list[Score]] = {}
    for text in texts:
        place, equals, value = text.rpartition("=")
        if not equals:
            raise UserError(f"--score {text}: {_FORM}")
        run, now = _run_of(folder, found, place), datetime.now(UTC).isoformat(timespec="seconds")
        score = Score(run.row, run.seed, _miou(text, value), now, run.weights_sha256)
        entered.setdefault(run.sweep / FILE_NAME, []).append(score)
    contents = {path: [*_read(path), *scores] for path, scores in entered.items()}
    refuse_unwritable(*contents)
    for path, scores in contents.items():
        write_record(path, [asdict(score) for score in scores])
    return list(contents)


def newest_scores(sweep: Path, results: Sequence[Result]) -> list[Score]:
    """Latest score of every finished run; scores of other weights are left out."""
    weights = {(result.row, result.seed): result.weights_sha256 for result in results}
    kept = [s for s in _read(sweep / FILE_NAME) if weights.get((s.row, s.seed)) == s.weights_sha256]
    return list({(score.row, score.seed): score for score in kept}.values())


def _read(path: Path) -> list[Score]:
    """All scores ever entered, oldest first."""
    if not path.is_file():
        return []
    scores = read_record(path, list[Score], _WHAT, _REMEDY)
    if not scores:  # never written like this
        raise UserError(f"{path}: not {_WHAT} (it contains no score); {_REMEDY}")
    return scores


def _run_of(folder: Path, found: Found, place: str) -> Result:
    table, row, seed = (*place.split("/", 2), "", "")[:3]
    if not row:
        raise UserError(f"--score {place}: {_FORM}")
    unreadable = "".join(f"; {why}" for why in found.unreadable.values())
    of_table = [result for result in found.results if result.table == table]
    if not of_table:
        tables = ", ".join(dict.fromkeys(result.table for result in found.results)) or "none"
        raise UserError(f"--score {place}: no finished run of {table} below {folder}; found: {tables}{unreadable}")
    of_row = [result for result in of_table if result.row == row]
    if not of_row:
        rows = ", ".join(dict.fromkeys(result.row for result in of_table))
        raise UserError(f"--score {place}: {table} has no finished row {row}; it has {rows}{unreadable}")
    of_run = [result for result in of_row if seed in ("", f"seed-{result.seed}")]
    if len(of_run) != 1:
        runs = ", ".join(f"{table}/{result.name}" for result in of_row)
        raise UserError(f"--score {place}: several runs, or no such seed; choose the scored run, one of {runs}")
    return of_run[0]


def _miou(text: str, value: str) -> float:
    try:
        miou = float(value)
    except ValueError:
        miou = math.nan
    if not 1 < miou <= 100:  # a smaller value is a share, or not a score of any server
        raise UserError(f"--score {text}: {value!r} is not a valid mIoU in percent; write e.g. 78.9")
    return miou
