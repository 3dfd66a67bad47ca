"""What a table has a column for: each kind of column knows how a run gives its number."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from ocnet_pl.record.result import Evaluation, Result, evaluation_key
from ocnet_pl.record.scores import Score

OWN = "own"
"""In place of a protocol: the one that each run was to be tested under, where rows differ in it."""


@dataclass(frozen=True)
class Column(ABC):
    """One number of every run, in per cent.

    Attributes:
        evaluation: where the number is from, as `table.csv` says it.
        metric: which number.
        label: for a heading.
    """

    evaluation: str
    metric: str
    label: str

    @property
    def paper_key(self) -> str | None:
        """Its key in the published tables; None where the paper has no such column."""
        return None

    @abstractmethod
    def value(self, result: Result) -> float:
        """In per cent; NaN where the run has none."""

    @property
    def split(self) -> str | None:
        """The images of the data set that the number is of; None for others."""
        return None

    def evaluation_of(self, result: Result) -> Evaluation | None:
        """The evaluation that says which images the number is of; None where the run has none."""
        return None


@dataclass(frozen=True)
class Tested(Column):
    """A score of a checkpoint on a split under a protocol.

    Attributes:
        protocol: None: the one that each run was to be tested under.
    """

    protocol: str | None

    @property
    def paper_key(self) -> str | None:
        """The paper's numbers are of the last checkpoint, under the table's protocol."""
        of_paper = self.evaluation.startswith("last/") and self.protocol is None
        return f"{self.split}/{self.metric}" if of_paper else None

    @property
    def split(self) -> str:
        return self.evaluation.split("/")[1]

    def key(self, result: Result) -> str:
        """Of the evaluation in the result."""
        checkpoint = self.evaluation.split("/")[0]
        return evaluation_key(checkpoint, self.split, self.protocol or result.protocol)

    def evaluation_of(self, result: Result) -> Evaluation | None:
        return result.evaluations.get(self.key(result))

    def value(self, result: Result) -> float:
        evaluation = self.evaluation_of(result)
        return _percent(getattr(evaluation, self.metric) if evaluation else None)

    def by_class(self, result: Result) -> dict[str, float]:
        """IoU of every class; NaN for one that is neither there nor predicted."""
        evaluation = result.evaluations.get(self.key(result))
        return {name: _percent(share) for name, share in evaluation.iou.items()} if evaluation else {}


@dataclass(frozen=True)
class BestInTraining(Column):
    """The highest mIoU of any validation during training, chosen on the very images it is of."""

    def value(self, result: Result) -> float:
        best = best_validation(result)
        return _percent(best[1] if best else None)

    @property
    def split(self) -> str:
        return self.evaluation.split("/")[1]

    def evaluation_of(self, result: Result) -> Evaluation | None:
        return result.evaluations.get(evaluation_key("last", self.split, result.protocol))


@dataclass(frozen=True)
class OnServer(Column):
    """What a test server said, as it was entered by hand."""

    scores: Mapping[tuple[str, int], float]

    @classmethod
    def of(cls, scores: Iterable[Score]) -> Self:
        """Of those runs that have been scored."""
        by_run = {(score.row, score.seed): score.miou for score in scores}
        return cls("server/test", "miou", "Test (server) mIoU (%)", by_run)

    @property
    def paper_key(self) -> str:
        return "test/miou"

    def value(self, result: Result) -> float:
        return self.scores.get((result.row, result.seed), float("nan"))


def best_validation(result: Result) -> tuple[int, float] | None:
    """Steps done at the best validation of a training, and its mIoU in 0..1; None where there was none."""
    curve = result.curves.get("val/miou", [])
    return max(((step + 1, value) for step, value in curve), key=lambda point: point[1], default=None)


def columns_of(results: Sequence[Result]) -> list[Column]:
    """Training split first, then what was asked for, then what was tested besides, then the best in training."""
    columns: list[Column] = [*_tested(results)]
    if any(best_validation(result) for result in results):
        split = results[0].val_split
        columns.append(BestInTraining(f"curve/{split}", "best_miou", f"{split.capitalize()}, best mIoU (%)"))
    return columns


def _tested(results: Sequence[Result]) -> Iterator[Tested]:
    protocols = {result.protocol for result in results}
    own = protocols.pop() if len(protocols) == 1 else OWN
    found = set()
    for result in results:
        for key in result.evaluations:
            checkpoint, split, protocol = key.split("/")
            found.add((checkpoint, split, own if protocol == result.protocol else protocol))
    for checkpoint, split, protocol in sorted(found, key=lambda k: (k[1] != "train", k[0] != "last", k[2] != own, k)):
        where = split.capitalize() + ("" if protocol in ("whole", OWN) else f", {protocol}")
        where += "" if checkpoint == "last" else f", {checkpoint}.ckpt"
        key, explicit = evaluation_key(checkpoint, split, protocol), None if protocol == own else protocol
        yield Tested(key, "miou", f"{where} mIoU (%)", explicit)
        if split != "train":
            yield Tested(key, "pixel_accuracy", f"{where} pixel acc. (%)", explicit)


def _percent(share: float | None) -> float:
    return float("nan") if share is None else 100 * share
