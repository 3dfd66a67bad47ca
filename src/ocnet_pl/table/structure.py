"""A table, its rows and its cells."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from ocnet_pl.errors import UserError
from ocnet_pl.record.context import OnOwnClass
from ocnet_pl.record.costs import Cost
from ocnet_pl.record.result import Result
from ocnet_pl.record.scores import Score
from ocnet_pl.statistics import Interval, Spread, holm
from ocnet_pl.table.columns import Column
from ocnet_pl.table.deviations import Deviation

T = TypeVar("T")


@dataclass(frozen=True)
class Cell:
    """Ours and the paper's.

    Attributes:
        values: by seed.
        ours: mean and spread over seeds.
        difference: to the baseline row, paired by seed; None in that row itself, and where the number is no test.
        interval: where that difference lies, from the counts of every image; None where that is not known.
        unknown: why it is not; None where it is, or where there is no difference.
        paper: published mean and standard deviation; None where there is none.
        seen: (images, of images) of the number that the row was trained on; (0, 0) where none, or where the column is
            meant to show training images.
        trained_on: so many were seen that the number tests nothing.
        stand_in: score on the validation images, for a cell of a test set that has none; else None.
    """

    values: dict[int, float]
    ours: Spread
    difference: Spread | None = None
    interval: Interval | None = None
    unknown: str | None = None
    paper: tuple[float, float | None] | None = None
    seen: tuple[int, int] = (0, 0)
    trained_on: bool = False
    stand_in: Spread | None = None


@dataclass
class Notes:
    """What is in the folder of a sweep and not in its table, a line each.

    Attributes:
        unreadable: files that are damaged or cannot be opened, and what to do.
        copies: directories that hold the result of another run.
    """

    unreadable: list[str] = field(default_factory=list)
    copies: list[str] = field(default_factory=list)

    def readable(self, read: Callable[[], T], otherwise: T) -> T:
        """Return what `read` reads; where it is damaged, keep the reason and return something else."""
        try:
            return read()
        except UserError as error:
            if str(error) not in self.unreadable:
                self.unreadable.append(str(error))
            return otherwise


@dataclass
class Row:
    """One line of a table.

    Attributes:
        name: of the row, as in the run directories; empty for other people's rows, which only the paper has.
        label: for readers.
        results: finished runs by seed.
        unfinished: state of the planned runs that are not done, by seed; "unreadable" where a result is damaged,
            "rehearsal" where it is of a part of the steps or images.
        lineage: those runs, and the ones that they started from, of this sweep or another.
        cells: one for every column of the table.
        cost: of the row's head; None where no profile has it.
        context: what its attention looks at; None where it was not measured.
    """

    name: str
    label: str
    results: dict[int, Result]
    unfinished: dict[int, str]
    lineage: list[Result] = field(default_factory=list)
    cells: list[Cell] = field(default_factory=list)
    cost: Cost | None = None
    context: OnOwnClass | None = None


@dataclass
class Table:
    """One sweep, laid out as the paper lays it out.

    Attributes:
        name: of the sweep.
        title: the paper's, where it is one of its tables.
        folder: of the sweep.
        columns: of every row, in order.
        rows: ours, then other people's.
        baseline: name of the row that the others are compared with; None where there is none.
        imitates: name of the paper's table that stands beside it; None for a table of its own.
        deviations: from the protocol of that table.
        unlike: what differs between runs that are averaged, in words.
        scores: of a test server, the newest of every run.
        rehearsals: runs that are not whole; they are named, and in no cell.
        notes: what could not be read, and what is not counted.
    """

    name: str
    title: str
    folder: Path
    columns: list[Column]
    rows: list[Row]
    baseline: str | None
    imitates: str | None = None
    deviations: list[Deviation] = field(default_factory=list)
    unlike: list[str] = field(default_factory=list)
    scores: list[Score] = field(default_factory=list)
    rehearsals: list[Result] = field(default_factory=list)
    notes: Notes = field(default_factory=Notes)

    @property
    def main_column(self) -> int:
        """The one that ranks: mIoU of the validation split under the table's protocol, or else the first of a test."""
        keys = [column.paper_key for column in self.columns]
        validated = [f"{result.val_split}/miou" for result in self.results]
        tests = [i for i, column in enumerate(self.columns) if column.split != "train"]
        return next((keys.index(key) for key in validated if key in keys), (tests or [0])[0])

    @property
    def results(self) -> list[Result]:
        """All finished runs, by row and seed."""
        return [row.results[seed] for row in self.rows for seed in sorted(row.results)]

    @property
    def comparisons(self) -> dict[str, bool]:
        """By row: whether its difference is significant when all differences of the main column are looked at."""
        intervals = {row.name: row.cells[self.main_column].interval for row in self.rows}
        known = {name: interval.p_value for name, interval in intervals.items() if interval}
        return dict(zip(known, holm(list(known.values())), strict=True))

    @property
    def profiled(self) -> str | None:
        """Under which conditions the heads' costs were measured; None where no row has any, or of other networks."""
        return None if self.profiled_otherwise else next((row.cost.conditions for row in self.rows if row.cost), None)

    @property
    def profiled_otherwise(self) -> Row | None:
        """The first row whose profiled network has another number of weights than the trained one."""
        for row in self.rows:
            if row.cost and any(run.parameters["total"] != row.cost.parameters for run in row.results.values()):
                return row
        return None

    @property
    def unfinished(self) -> list[str]:
        """`row/seed-n: state` of everything that is missing."""
        return [f"{row.name}/seed-{seed}: {state}" for row in self.rows for seed, state in row.unfinished.items()]
