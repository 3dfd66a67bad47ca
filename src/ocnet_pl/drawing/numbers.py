"""Formats of numbers for readers."""

import math

from ocnet_pl.statistics import MeanSD

NONE = "-"
"""Stands for a missing number."""

_MOST_DIGITS = 5


def short(value: float | None) -> str:
    """Three significant digits, or all digits before the point: `1234`, `43.8`, `0.0123`; a dash for None."""
    if value is None:
        return NONE
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def percent(share: float | None) -> str:
    """A share in per cent: `53.62`; a dash for None."""
    return NONE if share is None else f"{100 * share:.2f}"


def plus_minus(value: MeanSD) -> str:
    """Mean and standard deviation: `53.62 ± 0.41`; a dash without values."""
    if math.isnan(value.mean):
        return NONE
    return f"{value.mean:.2f}" if math.isnan(value.sd) else f"{value.mean:.2f} ± {value.sd:.2f}"


def signed(value: float, digits: int = 2) -> str:
    """A number with its sign, `+1.20`; zero has none."""
    text = f"{value:+.{digits}f}"
    return text if float(text) else f"{0:.{digits}f}"


def with_interval(value: float, low: float, high: float) -> str:
    """A number and its bounds: `+7.00 [+5.10, +8.90]`; with more digits where a bound would be rounded to zero."""
    digits = 2
    while digits < _MOST_DIGITS and any(bound and not float(f"{bound:.{digits}f}") for bound in (low, high)):
        digits += 1
    return f"{signed(value, digits)} [{signed(low, digits)}, {signed(high, digits)}]"


def duration(seconds: float | None) -> str:
    """Format a duration: `45 s`, `12 min`, `3 h 05 min`, `2 d 4 h`; empty if unknown."""
    if seconds is None:
        return ""
    minutes = round(seconds / 60)
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    if minutes < 100:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours < 48 else f"{hours // 24} d {hours % 24} h"
