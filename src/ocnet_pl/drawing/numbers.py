"""Formats of numbers for readers."""

import math

from ocnet_pl.statistics import MeanSD

NONE = "-"
"""Stands for a missing number."""


def short(value: float | None) -> str:
    """Three significant digits, or all digits before the point: `1234`, `43.8`, `0.0123`; a dash for None."""
    if value is None:
        return NONE
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def percent(share: float | None) -> str:
    """A share in per cent: `53.62`; a dash for None."""
    return NONE if share is None else f"{100 * share:.2f}"


def plus_minus(value: MeanSD, *, signed: bool = False) -> str:
    """Mean and standard deviation: `53.62 ± 0.41`; a dash without values."""
    if math.isnan(value.mean):
        return NONE
    mean = f"{value.mean:+.2f}" if signed else f"{value.mean:.2f}"
    return mean if math.isnan(value.sd) else f"{mean} ± {value.sd:.2f}"
