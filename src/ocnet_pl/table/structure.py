"""A table, its rows and its cells."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self, TypeVar

from ocnet_pl.errors import UserError
from ocnet_pl.record.context import OnOwnClass
from ocnet_pl.record.costs import Cost
from ocnet_pl.record.finding import FoundResults
from ocnet_pl.record.result import Result
from ocnet_pl.record.scores import Score
from ocnet_pl.statistics import CHANCE, Interval, MeanSD, holm
from ocnet_pl.table.analysis import Analysis
from ocnet_pl.table.columns import TableColumn
from ocnet_pl.table.deviations import Deviation
from ocnet_pl.table.seed_counts import SeedCount

T = TypeVar("T")


@dataclass(frozen=True)
class Cell:
    """Our number and the paper's.

    Attributes:
        values: numbers by seed.
        ours: mean and standard deviation over seeds, each set of weights once.
        difference: difference to the baseline's mean, in points; None for the baseline, and if it is not a test.
        interval: interval of the difference, in points, from the per-image counts; None if unknown.
        unknown: reason why the interval is unknown; None if it is known, or there is no difference.
        paper: published mean and standard deviation; None if the paper has no number.
        seen: (images, of images) of the number that the row was trained on; (0, 0) for none, or if the column is meant
            to show training images.
        trained_on: True if too many images were seen for the number to be a test.
        stand_in: score on the validation images, for a test set without a score; else None.
    """

    values: dict[int, float]
    ours: MeanSD
    difference: float | None = None
    interval: Interval | None = None
    unknown: str | None = None
    paper: tuple[float, float | None] | None = None
    seen: tuple[int, int] = (0, 0)
    trained_on: bool = False
    stand_in: MeanSD | None = None


@dataclass
class Notes:
    """Files in the folder of a sweep that are not in its table, one line each.

    Attributes:
        unreadable: files that are damaged or cannot be opened, and what to do.
        copies: directories that hold the result of another run.
    """

    unreadable: list[str] = field(default_factory=list)
    copies: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, found: FoundResults) -> Self:
        """Notes on the unreadable results and the copies among found results."""
        copies = [f"{path}: not counted, because it is a copy of {run}" for path, run in found.copies.items()]
        return cls(list(found.unreadable.values()), copies)

    def readable(self, read: Callable[[], T], otherwise: T) -> T:
        """Return what `read` returns; on a `UserError`, add its message to the notes and return `otherwise`."""
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
        name: row name in the run directories; empty for a row of the paper that is not ours.
        label: name for readers.
        results: finished runs by seed.
        unfinished: state of the other planned runs by seed; "unreadable" for a damaged result, "rehearsal" for an
            incomplete run.
        lineage: the finished runs and their ancestors, of this sweep or another.
        cells: one cell per column of the table.
        own_recipe: what the authors of the row's system published under a recipe of their own, if the table shows it:
            number in per cent, and its conditions.
        cost: cost of the row's head; None if it was not profiled.
        context: attention on the own class; None if it was not measured.
    """

    name: str
    label: str
    results: dict[int, Result]
    unfinished: dict[int, str]
    lineage: list[Result] = field(default_factory=list)
    cells: list[Cell] = field(default_factory=list)
    own_recipe: tuple[float, str] | None = None
    cost: Cost | None = None
    context: OnOwnClass | None = None

    @property
    def counted(self) -> list[Result]:
        """Finished runs by seed, without those that have exactly the weights of an earlier seed."""
        copied = self.same_weights
        return [self.results[seed] for seed in sorted(self.results) if seed not in copied]

    @property
    def same_weights(self) -> dict[int, int]:
        """Seeds whose network has exactly the weights of an earlier seed, and that seed."""
        first: dict[str, int] = {}
        found = {seed: first.setdefault(self.results[seed].weights_sha256, seed) for seed in sorted(self.results)}
        return {seed: earlier for seed, earlier in found.items() if earlier != seed}


@dataclass
class Table:
    """One sweep in the layout of the paper.

    Attributes:
        name: name of the sweep.
        title: title of the paper's table if the sweep repeats one, else the name.
        folder: folder of the sweep.
        columns: columns of every row, in order.
        rows: our rows, then the paper's others.
        baseline: name of the row that the others are compared with; None without one.
        imitates: name of the paper's table that the sweep repeats; None if it repeats none.
        protocol_of: whose protocol that is, in words: "the paper", or another for tables that the paper lacks.
        deviations: differences from that protocol.
        unlike: differences between runs that are averaged, in words.
        unlike_rows: labels of the rows whose runs differ so.
        block: number of neighbouring images that are left out together.
        seed_counts: rows that have more or fewer seeds than planned.
        analysis: comparisons of the main column beyond those with the baseline; None without per-image counts.
        scores: scores of a test server, the latest of every run.
        rehearsals: incomplete runs, which are listed below the table and in no cell.
        notes: files that could not be read or are not counted.
    """

    name: str
    title: str
    folder: Path
    columns: list[TableColumn]
    rows: list[Row]
    baseline: str | None
    imitates: str | None = None
    protocol_of: str = "the paper"
    deviations: list[Deviation] = field(default_factory=list)
    unlike: list[str] = field(default_factory=list)
    unlike_rows: set[str] = field(default_factory=set)
    block: int = 1
    seed_counts: list[SeedCount] = field(default_factory=list)
    analysis: Analysis | None = None
    scores: list[Score] = field(default_factory=list)
    rehearsals: list[Result] = field(default_factory=list)
    notes: Notes = field(default_factory=Notes)

    @property
    def main_column(self) -> int:
        """Index of the column that ranks: validation mIoU under the table's protocol, or else the first test."""
        keys = [column.paper_key for column in self.columns]
        validated = [f"{result.val_split}/miou" for result in self.results]
        tests = [i for i, column in enumerate(self.columns) if column.split != "train"]
        return next((keys.index(key) for key in validated if key in keys), (tests or [0])[0])

    @property
    def results(self) -> list[Result]:
        """All finished runs, by row and seed."""
        return [row.results[seed] for row in self.rows for seed in sorted(row.results)]

    def p_holm(self, column: int) -> dict[str, float]:
        """p-values of all differences in a column together (Holm), by row name; without those that decide nothing."""
        intervals = {row.name: row.cells[column].interval for row in self.rows}
        known = {name: interval.p_value for name, interval in intervals.items() if interval and interval.decides}
        return dict(zip(known, holm(list(known.values())), strict=True))

    def significant(self, column: int) -> dict[str, bool]:
        """Significance of each row's difference in a column after Holm's correction, by row name."""
        return {name: p_value <= CHANCE for name, p_value in self.p_holm(column).items()}

    @property
    def profiled(self) -> str | None:
        """Conditions under which the heads' costs were measured; None without any, or if of other networks."""
        return None if self.profiled_otherwise else next((row.cost.conditions for row in self.rows if row.cost), None)

    @property
    def profiled_otherwise(self) -> Row | None:
        """First row whose profiled network differs from the trained one in its number of weights."""
        for row in self.rows:
            if row.cost and any(run.parameters["total"] != row.cost.parameters for run in row.results.values()):
                return row
        return None

    @property
    def unfinished(self) -> list[str]:
        """`<row>/seed-<n>: <state>` of every missing run."""
        return [f"{row.name}/seed-{seed}: {state}" for row in self.rows for seed, state in row.unfinished.items()]
