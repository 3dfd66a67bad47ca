"""A table on the terminal."""

from collections.abc import Sequence
from typing import Literal

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
from ocnet_pl.report.verdicts import findings, verdict
from ocnet_pl.table import Table


def plain(text: str) -> Text:
    """Text without markup and emoji codes, with control characters escaped."""
    return Text(printable(text))


def print_table(table: Table, console: Console) -> None:
    """Print a table with its legend, deviations and missing runs. Narrow terminals get the essential columns only."""
    columns = report_columns(table)
    grid = _grid(table, columns, stacked=console.is_terminal)
    width = _width(grid, console)
    hidden = []
    if not console.is_terminal:
        console.width = max(console.width, width)  # a file is as wide as needed
    elif width > console.width:
        hidden = [column.heading for column in columns if not column.essential and column.heading != PAPER]
        essential = [column for column in columns if column.essential]
        grid = _grid(table, essential, stacked=True)
        if (width := _width(grid, console)) > console.width:
            grid = _grid(table, essential, stacked=True, less=width - console.width)
    console.print(grid)
    if hidden:
        words = f"Columns hidden (terminal too narrow): {'; '.join(hidden)}. See table.md, table.csv or table.html."
        console.print(plain(words), style="dim", highlight=False)
    for finding in findings(table):
        console.print(plain(finding), style="bold", highlight=False)
    console.print(plain(legend(table)), style="dim", highlight=False)
    for remark in (*remarks(table), *(f"missing: {missing}" for missing in table.unfinished)):
        console.print(plain(remark), style="yellow", highlight=False)


def print_verdicts(tables: Sequence[Table], console: Console) -> None:
    """Print the verdict of every table that has one, each in one sentence on one line."""
    for table in tables:
        if sentence := verdict(table):
            named = sentence if len(tables) == 1 else f"{table.title}: {sentence}"
            console.print(plain(named), style="bold", highlight=False, soft_wrap=True)


def _width(grid: RichTable, console: Console) -> int:
    return console.measure(grid, options=console.options.update(max_width=999)).maximum


def _grid(table: Table, columns: list[ReportColumn], *, stacked: bool, less: int = 0) -> RichTable:
    """Lay out columns, with notes below their numbers if stacked; only names and headings wrap while numbers fit.

    With `less`, the grid is narrower by as many characters, and everything wraps, between words where it can.
    """
    title = plain(table.title)
    grid = RichTable(title=title, title_justify="left", box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
    grid.padding = (0, 1, 0, 0)
    texts: list[list[str]] = []
    widths: list[tuple[int, ...]] = []
    for i, column in enumerate(columns):
        entries = [column.entry(row) for row in table.rows]
        parts = [[entry.value, entry.note] if stacked and entry.note else [str(entry)] for entry in entries]
        texts.append(["\n".join(map(printable, part)) for part in parts])
        headings, lines = column.heading.split(), "\n".join(texts[-1]).split("\n")
        words = [*headings, *(word for line in lines for word in line.split())]
        whole = [*headings, *(lines if i else [*words, column.heading, *lines])]
        widths.append((max(map(cell_len, words), default=0), max(map(cell_len, whole), default=0)))
    chosen = (
        _narrowed(widths, less) if less else [None if not i or not stacked else of[1] for i, of in enumerate(widths)]
    )
    for i, (column, width) in enumerate(zip(columns, chosen, strict=True)):
        shortest = widths[i][0] if width is None else None
        justify: Literal["left", "right"] = "right" if i else "left"
        grid.add_column(plain(column.heading), justify=justify, overflow="fold", width=width, min_width=shortest)
    for cells in zip(*texts, strict=True):
        grid.add_row(*map(Text, cells))
    return grid


def _narrowed(widths: list[tuple[int, ...]], less: int) -> list[int]:
    """Widths of columns, from those of their longest word and their longest line, less some characters in all.

    Names give way first, then the widest column, each down to its longest word; when all are there, words break.
    """
    chosen = [line for _, line in widths]
    for _ in range(less):
        loose = [i for i, (word, _) in enumerate(widths) if chosen[i] > word]
        widest = max(loose or range(len(widths)), key=lambda i: (bool(loose) and i == 0, chosen[i]))
        chosen[widest] = max(1, chosen[widest] - 1)
    return chosen


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
