"""Many comparisons together."""

from collections.abc import Sequence

import numpy as np
from scipy import stats

CHANCE = 0.05
"""Accepted chance of a false verdict among the comparisons of a family."""


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values of several comparisons together: those up to `CHANCE` are false in 5 % of families at most.

    Holm's step-down procedure (Scandinavian Journal of Statistics, 1979). It allows any dependence between the
    comparisons; those with one baseline are dependent.
    """
    order = np.argsort(p_values)
    steps = np.asarray(p_values)[order] * np.arange(len(p_values), 0, -1)
    together = np.empty(len(p_values))
    together[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return [float(value) for value in together]


def benjamini_hochberg(p_values: Sequence[float]) -> list[float]:
    """p-values of many comparisons together: of those up to `CHANCE`, 5 % are false on average.

    Benjamini and Hochberg (Journal of the Royal Statistical Society B, 1995).
    """
    return [float(value) for value in stats.false_discovery_control(p_values)] if len(p_values) else []
