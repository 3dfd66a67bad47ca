"""Whether attention that finds the pixel's own class goes with a better score."""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from ocnet_pl.escaping import figure_text
from ocnet_pl.record.context import ContextMeasure
from ocnet_pl.record.result import Result


def context_scatter(measured: Sequence[tuple[Result, ContextMeasure]]) -> Figure:
    """A dot for every run: the share of the attention on the pixel's own class, and mIoU on the validation images.

    Args:
        measured: runs with their measures, of the map that reaches furthest; those without either number are left out.
    """
    points = defaultdict(list)
    uniform = []
    for result, measure in measured:
        own, equal = (measure.widest.overall[metric].value for metric in ("own", "uniform"))
        evaluation = result.evaluations.get(result.evaluation_key())
        if own is not None and equal is not None and evaluation and evaluation.miou is not None:
            points[result.label].append((100 * own, 100 * evaluation.miou))
            uniform.append(100 * equal)
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    for label, of_row in points.items():
        axes.plot(*zip(*of_row, strict=True), "o", label=figure_text(label), alpha=0.8)
    if uniform:
        axes.axvline(float(np.mean(uniform)), color="0.5", linestyle=":", label="equal weights")
    axes.set_xlabel("share of the attention on the pixel's own class (%)")
    axes.set_ylabel("validation mIoU (%)")
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside right upper", frameon=False)
    return figure
