"""A table on the terminal."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from ocnet_pl.escaping import printable
from ocnet_pl.record.result import Evaluation
from ocnet_pl.report.footnotes import legend, remarks
from ocnet_pl.report.terminal_width import GAP, fitted
from ocnet_pl.report.text import percent
from ocnet_pl.table import Table


def plain(text: str) -> Text:
    """Text as it reads: no markup, no emoji codes, and control characters as escapes."""
    return Text(printable(text))


def print_table(table: Table, console: Console) -> None:
    """With its legend, what is not as in the paper, and what is missing."""
    shown = fitted(table, console.width if console.is_terminal else None)
    title = plain(table.title)
    grid = RichTable(title=title, title_justify="left", box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
    grid.padding = (0, GAP - 1, 0, 0)
    for i, heading in enumerate(shown.headings):
        grid.add_column(Text(heading), justify="left" if i == 0 else "right", overflow="fold")
    for cells in shown.lines:
        grid.add_row(*map(Text, cells))
    if not console.is_terminal:  # a file is as wide as it needs to be
        console.width = max(console.width, console.measure(grid, options=console.options.update(max_width=999)).maximum)
    console.print(grid)
    if shown.left_out:
        words = f"Too wide for this terminal: {'; '.join(shown.left_out)}. table.md, table.csv and table.html have all."
        console.print(plain(words), style="dim", highlight=False)
    console.print(plain(legend(table)), style="dim", highlight=False)
    for remark in remarks(table):
        console.print(plain(remark), style="yellow", highlight=False)
    for missing in table.unfinished:
        console.print(plain(f"missing: {missing}"), style="yellow", highlight=False)


def print_evaluation(title: str, evaluation: Evaluation) -> None:
    """Scores of one checkpoint, class by class."""
    grid = RichTable(title=plain(f"{title}, {evaluation.images} images"), box=SIMPLE_HEAD, title_justify="left")
    grid.add_column("Class")
    grid.add_column("IoU (%)", justify="right")
    for name, value in evaluation.iou.items():
        grid.add_row(plain(name), percent(value))
    grid.add_section()
    grid.add_row("mIoU", percent(evaluation.miou), style="bold")
    grid.add_row("pixel accuracy", percent(evaluation.pixel_accuracy))
    Console().print(grid)


def print_classes(
    title: str, names: Sequence[str], stored: Sequence[int], palette: NDArray[np.uint8], pixels: NDArray[np.int64]
) -> None:
    """What masks hold: colour, stored id and share of every class that occurs, the largest first."""
    grid = RichTable("", "Id", "Class", "Pixels (%)", box=SIMPLE_HEAD)
    for column in (1, 3):
        grid.columns[column].justify = "right"
    for number in np.argsort(-pixels, kind="stable"):
        if pixels[number]:
            colour = "rgb({},{},{})".format(*palette[number])
            grid.add_row(
                Text("  ", f"on {colour}"),
                str(stored[number]),
                plain(names[number]),
                percent(pixels[number] / pixels.sum()),
            )
    console = Console()
    console.print(plain(title), highlight=False, soft_wrap=True)
    console.print(grid)
