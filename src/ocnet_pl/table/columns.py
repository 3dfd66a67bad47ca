"""Columns of a table: each knows how to get its number from a run."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import isclose, isnan
from typing import Self

from ocnet_pl.record.result import Evaluation, Result, evaluation_key
from ocnet_pl.record.scores import Score

_EQUAL = 1e-6
"""Curves have single precision: shares that are as close as this are equal."""

OWN = "own"
"""Stands for each run's own protocol if rows differ in it."""


@dataclass(frozen=True)
class TableColumn(ABC):
    """One number of every run, in per cent.

    Attributes:
        evaluation: source of the number, as in `table.csv`.
        metric: name of the metric, as in `table.csv`.
        label: heading.
        split: split of the data set that the number is computed on; None if it is not known here.
    """

    evaluation: str
    metric: str
    label: str
    split: str | None = None

    @property
    def paper_key(self) -> str | None:
        """Key of the column in the published tables; None if the paper has no such column."""
        return None

    @abstractmethod
    def value(self, result: Result) -> float:
        """Number of a run in per cent; NaN if the run has none."""

    def evaluation_of(self, result: Result) -> Evaluation | None:
        """Evaluation of the images that the number is computed on; None if the run has none."""
        return None


@dataclass(frozen=True)
class EvaluationColumn(TableColumn):
    """Score of a checkpoint on a split under a protocol.

    Attributes:
        checkpoint: name of the checkpoint.
        protocol: name of the protocol; None for the run's own.
    """

    checkpoint: str = "last"
    protocol: str | None = None

    @property
    def paper_key(self) -> str | None:
        """Key of the paper's numbers, which are of the last checkpoint under the table's protocol."""
        of_paper = self.checkpoint == "last" and self.protocol is None
        return f"{self.split}/{self.metric}" if of_paper else None

    def key(self, result: Result) -> str:
        """Key of the evaluation in a result."""
        return result.evaluation_key(self.checkpoint, self.split, self.protocol)

    def evaluation_of(self, result: Result) -> Evaluation | None:
        return result.evaluations.get(self.key(result))

    def value(self, result: Result) -> float:
        evaluation = self.evaluation_of(result)
        return _percent(getattr(evaluation, self.metric) if evaluation else None)

    def class_ious(self, result: Result) -> dict[str, float]:
        """IoU by class in per cent; NaN for a class that neither occurs nor is predicted."""
        evaluation = self.evaluation_of(result) if self.metric == "miou" else None
        return {name: _percent(share) for name, share in evaluation.iou.items()} if evaluation else {}


@dataclass(frozen=True)
class BestValidationColumn(TableColumn):
    """Highest validation mIoU during training, chosen on the same images that it is computed on."""

    def value(self, result: Result) -> float:
        best = best_validation(result)
        return _percent(best[1] if best else None)

    def evaluation_of(self, result: Result) -> Evaluation | None:
        return result.evaluations.get(result.evaluation_key(split=self.split))


@dataclass(frozen=True)
class ServerColumn(TableColumn):
    """Scores of a test server, entered by hand."""

    scores: Mapping[tuple[str, int], float] = field(default_factory=dict)

    @classmethod
    def of(cls, scores: Iterable[Score]) -> Self:
        """Column of the runs that have a score."""
        by_run = {(score.row, score.seed): score.miou for score in scores}
        return cls("server/test", "miou", "Test (server) mIoU (%)", None, by_run)

    @property
    def paper_key(self) -> str:
        return "test/miou"

    def value(self, result: Result) -> float:
        return self.scores.get((result.row, result.seed), float("nan"))


def best_validation(result: Result) -> tuple[int, float] | None:
    """Steps done at the best validation of a training, and its mIoU in 0..1; None without validation."""
    curve = result.curves.get("val/miou", [])
    return max(((step + 1, value) for step, value in curve), key=lambda point: point[1], default=None)


def columns_of(results: Sequence[Result]) -> list[TableColumn]:
    """Columns of a table: training split, tests under the runs' protocol, other tests, best validation.

    The best validation and the best checkpoint have no columns if they are the last in all runs.
    """
    evaluated = list(_evaluated(results))
    columns: list[TableColumn] = [column for column in evaluated if not _repeats_the_last(column, evaluated, results)]
    if any(best_validation(result) for result in results) and not all(map(_last_is_best, results)):
        split = results[0].val_split
        label = f"{_heading(split)} mIoU, best validation (%)"
        columns.append(BestValidationColumn(f"curve/{split}", "best_miou", label, split))
    return columns


def _last_is_best(result: Result) -> bool:
    best, last = best_validation(result), result.evaluations.get(result.evaluation_key())
    return bool(best and last and last.miou is not None and isclose(best[1], last.miou, abs_tol=_EQUAL))


def _repeats_the_last(column: EvaluationColumn, columns: Sequence[EvaluationColumn], results: Sequence[Result]) -> bool:
    """Return whether a column of another checkpoint has the same numbers as that of the last, in all runs."""
    last = next(
        (of for of in columns if of == replace(column, evaluation=of.evaluation, label=of.label, checkpoint="last")),
        None,
    )
    if column.checkpoint == "last" or last is None:
        return False
    values = [(value, last.value(result)) for result in results if not isnan(value := column.value(result))]
    return all(isclose(*pair, abs_tol=100 * _EQUAL) for pair in values)


def _evaluated(results: Sequence[Result]) -> Iterator[EvaluationColumn]:
    protocols = {result.protocol for result in results}
    own = protocols.pop() if len(protocols) == 1 else OWN
    found = set()
    for result in results:
        for key in result.evaluations:
            checkpoint, split, protocol = key.split("/")
            found.add((checkpoint, split, own if protocol == result.protocol else protocol))
    for checkpoint, split, protocol in sorted(found, key=lambda k: (k[1] != "train", k[0] != "last", k[2] != own, k)):
        where = _heading(split) + ("" if protocol in ("whole", OWN) else f", {protocol}")
        where += "" if checkpoint == "last" else f", {checkpoint}.ckpt"
        for metric, words in (("miou", "mIoU"), ("pixel_accuracy", "pixel acc."))[: 1 if split == "train" else 2]:
            key, explicit = evaluation_key(checkpoint, split, protocol), None if protocol == own else protocol
            yield EvaluationColumn(key, metric, f"{where} {words} (%)", split, checkpoint, explicit)


def _heading(split: str) -> str:
    """`needs_object` -> `Needs object`."""
    return split.replace("_", " ").capitalize()


def _percent(share: float | None) -> float:
    return float("nan") if share is None else 100 * share
