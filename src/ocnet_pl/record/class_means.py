"""Means over the images of a split, class by class, with bootstrap intervals."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class ClassMeans:
    """Means over images, shape (classes + 1, ...): one entry per class, then their mean over the classes.

    Attributes:
        mean: means; NaN for a class that is in no image.
        low, high: bounds; NaN if fewer than two images have the class.
    """

    mean: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]


def class_means(values: NDArray[np.float64], *, confidence: float = 0.95, draws: int = 1000) -> ClassMeans:
    """Means with percentile intervals from a bootstrap over images.

    Args:
        values: (images, classes, ...); NaN if the image does not have the class.
        confidence: confidence level of the intervals.
        draws: number of bootstrap samples.
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
    """Means of the resampled sets: (draws, images) and (images, classes, ...) -> (draws, classes + 1, ...)."""
    present = ~np.isnan(values)
    total = np.tensordot(times, np.where(present, values, 0), 1)
    means = _quotient(total, np.tensordot(times, present.astype(np.float64), 1))
    known = ~np.isnan(means)
    overall = _quotient(np.where(known, means, 0).sum(1, keepdims=True), known.sum(1, keepdims=True))
    return np.concatenate([means, overall], 1)


def _quotient(total: NDArray[np.float64], count: NDArray[Any]) -> NDArray[np.float64]:
    return np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)
