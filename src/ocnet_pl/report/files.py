"""Files of a table: Markdown, CSV, LaTeX and one HTML page."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

from ocnet_pl.atomic import refuse_unwritable, write_text
from ocnet_pl.errors import UserError
from ocnet_pl.report import charts
from ocnet_pl.report.card import model_card
from ocnet_pl.report.csv_table import comma_separated
from ocnet_pl.report.latex import latex
from ocnet_pl.report.pages import html, markdown
from ocnet_pl.report.svg import svg
from ocnet_pl.table import Table

TABLE_MARK = "<!-- ocnet-report writes what follows; write above this line -->"
"""Line of a published page that separates text written by hand from the table."""


def table_files(table: Table, folder: Path, columns: Sequence[str] | None = None) -> dict[Path, str]:
    """Content of `table.md`, `table.csv`, `table.tex` and `table.html`, by path.

    Args:
        table: the table.
        folder: where the files will be.
        columns: headings of the columns of `table.tex`; None for the most important ones.

    Raises:
        UserError: the table has no such column.
    """
    return {
        folder / "table.md": markdown(table),
        folder / "table.csv": comma_separated(table),
        folder / "table.tex": latex(table, columns),
        folder / "table.html": html(table),
    }


def published_files(tables: Sequence[Table], folder: Path) -> dict[Path, str]:
    """Content of `<name>.md` and its picture `<name>.svg`, by path, for a folder that is read on GitHub.

    Text above `TABLE_MARK` in an existing page is kept.

    Raises:
        UserError: two tables have the same name, or an existing page cannot be read or has no such line.
    """
    names = [table.name.replace("/", "-") for table in tables]
    if twice := next((name for name, count in Counter(names).items() if count > 1), None):
        folders = [str(table.folder) for table, name in zip(tables, names, strict=True) if name == twice]
        raise UserError(f"--publish {folder}: {' and '.join(folders)} would both be {twice}.md; report one of them")
    contents = {}
    for table, name in zip(tables, names, strict=True):
        page = folder / f"{name}.md"
        picture = f"![Mean, standard deviation, and every seed]({quote(name)}.svg)"
        contents[page] = f"{_written_by_hand(page)}{TABLE_MARK}\n\n{markdown(table)}\n{picture}\n"
        contents[folder / f"{name}.svg"] = svg(charts.dots(table))
    return contents


def _written_by_hand(page: Path) -> str:
    try:
        text, mark, _ = page.read_text("utf-8").partition(f"{TABLE_MARK}\n")
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):  # the last two fail in writing, with a message
        return ""
    except (OSError, ValueError) as error:
        raise UserError(
            f"{page}: cannot be read ({error}); move it away, or choose another --publish folder"
        ) from error
    if not mark:
        raise UserError(
            f"{page}: would lose its text; put the line {TABLE_MARK} below what is to stay, or move it away"
        )
    return text


def card_file(tables: Sequence[Table], path: Path, row: str | None = None) -> dict[Path, str]:
    """Content of the model card of a row, by path.

    Raises:
        UserError: several tables, no such row, or a file that exists: a card is written on by hand.
    """
    if path.exists():
        raise UserError(f"--card {path}: already exists; choose another name or delete it")
    if len(tables) > 1:
        raise UserError(f"--card {path}: {len(tables)} tables; report one of them: {tables[0].folder}")
    return {path: model_card(tables[0], row)}


def write_all(contents: Mapping[Path, str]) -> None:
    """Write files atomically; none is replaced unless all can be written.

    Raises:
        OSError: a file cannot be written.
    """
    refuse_unwritable(*contents)
    for path, content in contents.items():
        write_text(path, content)
