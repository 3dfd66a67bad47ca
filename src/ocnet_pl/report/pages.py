"""A table as one HTML page and as Markdown."""

from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from ocnet_pl import escaping
from ocnet_pl.drawing.numbers import NONE
from ocnet_pl.escaping import printable
from ocnet_pl.report import charts, details, samples
from ocnet_pl.report.cells import PAPER, Entry, lines, report_columns
from ocnet_pl.report.footnotes import legend, made_with, remarks
from ocnet_pl.report.matrix import matrix, matrix_legend
from ocnet_pl.report.verdicts import findings
from ocnet_pl.table import Row, Table

TEMPLATES = Environment(
    loader=PackageLoader("ocnet_pl.report"),
    autoescape=select_autoescape(["html"]),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
    finalize=lambda value: value if isinstance(value, Markup) or not isinstance(value, str) else printable(value),
)
TEMPLATES.filters |= {"markdown": escaping.markdown, "paragraph": escaping.markdown_paragraph}


def markdown(table: Table) -> str:
    """Format a table for GitHub."""
    headings, *rows = lines(table)
    return TEMPLATES.get_template("table.md").render(notes_of(table), headings=headings, lines=rows)


def html(table: Table) -> str:
    """Format one self-contained page: table, dots, runs, classes, curves, and the predictions for one image."""
    class_dots, drawn = charts.class_dots(table)
    return TEMPLATES.get_template("table.html").render(
        notes_of(table),
        headings=[column.heading for column in report_columns(table) if column.heading != PAPER],
        rows=[_entries(table, row) for row in table.rows],
        runs=details.runs(table),
        main=table.columns[table.main_column].label,
        matrix=matrix(table),
        matrix_legend=matrix_legend(table),
        by_class=details.classes(table),
        class_differences=details.class_differences(table),
        dots=charts.svg(charts.dots(table)),
        class_dots=charts.svg(class_dots),
        drawn=drawn,
        curves=charts.svg(charts.curves(table)),
        pictures=samples.pictures(table),
        colours=samples.colours(table),
    )


def _entries(table: Table, row: Row) -> list[Entry]:
    """Cells of a row; the paper's numbers are added to the notes of ours, or replace them in rows that are not ours."""
    entries: list[Entry] = []
    for column in report_columns(table):
        entry = column.entry(row)
        if column.heading != PAPER:
            entries.append(entry)
        elif not row.name:
            entries[-1] = entry
        elif entry.value != NONE:
            ours = entries[-1]
            entries[-1] = Entry(ours.value, ", ".join(filter(None, (ours.note, f"paper {entry.value}"))))
    return entries


def notes_of(table: Table) -> dict[str, Any]:
    """Sentences below a table, by the names that templates have for them."""
    return {
        "table": table,
        "findings": findings(table),
        "legend": legend(table),
        "remarks": remarks(table),
        "made_with": made_with(table),
    }
