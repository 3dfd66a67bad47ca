"""Charts of a table: differences to the baseline, every seed, every class."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from ocnet_pl.drawing.numbers import plus_minus, signed, with_interval
from ocnet_pl.escaping import figure_text
from ocnet_pl.report.details import class_label
from ocnet_pl.report.svg import GAIN, GRID, INK, LOSS, NARROW, PAGE, QUIET, STYLE, WIDE, series
from ocnet_pl.report.verdicts import main_score, verdict_notes
from ocnet_pl.table import Row, Table
from ocnet_pl.table.classes import ClassIoU, by_class

_MOST_CLASSES = 20
_BELOW = 0.26
"""Distance of the seeds' dots below their mean, in rows."""


def compared_rows(table: Table) -> list[Row]:
    """Rows with a difference to the baseline."""
    return [row for row in table.rows if row.cells[table.main_column].difference is not None]


@mpl.rc_context(STYLE)
def differences(table: Table, width: float = WIDE) -> Figure:
    """Draw the difference of every row to the baseline with its interval, and a line at zero.

    A triangle is a significant difference and points to its side; a hollow circle is none, or has no verdict. In a
    narrow chart, names and numbers stand above the intervals.
    """
    rows = compared_rows(table)
    significant = table.significant(table.main_column)
    narrow = width <= NARROW
    figure = Figure(figsize=(width, 0.75 + (0.5 if narrow else 0.36) * len(rows)), layout="constrained")
    axes = figure.subplots()
    axes.axvline(0, color=INK, linewidth=1.2, zorder=1)
    for place, row in enumerate(rows):
        cell = row.cells[table.main_column]
        difference, interval = cell.difference or 0.0, cell.interval
        decided = significant.get(row.name, False)
        colour = (GAIN if difference > 0 else LOSS) if decided else QUIET
        marker = (">" if difference > 0 else "<") if decided else "o"
        if interval:
            axes.plot([interval.low, interval.high], [place] * 2, color=colour, linewidth=2.4, solid_capstyle="butt")
            axes.plot([interval.low, interval.high], [place] * 2, "|", color=colour, markersize=8, markeredgewidth=1.6)
        face = colour if decided else PAGE
        axes.plot(difference, place, marker, color=colour, markersize=9 if decided else 7, markerfacecolor=face)
        at, words, weight = axes.get_yaxis_transform(), _difference_words(table, row), "bold" if decided else "normal"
        if narrow:
            above: dict[str, Any] = {"va": "bottom", "transform": at, "fontsize": 8.5}
            above["bbox"] = {"facecolor": PAGE, "edgecolor": "none", "pad": 0.5}  # no line crosses the names
            axes.text(0, place - 0.32, figure_text(row.label), ha="left", weight=weight, **above)
            axes.text(1, place - 0.32, figure_text(words), ha="right", **above)
        else:
            axes.text(-0.02, place, figure_text(row.label), ha="right", va="center", transform=at, weight=weight)
            axes.text(1.02, place, figure_text(words), ha="left", va="center", transform=at, fontsize=9)
    axes.set_ylim(len(rows) - 0.5, -0.95 if narrow else -0.6)
    axes.margins(x=0.05)
    of = next((row.label for row in table.rows if row.name == table.baseline), "")
    _label(
        axes, [], f"points of {main_score(table)}" if narrow else f"{main_score(table)} minus that of {of}, in points"
    )
    return figure


def differences_in_words(table: Table) -> str:
    """Content of the chart of differences, for readers who cannot see it."""
    words = "; ".join(f"{row.label} {_difference_words(table, row)}" for row in compared_rows(table))
    return f"Differences to the baseline with 95 % intervals: {words}."


