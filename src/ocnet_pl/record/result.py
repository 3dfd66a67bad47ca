"""`result.json`: what a finished run says of itself. Reports, dashboards and notebooks read only this."""

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from ocnet_pl.errors import UserError, unusable
from ocnet_pl.metrics import Absent, iou, mean_iou, pixel_accuracy
from ocnet_pl.record.directory import own_place
from ocnet_pl.record.sealed import Amount, FileName, Share, Whole, read_record, write_record

_NAME = "result.json"
_REMEDY = "restore it, or delete it and rerun the ocnet-train command, which tests the network again"


@dataclass(frozen=True)
class Evaluation:
    """Scores of one checkpoint on one split under one protocol, all in 0..1.

    Attributes:
        miou: mean of `iou` over the classes that occur.
        pixel_accuracy: share of labelled pixels that are right.
        iou: by class name; None for a class that is neither there nor predicted.
        images: how many were evaluated.
        counts: file of the per-image counts beside `result.json`.
        of: images of the split; None in results of older versions.
        absent_classes: rule of `miou` for classes that occur neither in truth nor prediction.
        data: hash over names and content of the split's images and labels; None in results of older versions.
        trained_on: how many of the split's images the network was trained on, by this run or by one that it started
            from, decided by their content; None where that is not known.
    """

    miou: Share | None
    pixel_accuracy: Share | None
    iou: dict[str, Share | None]
    images: Whole
    counts: FileName | None = None
    of: Whole | None = None
    absent_classes: Absent = "skip"
    data: str | None = None
    trained_on: Whole | None = None

    def __post_init__(self) -> None:
        # JSON has no NaN: a score that does not exist is None.
        object.__setattr__(self, "miou", _number(self.miou))
        object.__setattr__(self, "pixel_accuracy", _number(self.pixel_accuracy))
        object.__setattr__(self, "iou", {name: _number(value) for name, value in self.iou.items()})

    @classmethod
    def of_counts(
        cls,
        counts: NDArray[np.int64],
        classes: Sequence[str],
        counts_file: str | None = None,
        *,
        absent_classes: Absent = "skip",
        **about: Any,
    ) -> Self:
        """Scores from per-image counts (images, 3, K); `about` are the other fields."""
        total = counts.sum(0)
        return cls(
            miou=float(mean_iou(total, absent_classes)),
            pixel_accuracy=float(pixel_accuracy(total)),
            iou={name: float(value) for name, value in zip(classes, iou(total), strict=True)},
            images=len(counts),
            counts=counts_file,
            absent_classes=absent_classes,
            **about,
        )

    @property
    def whole(self) -> bool:
        """True when every image of the split was evaluated; assumed of results that do not say."""
        return self.of is None or self.images == self.of


EvaluationKey = Annotated[str, Field(pattern="^[^/]+/[^/]+/[^/]+$")]


def evaluation_key(checkpoint: str, split: str, protocol: str) -> str:
    """Name of an evaluation in a result, for example `last/val/whole`."""
    return f"{checkpoint}/{split}/{protocol}"


@dataclass(frozen=True)
class SplitImages:
    """Images of a split as a run found them.

    Attributes:
        images: how many.
        sha256: hash over the names and the content of images and labels.
    """

    images: Whole
    sha256: str


