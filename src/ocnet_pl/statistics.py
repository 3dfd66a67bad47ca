"""What several seeds say: pure functions over arrays."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike


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
