"""A table as one HTML page, and as Markdown."""

import base64
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from ocnet_pl.rendering import charts, details
from ocnet_pl.rendering.notes import legend, made_with, remarks
from ocnet_pl.rendering.text import PAPER, headings, line, number_and_said
from ocnet_pl.run.directory import RunDirectory
from ocnet_pl.table import Row, Table

_TEMPLATES = Environment(
    loader=PackageLoader("ocnet_pl.rendering"),
    autoescape=select_autoescape(["html"]),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)


def markdown(table: Table) -> str:
    """A table that reads well on GitHub."""
    return _TEMPLATES.get_template("table.md").render(_content(table))


def html(table: Table) -> str:
    """One page without any other file: table, dots, runs, classes, curves, and one image as every row predicts it."""
    class_dots, drawn = charts.class_dots(table)
    return _TEMPLATES.get_template("table.html").render(
        _content(table),
        columns=[heading for heading in headings(table) if heading != PAPER],
        stacks=[_stack(table, row) for row in table.rows],
        runs=details.runs(table),
        by_class=details.classes(table),
        dots=charts.svg(charts.dots(table)),
        class_dots=charts.svg(class_dots),
        drawn=drawn,
        curves=charts.svg(charts.curves(table)),
        pictures=_pictures(table),
    )


def _stack(table: Table, row: Row) -> list[tuple[str, str]]:
    """Number and small print of every cell: the paper's number stands below ours, and so does what is said of ours."""
    stack: list[tuple[str, str]] = [(row.label, "")]
    for heading, cell in list(zip(headings(table), line(table, row), strict=True))[1:]:
        if heading == PAPER:
            ours, said = stack.pop()
            papers = [f"paper {cell}"] if cell != "-" else []
            stack.append((ours, ", ".join([said] * bool(said) + papers)) if row.name else (cell, ""))
        else:
            number, said = number_and_said(cell)
            stack.append((number, said.strip("()")))
    return stack


def _content(table: Table) -> dict[str, Any]:
    return {
        "table": table,
        "headings": headings(table),
        "lines": [line(table, row) for row in table.rows],
        "legend": legend(table),
        "remarks": remarks(table),
        "made_with": made_with(table),
    }


def _pictures(table: Table) -> list[tuple[str, str]]:
    """(caption, data URI): one validation image, its truth, and what each row's first seed predicts."""
    drawn = [row for row in table.rows if row.results]
    name = next((result.samples[0] for row in drawn for result in row.results.values() if result.samples), None)
    if name is None:
        return []
    pictures = [("Input", _sample(drawn[0], name, "input")), ("Truth", _sample(drawn[0], name, "truth"))]
    pictures += [(row.label, _sample(row, name, "prediction")) for row in drawn]
    return [(caption, picture) for caption, picture in pictures if picture]


def _sample(row: Row, name: str, kind: str) -> str:
    result = row.results[min(row.results)]
    path = RunDirectory(result.directory).samples / f"{name}-{kind}.png"
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode() if path.is_file() else ""
