"""What the attention of a head looks at, as a table on the terminal."""

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from ocnet_pl.record.context import ContextMeasure, Estimate, Estimates
from ocnet_pl.report.terminal import plain

LEGEND = (
    "All in %. Of the weight of a pixel's map that falls on labelled pixels, the share on pixels of its own class, "
    "with its 95 % interval over images, and what equal weights would give. Entropy: of that of equal weights. "
    "Distance: mean over the weight, of the image's diagonal. Mean: every class counts the same."
)


def print_context(name: str, measure: ContextMeasure, console: Console) -> None:
    """A table for every map of the head, a line for every class."""
    setting = measure.setting
    for one in measure.maps:
        where = f", {plain(one.name)}" if one.reach < 1 else ""
        images = "1 image" if setting.images == 1 else f"{setting.images} images"
        drawn = f"{setting.split}, {images}, {setting.pixels} pixels of each class, seed {setting.seed}"
        title = Text("\n").join([plain(f"{name}{where}"), plain(drawn)])
        grid = RichTable(title=title, box=SIMPLE_HEAD, title_justify="left")
        grid.add_column("Class")
        for heading in ("On own class (%)", "Uniform", "More by", "Entropy", "Distance", "Uniform"):
            grid.add_column(heading, justify="right", no_wrap=True)
        for class_name, estimates in one.classes.items():
            grid.add_row(plain(class_name), *_line(estimates))
        grid.add_section()
        grid.add_row("mean", *_line(one.overall), style="bold")
        console.print(grid)


def _line(of: Estimates) -> list[str]:
    plain = [_percent(of[metric].value) for metric in ("uniform", "entropy", "distance", "uniform_distance")]
    return [_interval(of["own"]), plain[0], _percent(of["gain"].value, "+"), *plain[1:]]


def _interval(estimate: Estimate) -> str:
    """`61.2 [58.1, 64.3]`; without bounds where there are none."""
    middle, low, high = map(_percent, (estimate.value, estimate.low, estimate.high))
    return middle if estimate.low is None else f"{middle} [{low}, {high}]"


def _percent(share: float | None, sign: str = "") -> str:
    return "-" if share is None else f"{100 * share:{sign}.1f}"
