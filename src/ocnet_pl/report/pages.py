"""A table as one HTML page and as Markdown."""

import base64
import hashlib
from functools import partial
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from ocnet_pl import escaping
from ocnet_pl.drawing.numbers import NONE
from ocnet_pl.escaping import printable
from ocnet_pl.report import charts, curves, details, samples
from ocnet_pl.report.cells import PAPER, Entry, lines, report_columns
from ocnet_pl.report.confusion import confusions
from ocnet_pl.report.footnotes import legend, made_with, remarks
from ocnet_pl.report.gains import gains
from ocnet_pl.report.matrix import matrix, matrix_legend
from ocnet_pl.report.svg import SERIES, inline, responsive
from ocnet_pl.report.verdicts import best_rows, findings, on_bold, verdict
from ocnet_pl.table import Row, Table
from ocnet_pl.table.classes import by_class

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
    """Format one self-contained page: verdict, intervals, table, runs, classes, mistakes, curves and pictures.

    Its policy forbids everything from the network, and every script but its own.
    """
    folder = files("ocnet_pl.report") / "templates"
    style, script = (Markup((folder / name).read_text("utf-8")) for name in ("table.css", "table.js"))
    headings = [column.heading for column in report_columns(table) if column.heading != PAPER]
    main = table.columns[table.main_column].label
    return TEMPLATES.get_template("table.html").render(
        notes_of(table),
        style=style,
        series=SERIES,
        script=script,
        script_hash=f"sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}",
        verdict=verdict(table),
        differences=_differences(table),
        headings=headings,
        rows=[(row.name, _entries(table, row)) for row in table.rows],
        best_rows=best_rows(table),
        bold=on_bold(table),
        bold_columns=(0, headings.index(main)),
        runs=details.runs(table),
        main=main,
        matrix=matrix(table),
        matrix_legend=matrix_legend(table),
        by_class=details.classes(table),
        class_differences=details.class_differences(table),
        dots=inline(charts.dots(table), "dots", charts.dots_in_words(table)),
        class_dots=inline(charts.class_dots(table)[0], "classes", "IoU of every class; the table below has it"),
        drawn=len(charts.drawn_classes(dict(by_class(table)))),
        confusions=confusions(table),
        curves=_curves(table),
        gains=gains(table),
        pictures=samples.pictures(table),
        colours=samples.colours(table),
    )


def _differences(table: Table) -> Markup | None:
    if not charts.compared_rows(table):
        return None
    return responsive(partial(charts.differences, table), "differences", charts.differences_in_words(table))


def _curves(table: Table) -> list[tuple[str, Markup, dict[str, Any]]]:
    """Name, chart and values of the curves that have any."""
    found = []
    for quantity in (curves.LOSS, curves.SCORE):
        if drawn := curves.curves_of(table, quantity):
            figure = curves.curve(table, quantity)
            label = f"{quantity.label} over steps: {', '.join(of_row.label for of_row in drawn)}"
            chart = inline(figure, quantity.metric, label)
            found.append((quantity.label, chart, curves.readings(figure, table, quantity)))
    return found


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
