"""`result.json`: the scores of a finished run and everything that a table needs to know of it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from ocnet_pl.errors import UserError
from ocnet_pl.metrics import Absent, iou, mean_iou, pixel_accuracy
from ocnet_pl.record.images import SplitImages
from ocnet_pl.record.sealed import Count, FileName, NonNegative, Share, finite_or_none, read_record, write_record

_WHAT = "a result.json that this version of ocnet_pl reads"
_REMEDY = "restore it, or delete it and rerun the ocnet-train command, which tests the network again"


@dataclass(frozen=True)
class Evaluation:
    """Scores of one checkpoint on one split under one protocol, all in 0..1; None where undefined.

    Attributes:
        miou: mean of `iou` over the classes that occur.
        pixel_accuracy: share of labelled pixels that are right.
        iou: IoU by class name; None for a class that neither occurs nor is predicted.
        images: number of images that were evaluated.
        counts: file of the per-image counts beside `result.json`.
        of: number of images of the split; None in results of older versions.
        absent_classes: rule of `miou` for classes that occur neither in truth nor prediction.
        data: hash over names and content of the split's images and labels; None in results of older versions.
        trained_on: number of the split's images that the network was trained on, by this run or its ancestors, compared
            by content; None if unknown.
    """

    miou: Share | None
    pixel_accuracy: Share | None
    iou: dict[str, Share | None]
    images: Count
    counts: FileName | None = None
    of: Count | None = None
    absent_classes: Absent = "skip"
    data: str | None = None
    trained_on: Count | None = None

    def __post_init__(self) -> None:
        # JSON has no NaN.
        object.__setattr__(self, "miou", finite_or_none(self.miou))
        object.__setattr__(self, "pixel_accuracy", finite_or_none(self.pixel_accuracy))
        object.__setattr__(self, "iou", {name: finite_or_none(value) for name, value in self.iou.items()})

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
        """Compute the scores from per-image counts (images, 3, K); `about` are the other fields."""
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


EvaluationKey = Annotated[str, Field(pattern="^[^/]+/[^/]+/[^/]+$")]


def evaluation_key(checkpoint: str, split: str, protocol: str) -> str:
    """Key of an evaluation in a result, e.g. `last/val/whole`."""
    return f"{checkpoint}/{split}/{protocol}"


@dataclass
class Result:
    """Content of a `result.json`.

    Attributes:
        table: name of the sweep.
        row: row of the table.
        seed: seed of the run.
        choices: option chosen in every config group; None for a group that is left out.
        overrides: overrides of the command line.
        config: resolved config.
        config_hash: hash of the settings that determine the numbers.
        commit: commit of the code, with `+changes` if the tree was not clean; None outside a checkout.
        packages: versions of packages.
        device: name of the device.
        processes: number of processes that trained together.
        seconds: training time over all starts.
        peak_memory: bytes, of the GPU if one was used, else of process 0.
        steps: optimizer steps done.
        weights_sha256: hash of all weights; equal for runs that are equal bit for bit.
        parameters: number of weights by part of the network.
        evaluations: scores by `evaluation_key`.
        curves: pairs of step and finite value, by metric.
        samples: names of the validation images drawn under `samples/`.
        finished: ISO time.
        rehearsal: reasons why the run is incomplete, e.g. "trained 3 of 6 steps"; empty for a complete run. Rehearsals
            are listed below a table and never compared.
        data: images of every split that the run read; empty in results of older versions.
        directory: directory of the run; not part of the file.
    """

    table: str
    row: str
    seed: Count
    choices: Mapping[str, str | None]
    overrides: list[str]
    config: dict[str, Any]
    config_hash: str
    commit: str | None
    packages: dict[str, str]
    device: str
    processes: Count
    seconds: NonNegative
    peak_memory: Count
    steps: Count
    weights_sha256: str
    parameters: dict[str, Count]
    evaluations: dict[EvaluationKey, Evaluation]
    curves: dict[str, list[tuple[Count, float]]]
    samples: list[FileName]
    finished: str
    rehearsal: list[str] = field(default_factory=list)
    data: dict[str, SplitImages] = field(default_factory=dict)
    directory: Path = field(default=Path(), compare=False)

    def __post_init__(self) -> None:
        # Older versions logged NaN, which JSON does not have.
        self.curves = {
            name: [(step, value) for step, value in curve if math.isfinite(value)]
            for name, curve in self.curves.items()
        }

    def write(self, path: Path) -> None:
        """Write the result atomically, as JSON with a checksum."""
        content = asdict(self)
        del content["directory"]
        write_record(path, content)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a result of this version or an older one."""
        result = read_record(path, cls, _WHAT, _REMEDY)
        if gap := result._gap():
            raise UserError(f"{path}: not {_WHAT} ({gap}); {_REMEDY}")
        return replace(result, directory=path.parent)

    def _gap(self) -> str | None:
        """First requirement of the readers of a result that this one does not meet."""
        for group in ("dataset", "trainer", "model"):
            if not isinstance(self.config.get(group, {}), Mapping):
                return f"config.{group}: expected a group of settings"
        if not isinstance(self.config.get("parent"), str | None):
            return "config.parent: expected a row"
        missing = [f"choices.{key}" for key in ("model/head", "inference") if not self.choices.get(key)]
        missing += ["parameters.total"] * ("total" not in self.parameters)
        return f"{missing[0]}: missing" if missing else "directory: unknown" if self.directory != Path() else None

    @property
    def name(self) -> str:
        """Name of the run within its sweep: `<row>/seed-<n>`."""
        return f"{self.row}/seed-{self.seed}"

    @property
    def head(self) -> str:
        """Config option of the context head."""
        return str(self.choices["model/head"])

    @property
    def label(self) -> str:
        """Name of the row for readers: the head's label, if recorded and if the row is named after the head."""
        head = self.config.get("model", {}).get("head")
        label = head.get("label") if isinstance(head, Mapping) and self.row == self.head else None
        return str(label or self.row)

    @property
    def planned_steps(self) -> int:
        """Optimizer steps of its schedule; those that it made, if the schedule is not recorded."""
        schedule = self.config.get("schedule")
        planned = schedule.get("max_steps") if isinstance(schedule, Mapping) else None
        return planned if isinstance(planned, int) else self.steps

    @property
    def sweep(self) -> Path:
        """Directory of the sweep."""
        whole = self.directory if len(self.directory.parents) > 1 else self.directory.absolute()
        return whole.parent.parent

    @property
    def protocol(self) -> str:
        """Test protocol of the run."""
        return str(self.choices["inference"])

    @property
    def val_split(self) -> str:
        """Split that the run was validated on."""
        return self._split("val")

    @property
    def train_split(self) -> str:
        """Split that the run was trained on."""
        return self._split("train")

    def _split(self, use: str) -> str:
        return str(self.config.get("dataset", {}).get(f"{use}_split", use))

    def evaluation_key(self, checkpoint: str = "last", split: str | None = None, protocol: str | None = None) -> str:
        """Key of one of its evaluations: by default on the validation split under the run's own protocol."""
        return evaluation_key(checkpoint, split or self.val_split, protocol or self.protocol)

    def counts_file(self, key: str) -> Path | None:
        """File of an evaluation's per-image counts; None if it does not exist."""
        evaluation = self.evaluations.get(key)
        path = self.directory / evaluation.counts if evaluation and evaluation.counts else None
        return path if path and path.is_file() else None
