"""A table as one HTML page, and as Markdown."""

from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from ocnet_pl import escaping
from ocnet_pl.escaping import printable
from ocnet_pl.report import charts, details, samples
from ocnet_pl.report.footnotes import legend, made_with, remarks
from ocnet_pl.report.text import CONTEXT, PAPER, headings, line, number_and_said
from ocnet_pl.table import Row, Table

_TEMPLATES = Environment(
    loader=PackageLoader("ocnet_pl.report"),
    autoescape=select_autoescape(["html"]),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
    finalize=lambda value: value if isinstance(value, Markup) or not isinstance(value, str) else printable(value),
)
_TEMPLATES.filters |= {"markdown": escaping.markdown, "paragraph": escaping.markdown_paragraph}


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
        pictures=samples.pictures(table),
        colours=samples.colours(table),
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
            stack.append((number, said if heading == CONTEXT else said.strip("()")))
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
