"""Names from files reach every output as they read: no escape codes, no markup, no formulas."""

import csv
import io
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from results import result
from rich.console import Console

from ocnet_pl.escaping import figure_text, markdown, markdown_paragraph, printable, spreadsheet
from ocnet_pl.record.directory import State
from ocnet_pl.record.result import Result
from ocnet_pl.record.status import RunStatus
from ocnet_pl.report import charts, curves
from ocnet_pl.report.files import html, table_files
from ocnet_pl.report.latex import escape
from ocnet_pl.report.status import print_status
from ocnet_pl.report.svg import svg
from ocnet_pl.report.terminal import print_table
from ocnet_pl.table import Table, make_table, read_tables

HOSTILE = [
    "\x1b[31mred\x1b[0m", "\x1b]0;title\x07", "two\nlines", "tab\tname", "\rback", "\u202egnp.exe", "\x9b31m",
    "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", '" onload="x', "a|b", "a\\|b", "`code`", "**bold**",
    "[link](javascript:x)", "![](http://x.example/)", "&lt;b&gt;", "$x^2$", r"\input{/etc/passwd}", "100% _sure_ #1",
    "=1+1", "+1", "-1", "@SUM(A1)", "=HYPERLINK('http://x')", "_hidden", "[bold]x[/bold]", ":smile:", "日本語",
]  # fmt: skip


@pytest.mark.parametrize("text", [*HOSTILE, "\udcff"])
def test_printable_text_has_no_controls(text: str) -> None:
    shown = printable(text)
    assert all(char.isprintable() for char in shown)
    assert printable(shown) == shown
    shown.encode()


@pytest.mark.parametrize("text", ["ASP-OC", "é ü 日本", "83.00 ± 1.00", "no\u00a0break", "a  b"])
def test_what_is_printable_stays(text: str) -> None:
    assert printable(text) == text


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("a|b", r"a\|b"),
        ("a\\|b", r"a\\\|b"),
        ("<b>&amp;", "&lt;b>&amp;amp;"),
        ("`x` *y* ~z~ $w$", r"\`x\` \*y\* \~z\~ \$w\$"),
        ("[a](b)", r"[a]\(b)"),
        ("[a]: b", r"[a]\: b"),
        ("__init__ multi_scale _x_", r"\_\_init\_\_ multi_scale \_x\_"),
        ("+5.00 [+1.00, +9.00], not significant", "+5.00 [+1.00, +9.00], not significant"),
        ("300 -> 400 & more", "300 -> 400 & more"),
        ("one\ntwo", r"one\\ntwo"),
    ],
)
def test_markdown(text: str, escaped: str) -> None:
    assert markdown(text) == escaped


@pytest.mark.parametrize(
    ("text", "escaped"),
    [("# a", r"\# a"), ("- a", r"\- a"), ("1. a", r"1\. a"), ("> a", r"\> a"), ("===", r"\==="), ("GP - a", "GP - a")],
)
def test_a_paragraph_of_markdown_is_no_block(text: str, escaped: str) -> None:
    assert markdown_paragraph(text) == escaped


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@x", "\uff1d1", "\t=1", "\r=1"])
def test_a_cell_is_no_formula(text: str) -> None:
    assert not spreadsheet(text).startswith(("=", "+", "-", "@", "\t", "\r", "\uff1d"))
    assert spreadsheet("ppm") == "ppm"


def test_latex_keeps_a_line_together() -> None:
    assert escape("$_{}\\\n") == r"\$\_\{\}\textbackslash{}\textbackslash{}n"


@pytest.fixture(params=range(0, len(HOSTILE), 7))
def hostile(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[list[str], Table]:
    """A table with such names as rows, classes, title, device and in its notes."""
    names = HOSTILE[request.param : request.param + 7]
    read = []
    for i, row in enumerate(("baseline", *names)):
        run = result(row, 0, 75 + i, table=names[0], device=row, commit=row, config={"a": row})
        evaluation = replace(run.evaluations["last/val/whole"], iou=dict.fromkeys(names, 0.5 + i / 20))
        path = tmp_path / str(i) / "result.json"
        replace(run, evaluations={"last/val/whole": evaluation}).write(path)
        read.append(Result.read(path))
    table = make_table(names[0], read)
    for name in names:
        table.unlike.append(f"{name}: differs")
        table.notes.unreadable.append(f"{name}: damaged")
        table.notes.copies.append(f"{name}: a copy")
    return names, table


@pytest.fixture(scope="module")
def usual(tmp_path_factory: pytest.TempPathFactory) -> "Tags":
    """The page of a usual table."""
    folder = tmp_path_factory.mktemp("usual")
    for i, row in enumerate(("baseline", "gp")):
        result(row, 0, 75 + i, table="usual").write(folder / row / "seed-0" / "result.json")
    (table,) = read_tables(folder)
    table.notes.unreadable.append("damaged")
    page = Tags()
    page.feed(html(table))
    return page


class Tags(HTMLParser):
    """Names of the elements and their attributes, and all that is text."""

    def __init__(self) -> None:
        super().__init__()
        self.found: set[tuple[str, ...]] = set()
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.add((tag, *(name for name, _ in attrs)))

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def test_no_output_runs_a_name(hostile: tuple[list[str], Table], usual: Tags, tmp_path: Path) -> None:
    names, table = hostile
    console = Console(file=io.StringIO(), force_terminal=True, width=400, color_system=None)
    print_table(table, console)
    print_status(names[0], [RunStatus(name, State.FAILED, note=name) for name in names], console)
    assert isinstance(console.file, io.StringIO)
    printed = re.sub(r"\x1b\[\d*m", "", console.file.getvalue())
    assert all(char.isprintable() or char == "\n" for char in printed)
    assert all(printable(name) in printed for name in names)

    text, commas, tex, page = table_files(table, tmp_path).values()
    assert all(char.isprintable() or char == "\n" for char in text + tex)
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert len({len(re.findall(r"(?<!\\)(?:\\\\)*\|", line)) for line in rows}) == 1, "as many cells in every row"
    assert not re.search("<[a-z!/]", text)
    assert "](" not in text

    tags = Tags()
    tags.feed(page)
    assert tags.found <= usual.found | {("table", "class")}, "no element that a usual page has not"
    assert all(any(printable(name) in words for words in tags.text) for name in names)

    assert "\\input" not in tex.replace("\\textbackslash{}input", "")
    assert not re.search(r"\\(\\|toprule|midrule)\s*[\[*]", tex)

    lines = list(csv.reader(io.StringIO(commas)))
    assert len({len(line) for line in lines}) == 1
    for line in lines[1:]:
        assert not any(cell.startswith(("=", "+", "-", "@", "\t", "\r")) for cell in line[:4])


@pytest.mark.parametrize("name", ["$x^2$", r"\$a$ and $b", "$\\undefined$", "_hidden", "50$", "a_b"])
def test_a_figure_shows_a_name_as_it_is(name: str, tmp_path: Path) -> None:
    result(name, 0, 75).write(tmp_path / name / "seed-0" / "result.json")
    (table,) = read_tables(tmp_path)
    for figure in (charts.dots(table), curves.curves(table), charts.class_dots(table)[0]):  # ticks, line ends, legends
        drawn = svg(figure)
        words = " ".join(re.findall(r">([^<]+)</text>", drawn))
        assert name in words


def test_a_legend_leaves_no_name_out() -> None:
    assert figure_text("_hidden") == " _hidden"
