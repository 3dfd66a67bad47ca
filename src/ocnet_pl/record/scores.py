"""Scores of a test server: typed in, and kept with their date in the sweep's `scores.json`."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from ocnet_pl.atomic import refuse_unwritable
from ocnet_pl.errors import UserError
from ocnet_pl.record.result import Found, Result, find_results
from ocnet_pl.record.sealed import Amount, Whole, read_record, write_records

FILE_NAME = "scores.json"
_WHAT = "a file of ocnet-report --score"
_REMEDY = "restore it, or delete it and enter the scores again"
_FORM = "write <table>/<row>=<mIoU>, for example table2/ohem=78.9"


@dataclass(frozen=True)
class Score:
    """What a server said of the predictions of one run.

    Attributes:
        row, seed: of the run.
        miou: in per cent.
        entered: ISO time.
        weights_sha256: of the network, so that the score does not pass to another one in the same place.
    """

    row: str
    seed: Whole
    miou: Amount
    entered: str
    weights_sha256: str


def enter_scores(folder: Path, texts: Sequence[str]) -> list[Path]:
    """Adds scores to those of their sweeps; all of them or none. What was entered before stays in the file.

    Args:
        folder: of a sweep, or of several.
        texts: `<table>/<row>=<mIoU>`, or `<table>/<row>/seed-<n>=<mIoU>` where several seeds are finished.

    Returns:
        The files that were written.

    Raises:
        UserError: not of this form, no such run, or a number that is none.
    """
    found = find_results(folder)
    entered: dict[Path, list[Score]] = {}
    for text in texts:
        place, equals, number = text.rpartition("=")
        if not equals:
            raise UserError(f"--score {text}: {_FORM}")
        run = _find(folder, found, place)
        score = Score(
            run.row, run.seed, _miou(text, number), datetime.now(UTC).isoformat(timespec="seconds"), run.weights_sha256
        )
        entered.setdefault(run.sweep / FILE_NAME, []).append(score)
    contents = {path: [*_read(path), *scores] for path, scores in entered.items()}
    refuse_unwritable(*contents)
    for path, scores in contents.items():
        write_records(path, [asdict(score) for score in scores])
    return list(contents)


def newest_scores(sweep: Path, results: Sequence[Result]) -> list[Score]:
    """The last one entered of every finished run, of the weights that it still has."""
    weights = {(result.row, result.seed): result.weights_sha256 for result in results}
    kept = [s for s in _read(sweep / FILE_NAME) if weights.get((s.row, s.seed)) == s.weights_sha256]
    return list({(score.row, score.seed): score for score in kept}.values())


def _read(path: Path) -> list[Score]:
    """All that were ever entered, oldest first."""
    if not path.is_file():
        return []
    scores = read_record(path, list[Score], _WHAT, _REMEDY)
    if not scores:  # none was ever written so
        raise UserError(f"{path}: not {_WHAT} (no score in it); {_REMEDY}")
    return scores


def _find(folder: Path, found: Found, place: str) -> Result:
    results = found.results
    table, _, rest = place.partition("/")
    row, _, seed = rest.partition("/")
    if not row:
        raise UserError(f"--score {place}: {_FORM}")
    of_table = [result for result in results if result.table == table]
    if not of_table:
        names = ", ".join(dict.fromkeys(result.table for result in results)) or "none"
        also = "".join(f"; {why}" for why in found.unreadable.values())
        raise UserError(f"--score {place}: no finished run of {table} below {folder}; tables there: {names}{also}")
    of_row = [result for result in of_table if result.row == row]
    if not of_row:
        names = ", ".join(dict.fromkeys(result.row for result in of_table))
        also = "".join(f"; {why}" for why in found.unreadable.values())
        raise UserError(f"--score {place}: {table} has no finished row {row}; it has {names}{also}")
    of_run = [result for result in of_row if seed in ("", f"seed-{result.seed}")]
    if len(of_run) != 1:
        runs = ", ".join(f"{table}/{row}/seed-{result.seed}" for result in of_row)
        raise UserError(f"--score {place}: say whose predictions the server scored, one of {runs}")
    return of_run[0]


def _miou(text: str, number: str) -> float:
    try:
        value = float(number)
    except ValueError:
        value = math.nan
    if not 1 < value <= 100:  # below, it is a share or nothing that any server has said
        raise UserError(f"--score {text}: {number!r} is no mIoU in per cent; write a number such as 78.9")
    return value
