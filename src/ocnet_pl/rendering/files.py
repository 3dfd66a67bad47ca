"""A table as Markdown, CSV and one HTML page."""

import base64
import csv
import io
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from ocnet_pl.rendering import charts
from ocnet_pl.rendering.text import headings, legend, line
from ocnet_pl.run_directory import RunDirectory
from ocnet_pl.table import Row, Table

_TEMPLATES = Environment(
    loader=PackageLoader("ocnet_pl.rendering"),
    autoescape=select_autoescape(["html"]),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)


def write_files(table: Table, folder: Path) -> list[Path]:
    """Writes `table.md`, `table.csv` and `table.html`; returns their paths."""
    contents = {"table.md": markdown(table), "table.csv": comma_separated(table), "table.html": html(table)}
    for name, content in contents.items():
        (folder / name).write_text(content, encoding="utf-8")
    return [folder / name for name in contents]


def markdown(table: Table) -> str:
    """A table that reads well on GitHub."""
    return _TEMPLATES.get_template("table.md").render(_content(table))


def html(table: Table) -> str:
    """One page without any other file: table, bars, curves, and one image as every row predicts it."""
    pictures = _pictures(table)
    return _TEMPLATES.get_template("table.html").render(
        _content(table), bars=charts.bars(table), curves=charts.curves(table), pictures=pictures
    )


def comma_separated(table: Table) -> str:
    """Numbers at full precision: a line for every row and column of the table, and for what the row's head costs."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(
        [
            "table",
            "row",
            "evaluation",
            "metric",
            "seeds",
            "mean",
            "sd",
            "difference",
            "difference_sd",
            "paper",
            "paper_sd",
        ]
    )
    for row in table.rows:
        for column, cell in zip(table.columns, row.cells, strict=True):
            difference = (cell.difference.mean, cell.difference.sd) if cell.difference else (math.nan, math.nan)
            numbers = [cell.ours.mean, cell.ours.sd, *difference, *(cell.paper or (math.nan, math.nan))]
            writer.writerow(
                [table.name, row.name, column.evaluation, column.metric, cell.ours.n]
                + ["" if number is None or math.isnan(number) else repr(number) for number in numbers]
            )
        for metric, share in (("own", row.context.share), ("uniform", row.context.uniform)) if row.context else ():
            mean_sd = ["" if math.isnan(number) else repr(100 * number) for number in (share.mean, share.sd)]
            writer.writerow([table.name, row.name, "context", metric, share.n, *mean_sd, *[""] * 4])
        for metric, value in asdict(row.cost).items() if row.cost else ():
            if not isinstance(value, str):
                writer.writerow([table.name, row.name, "profile", metric, "", value, *[""] * 5])
    return buffer.getvalue()


def _content(table: Table) -> dict[str, Any]:
    return {
        "table": table,
        "headings": headings(table),
        "lines": [line(table, row) for row in table.rows],
        "legend": legend(table),
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
