"""What the attention of a trained head looks at, as `ocnet-explore measure` found it: a file beside `result.json`."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Annotated, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from ocnet_pl.errors import UserError
from ocnet_pl.record.result import Result
from ocnet_pl.record.sealed import Finite, Share, Whole, read_record, write_record
from ocnet_pl.statistics import Spread, class_means, spread

METRICS = ("own", "uniform", "gain", "entropy", "distance", "uniform_distance", "ignored")
"""Of a pixel's weights, all in 0..1. Of what falls on labelled pixels, the share on pixels of its own class (`own`),
the same for equal weights (`uniform`), and their difference (`gain`); entropy, divided by that of equal weights; mean
distance to the pixel in diagonals of the image, and that of equal weights; the share that falls on ignored pixels."""


@dataclass(frozen=True)
class Estimate:
    """A mean over images and its 95 % interval; None where too few images have one."""

    value: Finite | None
    low: Finite | None
    high: Finite | None


_WHAT = "a measure of this version of ocnet_pl"
_REMEDY = "delete it and measure again"

Estimates = dict[str, Estimate]
"""By metric."""


@dataclass(frozen=True)
class MapKind:
    """Attention map of a head.

    Attributes:
        name: name for readers, e.g. "2x2 cells".
        reach: share of the positions that it reaches from one position.
    """

    name: str
    reach: Share


@dataclass(frozen=True)
class MapContext:
    """Measure of one map of a head.

    Attributes:
        overall: mean over the classes, each counting the same as in mIoU.
        classes: estimates of the classes that occur, by name.
        name: name of the map for readers.
        reach: share of the positions that the map reaches from one position.
        grid: in files of older versions, cells per side of the partition that the map stays in.
    """

    overall: Estimates
    classes: dict[str, Estimates]
    name: str = "whole image"
    reach: Share = 1.0
    grid: Whole | None = None

    def __post_init__(self) -> None:
        if self.grid is not None and self.grid > 1:
            object.__setattr__(self, "name", f"{self.grid}x{self.grid} cells")
            object.__setattr__(self, "reach", 1 / self.grid**2)


@dataclass(frozen=True)
class Setting:
    """What decides the numbers of a measure.

    Attributes:
        weights_sha256: of the network, as in `result.json`.
        split: of the data set.
        images: how many of its first ones.
        pixels: drawn in each image from each of its classes.
        seed: of the draw.
    """

    weights_sha256: str
    split: str
    images: Whole
    pixels: Whole
    seed: int


@dataclass(frozen=True)
class ContextMeasure:
    """Of one checkpoint on one split."""

    head: str
    setting: Setting
    maps: Annotated[list[MapContext], Field(min_length=1)]

    @classmethod
    def of(
        cls, head: str, setting: Setting, classes: Sequence[str], kinds: Sequence[MapKind], values: NDArray[np.float64]
    ) -> Self:
        """Measure from the means of every image, (maps, images, classes, metrics); NaN: no such class in an image."""
        maps = []
        for kind, of_map in zip(kinds, values, strict=True):
            means = class_means(of_map)
            by_name = [
                {
                    metric: Estimate(*(_number(bound[row, i]) for bound in (means.mean, means.low, means.high)))
                    for i, metric in enumerate(METRICS)
                }
                for row in range(len(classes) + 1)
            ]
            there = {name: one for name, one in zip(classes, by_name, strict=False) if one["own"].value is not None}
            maps.append(MapContext(by_name[-1], there, kind.name, kind.reach))
        return cls(head, setting, maps)

    @property
    def widest(self) -> MapContext:
        """The map that reaches furthest, which heads are compared by: in Pyramid-OC that over the whole image."""
        return max(self.maps, key=lambda one: one.reach)

    def write(self, path: Path) -> None:
        """Write it as JSON with a checksum, whole or not at all."""
        write_record(path, asdict(self))

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a measure; raises `UserError`: the file is damaged, or of another kind."""
        measure = read_record(path, cls, _WHAT, _REMEDY)
        for one in measure.maps:
            if any(set(estimates) != set(METRICS) for estimates in (one.overall, *one.classes.values())):
                raise UserError(f"{path}: not {_WHAT} (maps: other numbers than {', '.join(METRICS)}); {_REMEDY}")
        return measure


def context_file(run: Path, checkpoint: str, split: str) -> Path:
    """Where a run keeps the measure of one of its checkpoints: `context-last-val.json`."""
    return run / f"context-{checkpoint}-{split}.json"


@dataclass(frozen=True)
class OnOwnClass:
    """The share on a pixel's own class, and that of equal weights: mean and spread over the seeds of a row."""

    share: Spread
    uniform: Spread


def on_own_class(measures: Iterable[ContextMeasure]) -> OnOwnClass | None:
    """Over the measures of a row's runs; None where there are none."""
    found = [measure.widest.overall for measure in measures]
    if not found:
        return None
    share, uniform = (spread([_or_nan(one[metric].value) for one in found]) for metric in ("own", "uniform"))
    return OnOwnClass(share, uniform)


def measure_beside(result: Result) -> ContextMeasure | None:
    """That of a run's last checkpoint on its validation split; None where it was not measured as it is now."""
    path = context_file(result.directory, "last", result.val_split)
    measure = ContextMeasure.read(path) if path.is_file() else None
    return measure if measure and measure.setting.weights_sha256 == result.weights_sha256 else None


def differences(before: Setting, now: Setting) -> list[str]:
    """`pixels 10, now 20`."""
    told = {"weights_sha256": "other weights"}
    pairs = ((f.name, getattr(before, f.name), getattr(now, f.name)) for f in fields(Setting))
    return [told.get(name, f"{name} {old}, now {new}") for name, old, new in pairs if old != new]


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else value


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
