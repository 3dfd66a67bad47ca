"""Charts of results: IoU of each class, and attention on the own class against mIoU."""

import textwrap
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from ocnet_pl.escaping import figure_text
from ocnet_pl.record.context import ContextMeasure
from ocnet_pl.record.result import Evaluation, Result


def class_bars(evaluation: Evaluation, title: str) -> Figure:
    """IoU of each class as bars, best class first, with a line at the mean; classes without pixels are listed below."""
    known = {name: 100 * value for name, value in evaluation.iou.items() if value is not None}
    names = sorted(known, key=lambda name: -known[name])
    figure = Figure(figsize=(7.5, 1.2 + 0.26 * len(names)), layout="constrained")
    axes = figure.subplots()
    bars = axes.barh([figure_text(name) for name in names], [known[name] for name in names], color="C0", alpha=0.8)
    axes.bar_label(bars, fmt="%.1f", padding=3, fontsize=8)
    if evaluation.miou is not None:
        axes.axvline(100 * evaluation.miou, color="black", linestyle=":", linewidth=1.5)
        title += f": mIoU {100 * evaluation.miou:.2f} % (dotted)"
    axes.set_title(figure_text(title), fontsize=10, loc="left")
    axes.invert_yaxis()
    axes.set(xlim=(0, 100), xlabel="IoU (%)")
    axes.spines[["top", "right"]].set_visible(False)
    absent = ", ".join(name for name in evaluation.iou if name not in known)
    note = textwrap.fill(f"No pixels in truth or prediction: {figure_text(absent)}", 110) if absent else ""
    figure.supxlabel(note, fontsize=8)
    return figure


def context_scatter(measured: Sequence[tuple[Result, ContextMeasure]]) -> Figure:
    """Share of the attention on the pixel's own class against validation mIoU, one dot for each run with both numbers.

    If a head has several maps, the map with the widest reach is shown.
    """
    points = defaultdict(list)
    uniform = []
    for result, measure in measured:
        own, expected = (measure.widest.overall[metric].value for metric in ("own", "uniform"))
        evaluation = result.evaluations.get(result.evaluation_key())
        if own is not None and expected is not None and evaluation and evaluation.miou is not None:
            points[result.label].append((100 * own, 100 * evaluation.miou))
            uniform.append(100 * expected)
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    for label, dots in points.items():
        axes.plot(*zip(*dots, strict=True), "o", label=figure_text(label), alpha=0.8)
    if uniform:
        axes.axvline(float(np.mean(uniform)), color="0.5", linestyle=":", label="uniform attention")
    axes.set(xlabel="share of the attention on the pixel's own class (%)", ylabel="validation mIoU (%)")
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside right upper", frameon=False)
    return figure
