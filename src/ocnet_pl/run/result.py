"""`result.json`: what a finished run says of itself. Reports, dashboards and notebooks read only this."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ocnet_pl.errors import UserError
from ocnet_pl.metrics import Absent, iou, mean_iou, pixel_accuracy
from ocnet_pl.run.directory import read_json, write_json


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

    miou: float | None
    pixel_accuracy: float | None
    iou: dict[str, float | None]
    images: int
    counts: str | None = None
    of: int | None = None
    absent_classes: Absent = "skip"
    data: str | None = None
    trained_on: int | None = None

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
            miou=_number(mean_iou(total, absent_classes)),
            pixel_accuracy=_number(pixel_accuracy(total)),
            iou={name: _number(value) for name, value in zip(classes, iou(total), strict=True)},
            images=len(counts),
            counts=counts_file,
            absent_classes=absent_classes,
            **about,
        )

    @property
    def whole(self) -> bool:
        """True when every image of the split was evaluated; assumed of results that do not say."""
        return self.of is None or self.images == self.of


def evaluation_key(checkpoint: str, split: str, protocol: str) -> str:
    """Name of an evaluation in a result, for example `last/val/whole`."""
    return f"{checkpoint}/{split}/{protocol}"


@dataclass
class Result:
    """Everything a table needs to know of one run.

    Attributes:
        table: the sweep's name.
        row: of the table.
        seed: of the run.
        choices: option chosen in every config group.
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
        curves: by metric, pairs of step and value.
        samples: names of the validation images drawn under `samples/`.
        finished: ISO time.
        rehearsal: why the run is not a whole one, e.g. "trained 3 of 6 steps"; empty for a whole run. A rehearsal is
            shown as one and never compared.
    """

    table: str
    row: str
    seed: int
    choices: dict[str, str]
    overrides: list[str]
    config: dict[str, Any]
    config_hash: str
    commit: str | None
    packages: dict[str, str]
    device: str
    processes: int
    seconds: float
    peak_memory: int
    steps: int
    weights_sha256: str
    parameters: dict[str, int]
    evaluations: dict[str, Evaluation]
    curves: dict[str, list[tuple[int, float]]]
    samples: list[str]
    finished: str
    rehearsal: list[str] = field(default_factory=list)
    directory: Path = field(default=Path(), compare=False)

    def write(self, path: Path) -> None:
        """As JSON, whole or not at all."""
        content = asdict(self)
        del content["directory"]
        write_json(path, content)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Raises: UserError: not a result of this version."""
        content = read_json(path)
        names = {f.name for f in fields(cls)} - {"directory"}
        if not isinstance(content, dict) or set(content) != names:
            raise UserError(f"{path}: not a result.json of this version of ocnet_pl; run it again under another name=")
        content["evaluations"] = {key: Evaluation(**value) for key, value in content["evaluations"].items()}
        return cls(**content, directory=path.parent)

    @property
    def head(self) -> str:
        """Name of the context head."""
        return self.choices["model/head"]

    @property
    def sweep(self) -> Path:
        """Directory of the sweep that it is of."""
        return self.directory.parents[1]

    @property
    def protocol(self) -> str:
        """Name of the protocol that it was to be tested under."""
        return self.choices["inference"]

    @property
    def val_split(self) -> str:
        """The images that it was validated on."""
        return str(self.config.get("dataset", {}).get("val_split", "val"))

    def counts_file(self, key: str) -> Path | None:
        """Of an evaluation, the counts of every image; None where they are not kept."""
        evaluation = self.evaluations.get(key)
        path = self.directory / evaluation.counts if evaluation and evaluation.counts else None
        return path if path and path.is_file() else None

    def trained_on(self, split: str) -> bool:
        """Whether it learned from the images of a split that is there to test it."""
        learned = self.config.get("dataset", {}).get("train_split", "train")
        return split != "train" and (learned == split or (learned, split) == ("trainval", "val"))


def read_results(folder: Path) -> list[Result]:
    """All finished runs below a folder, by row and seed."""
    return sorted(
        (Result.read(path) for path in sorted(folder.rglob("result.json"))),
        key=lambda result: (result.table, result.row, result.seed),
    )


def _number(value: Any) -> float | None:
    return None if math.isnan(value) else float(value)
