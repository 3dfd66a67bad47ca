"""IoU by class of one checkpoint, as bars."""

import textwrap

from matplotlib.figure import Figure

from ocnet_pl.escaping import figure_text
from ocnet_pl.record.result import Evaluation


def class_bars(evaluation: Evaluation, title: str) -> Figure:
    """Best class first, and a line at the mean; classes that are neither there nor predicted are named below."""
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
    axes.set_xlim(0, 100)
    absent = ", ".join(name for name in evaluation.iou if name not in known)
    axes.set_xlabel("IoU (%)")
    words = textwrap.fill(f"Neither there nor predicted: {figure_text(absent)}", 110) if absent else ""
    figure.supxlabel(words, fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    return figure
