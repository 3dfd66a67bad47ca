"""Charts of a table."""

import io
import math
import warnings
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from ocnet_pl.escaping import figure_text
from ocnet_pl.report.details import class_label
from ocnet_pl.table import Row, Table
from ocnet_pl.table.classes import ClassIoU, by_class

_MOST_CLASSES = 20
_DRAWN_BELOW = 1e30
"""Greater losses, of trainings that diverged, would compress the axis."""
_BELOW = 0.26
"""Distance of the seeds' dots below their mean, in rows."""


def dots(table: Table) -> Figure:
    """Draw mean and standard deviation of the main column by row, a dot per seed, and a dotted line for the paper.

    Without bars: on an axis that does not begin at 0, their lengths would mislead.
    """
    cells = [(row.label, row.cells[table.main_column]) for row in table.rows if row.results]
    figure = Figure(figsize=(7.5, 0.9 + 0.42 * len(cells)), layout="constrained")
    axes = figure.subplots()
    for i, (_, cell) in enumerate(cells):
        error = None if math.isnan(cell.ours.sd) else cell.ours.sd
        seeds = list(cell.values.values())
        axes.errorbar(cell.ours.mean, i, xerr=error, fmt="o", color=f"C{i}", markersize=9, capsize=4, elinewidth=2)
        axes.plot(seeds, [i + _BELOW] * len(seeds), "o", color=f"C{i}", markersize=4, markeredgewidth=0, alpha=0.7)
        if cell.paper is not None:
            axes.plot([cell.paper[0]] * 2, [i - 0.4, i + 0.4], color="black", linestyle=":", linewidth=1.5)
    axes.set_ylim(len(cells) - 0.4, -0.6)
    axes.margins(x=0.04)
    _label(axes, [label for label, _ in cells], table.columns[table.main_column].label)
    return figure


def curves(table: Table) -> Figure:
    """Draw training loss and validation mIoU over steps: mean over seeds, with a band of one standard deviation."""
    figure = Figure(figsize=(10, 3.6), layout="constrained")
    loss, score = figure.subplots(1, 2)
    for i, row in enumerate(table.rows):
        _curve(loss, row, "train/loss", 1, f"C{i}")
        _curve(score, row, "val/miou", 100, f"C{i}")
    loss.set_ylabel("training loss")
    score.set_ylabel("validation mIoU (%)")
    for axes in (loss, score):
        axes.set_xlabel("step")
        axes.spines[["top", "right"]].set_visible(False)
    handles, labels = loss.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right center", frameon=False)
    return figure


def class_dots(table: Table) -> tuple[Figure, int]:
    """Draw the IoU of every class and row: a dot per seed, a bar for the mean. Return the number of classes drawn, too.

    Of more than `_MOST_CLASSES` classes, those whose means differ most between rows, in the order of the data set.
    """
    classes = dict(by_class(table))
    ranked = sorted(classes, key=lambda name: -_range(classes[name]))[:_MOST_CLASSES]
    drawn = {name: ious for name, ious in classes.items() if name in ranked}
    labels = [row.label for row in table.rows if row.results]
    step = 0.8 / max(len(labels), 1)
    figure = Figure(figsize=(10, 1.1 + len(drawn) * max(0.25, 0.075 * len(labels))), layout="constrained")
    axes = figure.subplots()
    for i, label in enumerate(labels):
        for place, ious in enumerate(drawn.values()):
            if label in ious:
                y = place - 0.4 + (i + 0.5) * step
                values = list(ious[label].values.values())
                axes.plot(values, [y] * len(values), "o", color=f"C{i}", markersize=3, alpha=0.8)
                axes.plot([ious[label].over_seeds.mean] * 2, [y - step / 2, y + step / 2], color=f"C{i}", linewidth=2)
        axes.plot([], [], "o-", color=f"C{i}", markersize=3, label=figure_text(label))
    for place in range(1, len(drawn)):
        axes.axhline(place - 0.5, color="0.9", linewidth=0.8)
    axes.set_ylim(max(len(drawn), 1) - 0.5, -0.5)
    _label(axes, [class_label(table, name) for name in drawn], "IoU (%)")
    if labels:
        figure.legend(loc="outside right upper", frameon=False)
    return figure, len(drawn)


def _label(axes: Any, names: Sequence[str], x_label: str) -> None:
    """Name the rows of a chart of dots, and its axis."""
    axes.set_yticks(range(len(names)), [figure_text(name) for name in names])
    axes.set_xlabel(figure_text(x_label))
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color="0.92")
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)


def _range(ious: dict[str, ClassIoU]) -> float:
    means = [iou.over_seeds.mean for iou in ious.values() if iou.over_seeds.n]
    return max(means) - min(means)


def _curve(axes: Any, row: Row, metric: str, scale: float, colour: str) -> None:
    by_seed = [dict(result.curves.get(metric, [])) for result in row.results.values()]
    steps = sorted(set.intersection(*(set(curve) for curve in by_seed))) if by_seed else []
    if not steps:
        return
    values = scale * np.array([[curve[step] for step in steps] for curve in by_seed])
    values = np.where(np.abs(values) < _DRAWN_BELOW, values, np.nan)
    mean = values.mean(0)
    axes.plot(steps, mean, color=colour, label=figure_text(row.label))
    if len(values) > 1:
        sd = values.std(0, ddof=1)
        axes.fill_between(steps, mean - sd, mean + sd, color=colour, alpha=0.15, linewidth=0)


def svg(figure: Figure) -> str:
    """Format a chart for a page; equal charts give equal text."""
    buffer = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": "ocnet_pl", "svg.fonttype": "none"}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from")  # the browser has other fonts
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()[buffer.getvalue().index("<svg") :]
