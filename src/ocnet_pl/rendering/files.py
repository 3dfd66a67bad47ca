"""A table as files: Markdown, CSV, LaTeX and one HTML page."""

from pathlib import Path

from ocnet_pl.errors import UserError
from ocnet_pl.rendering import charts
from ocnet_pl.rendering.comma_separated import comma_separated
from ocnet_pl.rendering.latex import latex
from ocnet_pl.rendering.pages import html, markdown
from ocnet_pl.table import Table


def write_files(table: Table, folder: Path) -> list[Path]:
    """Writes `table.md`, `table.csv`, `table.tex` and `table.html`; returns their paths."""
    contents = {
        "table.md": markdown(table),
        "table.csv": comma_separated(table),
        "table.tex": latex(table),
        "table.html": html(table),
    }
    for name, content in contents.items():
        (folder / name).write_text(content, encoding="utf-8")
    return [folder / name for name in contents]


def publish_files(table: Table, folder: Path) -> list[Path]:
    """Writes `<name>.md` with the picture `<name>.svg`, for a folder that is looked at on GitHub; returns their paths.

    Raises:
        UserError: no such folder.
    """
    if not folder.is_dir():
        raise UserError(f"--publish {folder}: no such directory; give the experiments/ of a checkout")
    page, picture = folder / f"{table.name}.md", folder / f"{table.name}.svg"
    picture.write_text(charts.svg(charts.dots(table)), encoding="utf-8")
    text = f"{markdown(table)}\n![Mean, standard deviation, and every seed]({picture.name})\n"
    page.write_text(text, encoding="utf-8")
    return [page, picture]