@dataclass
class Result:
    """Everything a table needs to know of one run.

    Attributes:
        table: the sweep's name.
        row: of the table.
        seed: of the run.
        choices: option chosen in every config group; None in a group that is left out.
        overrides: as typed.
        config: resolved.
        config_hash: of all in it that decides numbers.
        commit: of the code, with `+changes` when the tree was not clean; None outside a checkout.
        packages: versions.
        device: what it ran on.
        processes: how many trained together.
        seconds: of training, over all starts.
        peak_memory: bytes, of the GPU where there is one, else of process 0.
        steps: optimizer steps done.
        weights_sha256: of all weights, so that two runs can be told equal bit for bit.
        parameters: number of weights by part of the network.
        evaluations: by `evaluation_key`.
        curves: by metric, pairs of step and finite value.
        samples: names of the validation images drawn under `samples/`.
        finished: ISO time.
        rehearsal: why the run is not a whole one, e.g. "trained 3 of 6 steps"; empty for a whole run. A rehearsal is
            shown as one and never compared.
        data: images of every split that the run read; empty in results of older versions.
    """

    table: str
    row: str
    seed: Whole
    choices: Mapping[str, str | None]
    overrides: list[str]
    config: dict[str, Any]
    config_hash: str
    commit: str | None
    packages: dict[str, str]
    device: str
    processes: Whole
    seconds: Amount
    peak_memory: Whole
    steps: Whole
    weights_sha256: str
    parameters: dict[str, Whole]
    evaluations: dict[EvaluationKey, Evaluation]
    curves: dict[str, list[tuple[Whole, float]]]
    samples: list[FileName]
    finished: str
    rehearsal: list[str] = field(default_factory=list)
    data: dict[str, SplitImages] = field(default_factory=dict)
    directory: Path = field(default=Path(), compare=False)

    def __post_init__(self) -> None:
        # JSON has no NaN: a value that does not exist, as older versions logged it, is left out.
        self.curves = {
            name: [(step, value) for step, value in curve if math.isfinite(value)]
            for name, curve in self.curves.items()
        }

    def write(self, path: Path) -> None:
        """Write it as JSON with a checksum, whole or not at all."""
        content = asdict(self)
        del content["directory"]
        write_record(path, content)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a result of this version or an older one.

        Raises:
            UserError: the file cannot be read, is not a result, or was changed after it was written.
        """
        result = read_record(path, cls, "a result.json that this version of ocnet_pl reads", _REMEDY)
        if gap := result._gap():
            raise UserError(f"{path}: not a result.json that this version of ocnet_pl reads ({gap}); {_REMEDY}")
        return replace(result, directory=path.parent)

    def _gap(self) -> str | None:
        """What every reader of a result relies on, and this one lacks."""
        for group in ("dataset", "trainer", "model"):
            if not isinstance(self.config.get(group, {}), Mapping):
                return f"config.{group}: a group of settings is expected"
        if not isinstance(self.config.get("parent"), str | None):
            return "config.parent: a row is expected"
        missing = [f"choices.{key}" for key in ("model/head", "inference") if not self.choices.get(key)]
        missing += ["parameters.total"] * ("total" not in self.parameters)
        return f"{missing[0]}: missing" if missing else "directory: unknown" if self.directory != Path() else None

    @property
    def head(self) -> str:
        """Name of the context head."""
        return str(self.choices["model/head"])

    @property
    def label(self) -> str:
        """Name of its row for readers: the head's label where the row is named after the head."""
        label = self.config.get("model", {}).get("head", {}).get("label") if self.row == self.head else None
        return str(label or self.row)

    @property
    def sweep(self) -> Path:
        """Directory of the sweep that it is of."""
        whole = self.directory if len(self.directory.parents) > 1 else self.directory.absolute()
        return whole.parent.parent

    @property
    def protocol(self) -> str:
        """Name of the protocol that it was to be tested under."""
        return str(self.choices["inference"])

    @property
    def val_split(self) -> str:
        """The images that it was validated on."""
        return str(self.config.get("dataset", {}).get("val_split", "val"))

    @property
    def train_split(self) -> str:
        """Split that it was trained on."""
        return str(self.config.get("dataset", {}).get("train_split", "train"))

    def counts_file(self, key: str) -> Path | None:
        """Of an evaluation, the counts of every image; None where they are not kept."""
        evaluation = self.evaluations.get(key)
        path = self.directory / evaluation.counts if evaluation and evaluation.counts else None
        return path if path and path.is_file() else None

    def trained_on(self, split: str) -> bool:
        """Whether it learned from the images of a split that is there to test it."""
        learned = self.train_split
        return split != "train" and (learned == split or (learned, split) == ("trainval", "val"))


@dataclass
class Found:
    """Results below a folder.

    Attributes:
        results: of the runs, by table, row and seed.
        unreadable: by the directory of a run, why its result cannot be read; or a folder that cannot be opened.
        copies: directories with the result of a run that has its place elsewhere, and which run that is.
    """

    results: list[Result] = field(default_factory=list)
    unreadable: dict[Path, str] = field(default_factory=dict)
    copies: dict[Path, str] = field(default_factory=dict)


def find_results(folder: Path) -> Found:
    """Read all finished runs below a folder, through links too. A damaged result hides no other."""
    found = Found()
    if ".." in folder.parts:  # the folders above a run must be named by its path
        folder = Path(os.path.abspath(folder))  # noqa: PTH100 (links stay as they are)
    for path in _result_files(folder, found.unreadable):
        try:
            result = Result.read(path)
        except UserError as error:
            found.unreadable[path.parent] = str(error)
            continue
        if own_place(path.parent, result.table, result.row, result.seed):
            found.results.append(result)
        else:
            found.copies[path.parent] = f"{result.row}/seed-{result.seed}"
    found.results.sort(key=lambda result: (result.table, result.row, result.seed))
    return found


def read_results(folder: Path) -> list[Result]:
    """Read all finished runs below a folder, by table, row and seed.

    Raises:
        UserError: one of them cannot be read.
    """
    found = find_results(folder)
    if found.unreadable:
        raise UserError(next(iter(found.unreadable.values())))
    return found.results


def _result_files(folder: Path, unreadable: dict[Path, str]) -> Iterator[Path]:
    """Every `result.json` in and below a folder, in order; `Path.rglob` does not follow links before Python 3.13."""
    waiting: list[tuple[Path, frozenset[Path]]] = [(folder, frozenset())]
    while waiting:
        here, above = waiting.pop()
        try:
            real = here.resolve()
            if real in above:  # a link to a folder around it
                continue
            inside = sorted(here.iterdir())
            folders = [path for path in inside if path.is_dir()]
        except OSError as error:
            unreadable[here] = unusable(error)
            continue
        yield from (path for path in inside if path.name == _NAME)
        waiting += [(path, above | {real}) for path in reversed(folders)]


def _number(value: float | None) -> float | None:
    return float(value) if value is not None and math.isfinite(value) else None
