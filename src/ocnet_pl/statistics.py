"""What several seeds and many images say: pure functions over arrays."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from ocnet_pl.metrics import Absent, mean_iou


@dataclass(frozen=True)
class Spread:
    """Mean and sample standard deviation (n - 1) of so many values; NaN where they do not exist."""

    mean: float
    sd: float
    n: int


def spread(values: ArrayLike) -> Spread:
    """Of the values that are numbers."""
    array = np.asarray(values, np.float64)
    array = array[~np.isnan(array)]
    mean = float(array.mean()) if array.size else float("nan")
    return Spread(mean, float(array.std(ddof=1)) if array.size > 1 else float("nan"), int(array.size))


def paired_difference(values: dict[int, float], baseline: dict[int, float]) -> Spread:
    """Of the differences to the baseline, seed by seed, over the seeds that both have."""
    return spread([values[seed] - baseline[seed] for seed in sorted(values.keys() & baseline.keys())])


@dataclass(frozen=True)
class Interval:
    """A difference and where it lies with so much confidence.

    Attributes:
        difference: of the means over seeds.
        low, high: bounds.
        seeds: how many pairs of runs it rests on; with one, the spread over seeds is unknown and left out.
        p_value: of so large a difference by chance alone, to either side.
    """

    difference: float
    low: float
    high: float
    seeds: int
    p_value: float = 1.0

    @property
    def significant(self) -> bool:
        """Zero lies outside."""
        return self.low > 0 or self.high < 0


def paired_bootstrap(
    row: NDArray[np.int64],
    baseline: NDArray[np.int64],
    *,
    absent: Absent = "skip",
    confidence: float = 0.95,
    draws: int = 1000,
) -> Interval:
    """Difference of mIoU between two rows, as sure as their seeds and images allow.

    Two things vary and are paired: the images that happen to be in the set, and the seeds. Images are resampled with
    replacement, the same for both rows and all seeds. Three seeds are too few to resample (it would find only two
    thirds of their variance), so theirs enters as the variance of a mean; the two add up, with the degrees of freedom
    of Welch and Satterthwaite.

    Args:
        row: counts (seeds, images, 3, K).
        baseline: counts of the same seeds and images.
        absent: rule of the mIoU for classes that do not occur.
        confidence: of the interval.
        draws: of the bootstrap.
    """
    seeds, images = row.shape[:2]
    by_seed = mean_iou(row.sum(1), absent) - mean_iou(baseline.sum(1), absent)
    generator = np.random.default_rng(0)
    times = generator.multinomial(images, np.full(images, 1 / images), size=draws).astype(np.float64)
    resampled = mean_iou(_weighted(times, row), absent) - mean_iou(_weighted(times, baseline), absent)
    image_variance = float(resampled.mean(1).var(ddof=1))
    seed_variance = 0.0
    if seeds > 1:
        seed_variance = float(by_seed.var(ddof=1) / seeds)
        # Each run's own luck on each image is in both variances: it is taken out of the one that is known better.
        own = float((resampled - by_seed).var(1, ddof=1).mean() / seeds)
        image_variance = max(image_variance - own, 0.0)
    variance = image_variance + seed_variance
    freedom = np.inf
    if seeds > 1 and seed_variance > 0:
        freedom = variance**2 / (seed_variance**2 / (seeds - 1) + image_variance**2 / max(images - 1, 1))
    half = float(stats.t.ppf(0.5 + confidence / 2, freedom) * np.sqrt(variance))
    difference = float(by_seed.mean())
    p_value = 1.0
    if difference:
        p_value = 2 * float(stats.t.sf(abs(difference) / np.sqrt(variance), freedom)) if variance else 0.0
    return Interval(difference, difference - half, difference + half, seeds, p_value)


def holm(p_values: Sequence[float], chance: float = 0.05) -> list[bool]:
    """Which of several comparisons are significant together: the chance of any false one is at most `chance`.

    Holm's step-down procedure (Scandinavian Journal of Statistics, 1979); it asks nothing of how they depend on
    each other, and all comparisons with one baseline do.
    """
    order = sorted(range(len(p_values)), key=lambda i: (np.isnan(p_values[i]), p_values[i]))
    significant = [False] * len(p_values)
    for rank, i in enumerate(order):
        if not p_values[i] <= chance / (len(p_values) - rank):  # NaN is not significant
            break
        significant[i] = True
    return significant


@dataclass(frozen=True)
class ClassMeans:
    """Means over images, class by class, and the mean of those over the classes; all of one shape (classes + 1, ...).

    Attributes:
        mean: the last of the first axis is over the classes; NaN for a class that is in no image.
        low, high: bounds; NaN where fewer than two images have the class.
    """

    mean: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]


def class_means(values: NDArray[np.float64], *, confidence: float = 0.95, draws: int = 1000) -> ClassMeans:
    """Means with a percentile interval each: images are resampled with replacement.

    Args:
        values: (images, classes, ...); NaN where an image does not have the class.
        confidence: of the intervals.
        draws: of the bootstrap.
    """
    images = len(values)
    generator = np.random.default_rng(0)
    times = generator.multinomial(images, np.full(images, 1 / images), size=draws).astype(np.float64)
    mean, resampled = _means(np.ones((1, images)), values)[0], _means(times, values)
    tails = [50 * (1 - confidence), 50 * (1 + confidence)]
    bounds = np.full((2, *mean.shape), np.nan)
    often = (~np.isnan(values)).sum(0) > 1
    known = np.concatenate([often, often.any(0, keepdims=True)])
    if known.any():
        bounds[:, known] = np.nanpercentile(resampled[:, known], tails, axis=0)
    return ClassMeans(mean, *bounds)


def _means(times: NDArray[np.float64], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of resampled sets: (draws, images) and (images, classes, ...) -> (draws, classes + 1, ...)."""
    there = ~np.isnan(values)
    total = np.tensordot(times, np.where(there, values, 0), 1)
    means = _quotient(total, np.tensordot(times, there.astype(np.float64), 1))
    known = ~np.isnan(means)
    overall = _quotient(np.where(known, means, 0).sum(1, keepdims=True), known.sum(1, keepdims=True))
    return np.concatenate([means, overall], 1)


def _quotient(total: NDArray[np.float64], count: NDArray[Any]) -> NDArray[np.float64]:
    return np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)


def _weighted(times: NDArray[np.float64], counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Counts of resampled sets: (draws, images) and (seeds, images, 3, K) -> (draws, seeds, 3, K)."""
    seeds, images = counts.shape[:2]
    flat = counts.transpose(1, 0, 2, 3).reshape(images, -1).astype(np.float64)
    return (times @ flat).reshape(len(times), seeds, *counts.shape[2:])
