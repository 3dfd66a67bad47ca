"""Mean and standard deviation over seeds."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike


@dataclass(frozen=True)
class MeanSD:
    """Mean and sample standard deviation (n - 1) of n values; NaN where undefined."""

    mean: float
    sd: float
    n: int

    def in_percent(self) -> "MeanSD":
        """Mean and standard deviation of shares, in per cent."""
        return MeanSD(100 * self.mean, 100 * self.sd, self.n)


def mean_sd(values: ArrayLike) -> MeanSD:
    """Mean and standard deviation of the values that are not NaN."""
    array = np.asarray(values, np.float64)
    array = array[~np.isnan(array)]
    mean = float(array.mean()) if array.size else float("nan")
    return MeanSD(mean, float(array.std(ddof=1)) if array.size > 1 else float("nan"), int(array.size))