@mpl.rc_context(STYLE)
def dots(table: Table) -> Figure:
    """Draw mean and standard deviation of the main column by row, a dot per seed, and a dotted line for the paper.

    Without bars: on an axis that does not begin at 0, their lengths would mislead.
    """
    cells = [(row.label, row.cells[table.main_column]) for row in table.rows if row.results]
    figure = Figure(figsize=(5.6, 0.9 + 0.42 * len(cells)), layout="constrained")
    axes = figure.subplots()
    for i, (_, cell) in enumerate(cells):
        colour, marker = series(i)
        error = None if math.isnan(cell.ours.sd) else cell.ours.sd
        seeds = list(cell.values.values())
        axes.errorbar(cell.ours.mean, i, xerr=error, fmt=marker, color=colour, markersize=9, capsize=4, elinewidth=2)
        axes.plot(seeds, [i + _BELOW] * len(seeds), "o", color=colour, markersize=4, markeredgewidth=0, alpha=0.8)
        if cell.paper is not None:
            axes.plot([cell.paper[0]] * 2, [i - 0.4, i + 0.4], color=INK, linestyle=":", linewidth=1.5)
    axes.set_ylim(len(cells) - 0.4, -0.6)
    axes.margins(x=0.04)
    _label(axes, [label for label, _ in cells], table.columns[table.main_column].label)
    return figure


def dots_in_words(table: Table) -> str:
    """Content of the chart of dots, for readers who cannot see it."""
    cells = [(row.label, row.cells[table.main_column].ours) for row in table.rows if row.results]
    words = "; ".join(f"{label} {plus_minus(ours)}" for label, ours in cells)
    return f"{table.columns[table.main_column].label}, mean and standard deviation over seeds: {words}."


@mpl.rc_context(STYLE)
def class_dots(table: Table) -> tuple[Figure, int]:
    """Draw the IoU of every class and row: a dot per seed, a bar for the mean. Return the number of classes drawn, too.

    Of more than `_MOST_CLASSES` classes, those whose means differ most between rows, in the order of the data set.
    """
    classes = dict(by_class(table))
    drawn = drawn_classes(classes)
    labels = [row.label for row in table.rows if row.results]
    step = 0.8 / max(len(labels), 1)
    height = 1.1 + len(drawn) * max(0.25, 0.075 * len(labels))
    figure = Figure(figsize=(WIDE, height), layout="constrained")
    axes = figure.subplots()
    for i, label in enumerate(labels):
        colour, marker = series(i)
        for place, name in enumerate(drawn):
            if label in classes[name]:
                y = place - 0.4 + (i + 0.5) * step
                ious = classes[name][label]
                values = list(ious.values.values())
                axes.plot(values, [y] * len(values), marker, color=colour, markersize=3.5, markeredgewidth=0)
                axes.plot([ious.over_seeds.mean] * 2, [y - step / 2, y + step / 2], color=colour, linewidth=2)
        axes.plot([], [], f"{marker}-", color=colour, markersize=5, label=figure_text(label))
    for place in range(1, len(drawn)):
        axes.axhline(place - 0.5, color=GRID, linewidth=0.8)
    axes.set_ylim(max(len(drawn), 1) - 0.5, -0.5)
    _label(axes, [class_label(table, name) for name in drawn], "IoU (%)")
    if labels:
        figure.legend(loc="outside right upper", frameon=False)
    return figure, len(drawn)


def drawn_classes(classes: Mapping[str, Mapping[str, ClassIoU]]) -> list[str]:
    """Names of the classes in the chart of classes."""
    ranked = sorted(classes, key=lambda name: -_range(classes[name]))[:_MOST_CLASSES]
    return [name for name in classes if name in ranked]


def _difference_words(table: Table, row: Row) -> str:
    """`+7.00 [+5.10, +8.90], not significant`."""
    cell = row.cells[table.main_column]
    if cell.interval is None:
        return f"{signed(cell.difference or 0.0)}, no interval"
    numbers = with_interval(cell.interval.difference, cell.interval.low, cell.interval.high)
    return ", ".join([numbers, *verdict_notes(table, row, cell.interval)])


def _label(axes: Any, names: Sequence[str], x_label: str) -> None:
    """Name the rows of a chart, and its axis."""
    axes.set_yticks(range(len(names)), [figure_text(name) for name in names])
    axes.set_xlabel(figure_text(x_label))
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x")
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)


def _range(ious: Mapping[str, ClassIoU]) -> float:
    means = [iou.over_seeds.mean for iou in ious.values() if iou.over_seeds.n]
    return max(means) - min(means)
