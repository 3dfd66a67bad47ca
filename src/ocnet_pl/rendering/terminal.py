"""A table on the terminal."""

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table as RichTable

from ocnet_pl.rendering.text import headings, legend, line, percent
from ocnet_pl.result import Evaluation
from ocnet_pl.table import Table


def print_table(table: Table, console: Console) -> None:
    """With its legend, and what is missing."""
    grid = RichTable(title=table.title, box=SIMPLE_HEAD, title_justify="left")
    for i, heading in enumerate(headings(table)):
        grid.add_column(heading, justify="left" if i == 0 else "right")
    for row in table.rows:
        grid.add_row(*line(table, row))
    console.print(grid)
    console.print(legend(table), style="dim", highlight=False)
    for missing in table.unfinished:
        console.print(f"missing: {missing}", style="yellow", highlight=False)


def print_evaluation(title: str, evaluation: Evaluation) -> None:
    """Scores of one checkpoint, class by class."""
    grid = RichTable(title=f"{title}, {evaluation.images} images", box=SIMPLE_HEAD, title_justify="left")
    grid.add_column("Class")
    grid.add_column("IoU (%)", justify="right")
    for name, value in evaluation.iou.items():
        grid.add_row(name, percent(value))
    grid.add_section()
    grid.add_row("mIoU", percent(evaluation.miou), style="bold")
    grid.add_row("pixel accuracy", percent(evaluation.pixel_accuracy))
    Console().print(grid)
