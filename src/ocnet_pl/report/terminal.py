"""A table on the terminal."""

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from ocnet_pl.drawing.numbers import percent
from ocnet_pl.escaping import printable
from ocnet_pl.record.result import Evaluation
from ocnet_pl.report.cells import PAPER, ReportColumn, report_columns
from ocnet_pl.report.footnotes import legend, remarks
from ocnet_pl.report.verdicts import findings
from ocnet_pl.table import Table


def plain(text: str) -> Text:
    """Text without markup and emoji codes, with control characters escaped."""
    return Text(printable(text))


def print_table(table: Table, console: Console) -> None:
    """Print a table with its legend, deviations and missing runs. Narrow terminals get the essential columns only."""
    columns = report_columns(table)
    grid = _grid(table, columns, stacked=console.is_terminal)
    width = console.measure(grid, options=console.options.update(max_width=999)).maximum
    hidden = []
    if not console.is_terminal:
        console.width = max(console.width, width)  # a file is as wide as needed
    elif width > console.width:
        hidden = [column.heading for column in columns if not column.essential and column.heading != PAPER]
        grid = _grid(table, [column for column in columns if column.essential], stacked=True)
    console.print(grid)
    if hidden:
        words = f"Columns hidden (terminal too narrow): {'; '.join(hidden)}. See table.md, table.csv or table.html."
        console.print(plain(words), style="dim", highlight=False)
    for finding in findings(table):
        console.print(plain(finding), style="bold", highlight=False)
    console.print(plain(legend(table)), style="dim", highlight=False)
    for remark in (*remarks(table), *(f"missing: {missing}" for missing in table.unfinished)):
        console.print(plain(remark), style="yellow", highlight=False)


def _grid(table: Table, columns: list[ReportColumn], *, stacked: bool) -> RichTable:
    """Lay out columns, with notes below their numbers if stacked; only names and headings wrap while numbers fit."""
    title = plain(table.title)
    grid = RichTable(title=title, title_justify="left", box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
    grid.padding = (0, 1, 0, 0)
    texts = []
    for i, column in enumerate(columns):
        entries = [column.entry(row) for row in table.rows]
        parts = [[entry.value, entry.note] if stacked and entry.note else [str(entry)] for entry in entries]
        texts.append(["\n".join(map(printable, part)) for part in parts])
        words = [*column.heading.split(), *"\n".join(texts[-1]).split("\n")]
        width = max(map(cell_len, words)) if stacked and i else None
        grid.add_column(plain(column.heading), justify="right" if i else "left", overflow="fold", width=width)
    for cells in zip(*texts, strict=True):
        grid.add_row(*map(Text, cells))
    return grid


def print_evaluation(title: str, evaluation: Evaluation) -> None:
    """Print the scores of one checkpoint, class by class."""
    grid = RichTable(title=plain(f"{title}, {evaluation.images} images"), box=SIMPLE_HEAD, title_justify="left")
    grid.add_column("Class")
    grid.add_column("IoU (%)", justify="right")
    for name, value in evaluation.iou.items():
        grid.add_row(plain(name), percent(value))
    grid.add_section()
    grid.add_row("mIoU", percent(evaluation.miou), style="bold")
    grid.add_row("pixel accuracy", percent(evaluation.pixel_accuracy))
    Console().print(grid)
