"""Which columns of a table fit a terminal: whole ones are left out, so that no number is ever cut."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len

from ocnet_pl.escaping import printable
from ocnet_pl.report.text import CONTEXT, COSTS, PAPER, headings, line, number_and_said
from ocnet_pl.table import Table

GAP = 2
"""Between two columns."""


@dataclass(frozen=True)
class Fitted:
    """What is printed.

    Attributes:
        headings: of the columns that stay, printable; broken into lines where that was needed.
        lines: their cells, row by row; likewise.
        left_out: headings of the others, in the table's order.
    """

    headings: list[str]
    lines: list[list[str]]
    left_out: list[str]


def fitted(table: Table, width: int | None) -> Fitted:
    """At so many characters, None for any: first words go to lines of their own, then whole columns go."""
    whole = [list(map(printable, cells)) for cells in (headings(table), *(line(table, row) for row in table.rows))]
    columns = list(zip(*whole, strict=True))
    if width is None or _width(columns) <= width:
        return Fitted(whole[0], whole[1:], [])
    columns = [_broken(column) for column in columns]
    there, left_out = dict(enumerate(columns)), list[str]()
    for name, places in _dispensable(table):
        if _width(list(there.values())) <= width:
            break
        left_out.insert(0, name)
        for place in places:
            del there[place]
    first, *others = zip(*there.values(), strict=True)
    return Fitted(list(first), [list(cells) for cells in others], left_out)


def _dispensable(table: Table) -> list[tuple[str, list[int]]]:
    """Name and places of what can be left out, the most dispensable first; a score takes the paper's number along."""
    names = headings(table)
    labels = [column.label for column in table.columns]
    main = labels.pop(table.main_column)
    papers = {place - 1: place for place, name in enumerate(names) if name == PAPER}
    order = [*reversed(COSTS), CONTEXT, *reversed(labels)]
    places = [(name, names.index(name)) for name in order if name in names]
    dispensable = [(name, [place, papers[place]] if place in papers else [place]) for name, place in places]
    if (place := names.index(main)) in papers:
        dispensable.append((f"the paper's {main}", [papers[place]]))
    return dispensable


def _broken(column: Sequence[str]) -> tuple[str, ...]:
    """What is said of a number stands below it, and the heading is as wide as the cells, words allowing."""
    heading, *cells = column
    split = [number_and_said(cell) for cell in cells]
    cells = ["\n".join(part for part in pair if part) for pair in split]
    lines = [""]
    widest = max(map(_cell_width, cells))
    for word in heading.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and cell_len(longer) > widest:
            lines.append(word)
        else:
            lines[-1] = longer
    return ("\n".join(lines), *cells)


def _width(columns: Sequence[Sequence[str]]) -> int:
    return sum(max(map(_cell_width, column)) for column in columns) + GAP * (len(columns) - 1)


def _cell_width(cell: str) -> int:
    return max(map(cell_len, cell.split("\n")))
