"""Rows with more or fewer seeds than planned: verdicts hold for a number of seeds that was fixed beforehand."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from ocnet_pl.record.plan import Start
from ocnet_pl.record.result import Result


@dataclass(frozen=True)
class SeedCount:
    """Seeds of a row against its plan.

    Attributes:
        row: name of the row.
        done: number of finished seeds.
        planned: number of seeds that were planned before verdicts could be seen.
        added: number of finished seeds that were started after verdicts could be seen.
    """

    row: str
    done: int
    planned: int
    added: int


def seed_counts(starts: Sequence[Start], results: Sequence[Result]) -> list[SeedCount]:
    """Rows whose seeds were added after verdicts could be seen, or are not finished; empty without a plan.

    Verdicts can be seen when two rows are finished, one of them with two seeds. New rows are no additions.

    Args:
        starts: the commands that planned runs, the earliest first.
        results: all finished runs.
    """
    begun: dict[str, dict[int, datetime | None]] = {}
    for start in starts:
        for run in start.runs:
            row, seed = run.split("/")[-2:]
            begun.setdefault(row, {}).setdefault(int(seed.removeprefix("seed-")), _time(start.started))
    for result in results:
        if result.row in begun:  # a run of its own command has no plan
            finished = _time(result.finished)
            alone = finished - timedelta(seconds=result.seconds) if finished else None
            begun[result.row].setdefault(result.seed, alone)
    return list(_unlike_planned(begun, results))


def _unlike_planned(
    begun: Mapping[str, Mapping[int, datetime | None]], results: Sequence[Result]
) -> Iterable[SeedCount]:
    for row, seeds in begun.items():
        done = {result.seed for result in results if result.row == row}
        first = next(iter(seeds.values()))
        added = {seed for seed, time in seeds.items() if time != first and _seen_at(time, results)}
        if len(done) != len(seeds) or added & done:
            yield SeedCount(row, len(done), len(seeds) - len(added), len(added & done))


def _seen_at(time: datetime | None, results: Sequence[Result]) -> bool:
    """Test whether verdicts could be seen at a time; unknown times count as late."""
    before = [result for result in results if time is None or (_time(result.finished) or time) <= time]
    rows = [result.row for result in before]
    return len(set(rows)) > 1 and len(rows) > len(set(rows))


def _time(text: str) -> datetime | None:
    """Time of an ISO text; None for texts of other kinds."""
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return None
    return time if time.tzinfo else time.replace(tzinfo=UTC)
