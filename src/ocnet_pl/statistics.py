"""Statistics over seeds and over the differences between two rows of a table."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from ocnet_pl.metrics import Absent, mean_iou


@dataclass(frozen=True)
class MeanSD:
    """Mean and sample standard deviation (n - 1) of n values; NaN where undefined."""

    mean: float
    sd: float
    n: int


def mean_sd(values: ArrayLike) -> MeanSD:
    """Mean and standard deviation of the values that are not NaN."""
    array = np.asarray(values, np.float64)
    array = array[~np.isnan(array)]
    mean = float(array.mean()) if array.size else float("nan")
    return MeanSD(mean, float(array.std(ddof=1)) if array.size > 1 else float("nan"), int(array.size))


def paired_difference(values: dict[int, float], baseline: dict[int, float]) -> MeanSD:
    """Differences to the baseline, seed by seed, over the seeds that both have."""
    return mean_sd([values[seed] - baseline[seed] for seed in sorted(values.keys() & baseline.keys())])


@dataclass(frozen=True)
class Interval:
    """Confidence interval of a difference between two rows.

    Attributes:
        difference: difference of the means over seeds.
        low, high: bounds.
        seeds: number of paired runs; with a single pair, the variance over seeds is unknown and left out.
        p_value: two-sided p-value of the difference.
    """

    difference: float
    low: float
    high: float
    seeds: int
    p_value: float = 1.0

    @property
    def significant(self) -> bool:
        """True if the interval excludes zero."""
        return self.low > 0 or self.high < 0


def paired_bootstrap(
    row: NDArray[np.int64],
    baseline: NDArray[np.int64],
    *,
    absent: Absent = "skip",
    confidence: float = 0.95,
    draws: int = 1000,
) -> Interval:
    """Confidence interval of the difference in mIoU between two rows, over their seeds and images.

    Both sources of variance are paired. Images are resampled with replacement, the same ones for both rows and all
    seeds. Three seeds are too few to resample (a bootstrap would find two thirds of their variance), so they enter as
    the variance of a mean. The two variances are added; Welch and Satterthwaite give the degrees of freedom.

    Args:
        row: counts (seeds, images, 3, K).
        baseline: counts of the same seeds and images.
        absent: rule of the mIoU for classes that do not occur.
        confidence: confidence level of the interval.
        draws: number of bootstrap samples.
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
        # The variance of one run on one image is part of both variances: it is subtracted from the better known one.
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
    """Significance of several comparisons together: the family-wise error rate is at most `chance`.

    Holm's step-down procedure (Scandinavian Journal of Statistics, 1979). It allows any dependence between the
    comparisons; those with one baseline are dependent.
    """
    order = sorted(range(len(p_values)), key=lambda i: (np.isnan(p_values[i]), p_values[i]))
    significant = [False] * len(p_values)
    for rank, i in enumerate(order):
        if not p_values[i] <= chance / (len(p_values) - rank):  # NaN is not significant
            break
        significant[i] = True
    return significant


def _weighted(times: NDArray[np.float64], counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Counts of the resampled sets: (draws, images) and (seeds, images, 3, K) -> (draws, seeds, 3, K)."""
    seeds, images = counts.shape[:2]
    flat = counts.transpose(1, 0, 2, 3).reshape(images, -1).astype(np.float64)
    return (times @ flat).reshape(len(times), seeds, *counts.shape[2:])
