"""Training curves of a table: charts, and the values that a page shows under the cursor."""

import math
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ocnet_pl.escaping import figure_text, printable
from ocnet_pl.report.svg import STYLE, series
from ocnet_pl.table import Row, Table

_DRAWN_BELOW = 1e30
"""Greater losses, of trainings that diverged, would compress the axis."""
_MOST_MARKERS = 12
_MOST_POINTS = 200
"""Points of a curve. More could not be seen, and would make the page large."""
_APART = 0.058
"""Distance between two names at the lines' ends, as a share of the axis."""


@dataclass(frozen=True)
class Quantity:
    """Subject of a chart of curves: a metric of the runs, times `scale`, with its name on the axis."""

    metric: str
    scale: float
    label: str


LOSS = Quantity("train/loss", 1, "training loss")
SCORE = Quantity("val/miou", 100, "validation mIoU (%)")


@dataclass(frozen=True)
class Curve:
    """Curve of a row over the steps that all its runs have, or evenly spaced ones of these and the last.

    Attributes:
        place: place of the row among the drawn ones, which gives its colour and marker.
        label: name of the row.
        steps: steps (n,).
        mean: mean over seeds (n,); NaN where a training diverged.
        sd: standard deviation over seeds (n,); None for a single run.
    """

    place: int
    label: str
    steps: NDArray[np.int64]
    mean: NDArray[np.float64]
    sd: NDArray[np.float64] | None


@mpl.rc_context(STYLE)
def curves(table: Table) -> Figure:
    """Draw training loss and validation mIoU over steps: mean over seeds, with a band of one standard deviation."""
    figure = Figure(figsize=(10, 3.6), layout="constrained")
    for axes, quantity in zip(figure.subplots(1, 2), (LOSS, SCORE), strict=True):
        _draw(axes, table, quantity)
    return figure


@mpl.rc_context(STYLE)
def curve(table: Table, quantity: Quantity) -> Figure:
    """Draw one of these charts."""
    figure = Figure(figsize=(5.0, 3.4), layout="constrained")
    _draw(figure.subplots(), table, quantity)
    return figure


def readings(figure: Figure, table: Table, quantity: Quantity) -> dict[str, Any]:
    """Values of a chart, as plain content for the page. The chart must have been formatted: that gives its layout.

    * `left`, `right`, `top`, `bottom`: place of the axes in the chart, as shares of its width and height;
    * `low`, `high`: steps at the left and right end;
    * `curves`: name, steps, means and standard deviations of every row.
    """
    (axes,) = figure.axes
    box, (low, high) = axes.get_position(), axes.get_xlim()
    return {
        "left": box.x0,
        "right": box.x1,
        "top": 1 - box.y1,
        "bottom": 1 - box.y0,
        "low": low,
        "high": high,
        "curves": [_readings(of_row) for of_row in curves_of(table, quantity)],
    }


def curves_of(table: Table, quantity: Quantity) -> list[Curve]:
    """Curves of the rows that have any."""
    rows = [row for row in table.rows if row.results]
    found = (_curve(place, row, quantity) for place, row in enumerate(rows))
    return [of_row for of_row in found if len(of_row.steps)]


def _curve(place: int, row: Row, quantity: Quantity) -> Curve:
    by_seed = [dict(result.curves.get(quantity.metric, [])) for result in row.results.values()]
    steps = sorted(set.intersection(*(set(of_seed) for of_seed in by_seed)))
    every = -(-len(steps) // _MOST_POINTS) or 1
    steps = steps[(len(steps) - 1) % every :: every]
    values = quantity.scale * np.array([[of_seed[step] for step in steps] for of_seed in by_seed])
    values = np.where(np.abs(values) < _DRAWN_BELOW, values, np.nan)
    sd = values.std(0, ddof=1) if len(values) > 1 else None
    return Curve(place, row.label, np.array(steps, int), values.mean(0), sd)


def _draw(axes: Any, table: Table, quantity: Quantity) -> None:
    drawn = curves_of(table, quantity)
    for of_row in drawn:
        colour, marker = series(of_row.place)
        every = max(1, len(of_row.steps) // _MOST_MARKERS)
        axes.plot(
            of_row.steps, of_row.mean, color=colour, marker=marker, markersize=4.5, markevery=every, linewidth=1.5
        )
        if of_row.sd is not None:
            low, high = of_row.mean - of_row.sd, of_row.mean + of_row.sd
            axes.fill_between(of_row.steps, low, high, color=colour, alpha=0.15, linewidth=0)
    axes.set_xlabel("step")
    axes.set_ylabel(quantity.label)
    axes.spines[["top", "right"]].set_visible(False)
    _name_ends(axes, drawn)


def _name_ends(axes: Any, drawn: list[Curve]) -> None:
    """Write every row's name at the end of its line; names move apart where ends are close."""
    low, high = axes.get_ylim()
    ends = []
    for of_row in drawn:
        known = np.flatnonzero(~np.isnan(of_row.mean))
        if len(known):
            x, y = of_row.steps[known[-1]], of_row.mean[known[-1]]
            ends.append(((y - low) / (high - low or 1.0), x, y, of_row))
    ends.sort(key=lambda end: end[0])
    heights = np.array([end[0] for end in ends])
    for _ in range(200):  # push neighbours apart until all have room
        gaps = _APART - np.diff(heights)
        if not (gaps > 1e-6).any():
            break
        push = np.maximum(gaps, 0) / 2
        heights[:-1] -= push
        heights[1:] += push
    heights -= max(0.0, heights.max(initial=1.0) - 1.0)
    heights += max(0.0, -heights.min(initial=0.0))  # where there is room, within the axis
    for height, (_, x, y, of_row) in zip(heights.tolist(), ends, strict=True):
        axes.annotate(
            figure_text(of_row.label),
            (x, y),
            (1.06, height),
            textcoords="axes fraction",
            va="center",
            fontsize=8.5,
            arrowprops={"arrowstyle": "-", "relpos": (0, 0.5), "color": series(of_row.place)[0], "linewidth": 0.9},
        )


def _readings(of_row: Curve) -> dict[str, Any]:
    return {
        "label": printable(of_row.label),
        "steps": of_row.steps.tolist(),
        "mean": _plain(of_row.mean),
        "sd": None if of_row.sd is None else _plain(of_row.sd),
    }


def _plain(values: NDArray[np.float64]) -> list[float | None]:
    """Numbers with four significant digits; JSON has no NaN."""
    return [None if math.isnan(value) else float(f"{value:.4g}") for value in values.tolist()]
