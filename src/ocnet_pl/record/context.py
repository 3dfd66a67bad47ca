"""Attention measures of a trained head, written by `ocnet-explore measure` beside `result.json`."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Annotated, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from ocnet_pl.errors import UserError
from ocnet_pl.record.class_means import class_means
from ocnet_pl.record.result import Result
from ocnet_pl.record.sealed import Finite, Share, Whole, read_record, write_record
from ocnet_pl.statistics import MeanSD, mean_sd

METRICS = ("own", "uniform", "gain", "entropy", "distance", "uniform_distance", "ignored")
"""Metrics of a pixel's attention, all in 0..1.

`own`: share of the attention on labelled pixels that falls on the pixel's own class; `uniform`: the same for uniform
attention; `gain`: their difference. `entropy`: relative to uniform attention. `distance`: mean distance to the pixel in
image diagonals; `uniform_distance`: the same for uniform attention. `ignored`: share on ignored pixels.
"""


@dataclass(frozen=True)
class Estimate:
    """Mean over images and its 95 % interval; None if too few images have a value."""

    value: Finite | None
    low: Finite | None
    high: Finite | None


_WHAT = "a measure of this version of ocnet_pl"
_REMEDY = "delete it and measure again"

Estimates = dict[str, Estimate]
"""Estimates by metric."""


@dataclass(frozen=True)
class MapKind:
    """Kind of an attention map.

    Attributes:
        name: name for readers, e.g. "2x2 cells".
        reach: share of all positions that a position attends to.
    """

    name: str
    reach: Share


@dataclass(frozen=True)
class MapContext:
    """Measure of one attention map of a head.

    Attributes:
        overall: mean over the classes, each with equal weight as in mIoU.
        classes: estimates by class name; classes that do not occur are left out.
        name: name of the map for readers.
        reach: share of all positions that a position attends to.
        grid: cells per side of the map's partition; only in files of older versions, in place of name and reach.
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
    """Settings that determine the numbers of a measure.

    Attributes:
        weights_sha256: hash of the network's weights, as in `result.json`.
        split: split of the data set.
        images: number of images, from the start of the split.
        pixels: number of pixels drawn per image and class.
        seed: seed of the draw.
    """

    weights_sha256: str
    split: str
    images: Whole
    pixels: Whole
    seed: int


@dataclass(frozen=True)
class ContextMeasure:
    """Attention measure of one checkpoint on one split."""

    head: str
    setting: Setting
    maps: Annotated[list[MapContext], Field(min_length=1)]

    @classmethod
    def of(
        cls, head: str, setting: Setting, classes: Sequence[str], kinds: Sequence[MapKind], values: NDArray[np.float64]
    ) -> Self:
        """Average per-image values (maps, images, classes, metrics); NaN if an image does not have the class."""
        maps = []
        for kind, of_map in zip(kinds, values, strict=True):
            means = class_means(of_map)
            bounds = np.stack([means.mean, means.low, means.high], -1)  # (classes + 1, metrics, 3)
            *by_class, overall = [
                {metric: Estimate(*map(_number, three)) for metric, three in zip(METRICS, row, strict=True)}
                for row in bounds
            ]
            known = {name: one for name, one in zip(classes, by_class, strict=True) if one["own"].value is not None}
            maps.append(MapContext(overall, known, kind.name, kind.reach))
        return cls(head, setting, maps)

    @property
    def widest(self) -> MapContext:
        """Map with the greatest reach, by which heads are compared: in Pyramid-OC that of the whole image."""
        return max(self.maps, key=lambda one: one.reach)

    def write(self, path: Path) -> None:
        """Write the measure atomically, as JSON with a checksum."""
        write_record(path, asdict(self))

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a measure."""
        measure = read_record(path, cls, _WHAT, _REMEDY)
        for one in measure.maps:
            if any(set(estimates) != set(METRICS) for estimates in (one.overall, *one.classes.values())):
                raise UserError(f"{path}: not {_WHAT} (maps: metrics other than {', '.join(METRICS)}); {_REMEDY}")
        return measure


def context_file(run: Path, checkpoint: str, split: str) -> Path:
    """Path of the measure of one of a run's checkpoints: `context-last-val.json`."""
    return run / f"context-{checkpoint}-{split}.json"


@dataclass(frozen=True)
class OnOwnClass:
    """Share of the attention on a pixel's own class, and that of uniform attention, over the seeds of a row."""

    share: MeanSD
    uniform: MeanSD

    @classmethod
    def over_seeds(cls, measures: Iterable[ContextMeasure]) -> Self | None:
        """Average the measures of a row's runs; None without any."""
        found = [measure.widest.overall for measure in measures]
        if not found:
            return None
        return cls(*(mean_sd([_or_nan(one[metric].value) for one in found]) for metric in ("own", "uniform")))


def measure_beside(result: Result) -> ContextMeasure | None:
    """Measure of a run's last checkpoint on its validation split; None if there is no measure of its weights."""
    path = context_file(result.directory, "last", result.val_split)
    measure = ContextMeasure.read(path) if path.is_file() else None
    return measure if measure and measure.setting.weights_sha256 == result.weights_sha256 else None


def differences(before: Setting, now: Setting) -> list[str]:
    """Settings that differ: `pixels 10, now 20`."""
    words = {"weights_sha256": "other weights"}
    pairs = ((f.name, getattr(before, f.name), getattr(now, f.name)) for f in fields(Setting))
    return [words.get(name, f"{name} {old}, now {new}") for name, old, new in pairs if old != new]


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else value


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
