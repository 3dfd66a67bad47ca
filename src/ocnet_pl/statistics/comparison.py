"""Interval and p-value of the difference between two rows of a table.

How much a row varies over seeds is taken from its own seeds, as if it had two more with the average spread of the
table: with three seeds alone, a small spread found by chance would be taken at its word. A row that certainly varies
more than the others borrows nothing. How much images matter is found by leaving each out in turn, as if there were two
more with the average influence of the table; this counts where few images decide. Both variances add up; the part that
both contain is counted once.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from ocnet_pl.statistics.jackknife import ImageVariance

VERSION = 3
"""Version of the comparison, for `table.csv`. Version 1 resampled images and paired seeds. Version 2 took the images'
variance from the two rows alone, and let every row borrow."""

BORROWED_SEEDS = 2
"""Number of seeds of the table's average spread that a row's own seeds are joined with."""

BORROWED_IMAGES = 2
"""Degrees of freedom of the table's average influence of images that those of a pair of rows are joined with."""

_LIKE_THE_OTHERS = 0.01
"""A row borrows nothing if seeds like the others' would vary as much as its own with a smaller chance (F-test)."""

Method = Literal["borrowed", "paired", "images"]
"""`borrowed`: seeds unpaired, with two seeds' spread from the table. `paired`: both rows test the same weights, run by
run. `images`: the spread over seeds is unknown, so the interval covers the choice of images and decides nothing."""


@dataclass(frozen=True)
class Interval:
    """Confidence interval of a difference between two rows, in the units of their scores.

    Attributes:
        difference: difference of the means over seeds.
        low, high: bounds.
        p_value: two-sided p-value of the difference.
        method: how the interval was made.
        seeds: number of runs of the first row and of the second.
        error: standard error of the difference.
        freedom: degrees of freedom of that error.
        images: variance that the images give the difference.
        unlike: whether the first row, and the second, vary so much more over seeds than the others that they borrow
            nothing.
    """

    difference: float
    low: float
    high: float
    p_value: float
    method: Method = "borrowed"
    seeds: tuple[int, int] = (3, 3)
    error: float = float("nan")
    freedom: float = float("nan")
    images: ImageVariance | None = None
    unlike: tuple[bool, bool] = (False, False)

    @property
    def decides(self) -> bool:
        """True if a verdict can be given at all: the spread over seeds is known."""
        return self.method != "images"

    @property
    def excludes_zero(self) -> bool:
        """True if zero is outside the interval."""
        return self.low > 0 or self.high < 0


def borrowed_difference(
    scores: Sequence[NDArray[np.float64]], row: int, other: int, images: ImageVariance, *, confidence: float = 0.95
) -> Interval:
    """Compare two rows whose runs are independent of each other.

    Args:
        scores: scores over seeds of all rows of the table, (seeds,) each.
        row: index of the row.
        other: index of the row whose mean is subtracted.
        images: variance of their difference over images.
        confidence: confidence level of the interval.
    """
    seeds = np.array([len(values) for values in scores])
    degrees = seeds - 1.0
    if not degrees.any():
        return difference_over_images(scores[row], scores[other], images, confidence=confidence)
    variances = np.array([values.var(ddof=1) if len(values) > 1 else 0.0 for values in scores])
    unlike = _vary_more(variances, degrees)
    weights = np.zeros(len(scores))  # of the rows' variances in the variance of the difference
    for place in (row, other):
        trust = 1.0 if unlike[place] else degrees[place] / (degrees[place] + BORROWED_SEEDS)
        weights += (1 - trust) / seeds[place] * degrees / degrees.sum()
        weights[place] += trust / seeds[place]
    of_seeds = float(weights @ variances)
    # Of a variance estimated with d degrees of freedom, variance**2 / (d + 2) is half its squared error, without bias.
    doubt = float(((weights * variances) ** 2 / (degrees + 2)).sum())
    of_both = (len(scores[row]), len(scores[other]))
    difference = float(scores[row].mean() - scores[other].mean())
    interval = _interval(difference, of_seeds, doubt, images, "borrowed", of_both, confidence)
    return replace(interval, unlike=(bool(unlike[row]), bool(unlike[other])))


def paired_difference(differences: NDArray[np.float64], images: ImageVariance, *, confidence: float = 0.95) -> Interval:
    """Compare two rows that test the same weights, by the differences of their paired runs (pairs,).

    Args:
        differences: difference of every pair.
        images: variance of their mean over images.
        confidence: confidence level of the interval.
    """
    pairs = len(differences)
    if pairs < 2:
        return difference_over_images(differences, np.zeros(1), images, confidence=confidence)
    of_seeds = float(differences.var(ddof=1) / pairs)
    doubt = of_seeds**2 / (pairs + 1)
    return _interval(float(differences.mean()), of_seeds, doubt, images, "paired", (pairs, pairs), confidence)


def difference_over_images(
    row: NDArray[np.float64], other: NDArray[np.float64], images: ImageVariance, *, confidence: float = 0.95
) -> Interval:
    """Compare two rows whose spread over seeds is unknown: the interval is over images and decides nothing."""
    images = replace(images, own=0.0)
    of_both = (len(row), len(other))
    return _interval(float(row.mean() - other.mean()), 0.0, 0.0, images, "images", of_both, confidence)


def _vary_more(variances: NDArray[np.float64], degrees: NDArray[np.float64]) -> NDArray[np.bool_]:
    """True for each row that certainly varies more over seeds than the others together."""
    of_others = degrees.sum() - degrees
    known = (degrees > 0) & (of_others > 0)
    average = ((degrees @ variances) - degrees * variances) / np.where(known, of_others, 1)
    limits = stats.f.isf(_LIKE_THE_OTHERS, np.where(known, degrees, 1), np.where(known, of_others, 1))
    return known & (variances > limits * average)


def _over_images(images: ImageVariance) -> tuple[float, float]:
    """Variance that all seeds of a row have in common from the images, and half its squared error."""
    if images.average is None or images.rows < 3:
        return images.shared, images.shared**2 / (images.freedom + 2)
    trust = images.freedom / (images.freedom + BORROWED_IMAGES)
    variance = trust * images.shared + (1 - trust) * images.average
    of_two = (trust + (1 - trust) / (images.rows - 1)) * images.shared  # the average contains these two rows
    doubt = of_two**2 / (images.freedom + 2) + (variance - of_two) ** 2 / ((images.rows - 2) * images.freedom + 2)
    return variance, doubt


def _interval(
    difference: float,
    of_seeds: float,
    doubt: float,
    images: ImageVariance,
    method: Method,
    seeds: tuple[int, int],
    confidence: float,
) -> Interval:
    """Add up both variances; seeds that agree by chance cannot give less than the images' own share in the runs."""
    if images.own > of_seeds:
        of_seeds, doubt = images.own, images.own**2 / (images.freedom + 2)
    of_images, doubt_of_images = _over_images(images)
    total = of_seeds + of_images
    doubt += doubt_of_images
    freedom = max(total**2 / doubt - 2, 1.0) if doubt > 0 else images.freedom
    error = float(np.sqrt(total))
    half = float(stats.t.ppf(0.5 + confidence / 2, freedom)) * error
    p_value = 2 * float(stats.t.sf(abs(difference) / error, freedom)) if total else float(difference == 0)
    low, high = difference - half, difference + half
    return Interval(difference, low, high, p_value, method, seeds, error, freedom, images)
