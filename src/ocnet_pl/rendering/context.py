"""What the attention of a head looks at, as a table on the terminal."""

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table as RichTable

from ocnet_pl.context import ContextMeasure, Estimate, Estimates
from ocnet_pl.rendering.text import percent

LEGEND = (
    "Of the weight of a pixel's map that falls on labelled pixels: the share on pixels of its own class, with its 95 % "
    "interval over images, and what equal weights would give. Entropy: of that of equal weights. Distance to the "
    "pixel: of the image's diagonal. Mean: every class counts the same."
)


def print_context(name: str, measure: ContextMeasure, console: Console) -> None:
    """A table for every map of the head, a line for every class."""
    setting = measure.setting
    for one in measure.maps:
        where = f", within cells of {one.grid}x{one.grid}" if one.grid > 1 else ""
        images = "1 image" if setting.images == 1 else f"{setting.images} images"
        title = f"{name}{where}: {setting.split}, {images}, {setting.pixels} pixels of each class, seed {setting.seed}"
        grid = RichTable(title=title, box=SIMPLE_HEAD, title_justify="left")
        grid.add_column("Class")
        for heading in ("On own class (%)", "Uniform", "More by", "Entropy (%)", "Distance (%)", "Uniform"):
            grid.add_column(heading, justify="right")
        for class_name, estimates in one.classes.items():
            grid.add_row(class_name, *_line(estimates))
        grid.add_section()
        grid.add_row("mean", *_line(one.overall), style="bold")
        console.print(grid)


def _line(of: Estimates) -> list[str]:
    cells = [_interval(of["own"]), percent(of["uniform"].value), _interval(of["gain"], "+")]
    return cells + [percent(of[metric].value) for metric in ("entropy", "distance", "uniform_distance")]


def _interval(estimate: Estimate, sign: str = "") -> str:
    """`61.20 [58.10, 64.30]`; without bounds where there are none."""
    if estimate.value is None:
        return "-"
    middle = f"{100 * estimate.value:{sign}.2f}"
    if estimate.low is None or estimate.high is None:
        return middle
    return f"{middle} [{100 * estimate.low:{sign}.2f}, {100 * estimate.high:{sign}.2f}]"
