"""Ranks that the rows of a table may have."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def rank_ranges(
    means: Sequence[float], errors: NDArray[np.float64], *, share: float = 0.95, draws: int = 10000
) -> list[tuple[int, int]]:
    """Lowest and highest rank of each row in the middle `share` of repetitions; rank 1 is the highest mean.

    Means are drawn from a normal distribution in which every difference has its standard error.

    Args:
        means: mean score of every row (R,).
        errors: standard errors of the differences between rows (R, R), 0 on the diagonal.
        share: share of the repetitions.
        draws: number of repetitions.
    """
    rows = len(means)
    centre = np.eye(rows) - 1 / rows
    # Ranks depend on differences only, and their variances determine the covariance of the centred means.
    values, vectors = np.linalg.eigh(-0.5 * centre @ np.square(errors) @ centre)
    scale = vectors * np.sqrt(np.maximum(values, 0))  # rounding, and floors of variances, can give values below 0
    drawn = np.asarray(means) + np.random.default_rng(0).standard_normal((draws, rows)) @ scale.T
    ranks = 1 + np.argsort(np.argsort(-drawn, axis=1), axis=1)
    bounds = np.quantile(ranks, [(1 - share) / 2, (1 + share) / 2], axis=0, method="inverted_cdf")
    return [(int(low), int(high)) for low, high in bounds.T]
