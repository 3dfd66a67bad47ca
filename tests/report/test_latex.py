"""LaTeX of a table: balanced and escaped; it is not compiled."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import Main
from results import result

from ocnet_pl.errors import UserError
from ocnet_pl.report.cells import report_columns
from ocnet_pl.report.latex import escape, latex
from ocnet_pl.table import Table, read_tables


@pytest.fixture
def table(tmp_path: Path) -> Table:
    for row in ("baseline", "lr_0.1 & 50%", "a{b}\\c"):
        result(row, 0, 70, "my_table").write(tmp_path / row.replace("\\", "-") / "seed-0" / "result.json")
    (table,) = read_tables(tmp_path)
    return table


def test_braces_and_environments_are_balanced(table: Table) -> None:
    text = latex(table)
    opened = []
    for kind, name in re.findall(r"\\(begin|end)\{(\w+)\}", text):
        if kind == "begin":
            opened.append(name)
        else:
            assert opened.pop() == name
    assert opened == []
    bare = re.sub(r"\\[{}]", "", text)
    depth = 0
    for character in bare:
        depth += (character == "{") - (character == "}")
        assert depth >= 0
    assert depth == 0
    assert re.sub(r"\\\$", "", text).count("$") % 2 == 0


def test_every_line_has_a_cell_for_every_column(table: Table) -> None:
    text = latex(table)
    (columns,) = re.findall(r"\\begin\{tabular\}\{([lr]+)\}", text)
    assert len(columns) == len(report_columns(table)) <= 7
    lines = [line for line in text.splitlines() if line.endswith(r" \\")]
    assert len(lines) == 1 + len(table.rows)
    assert {len(re.findall(r"(?<!\\)&", line)) for line in lines} == {len(columns) - 1}


def test_rules_caption_and_label_are_present(table: Table) -> None:
    text = latex(table)
    for words in (r"\toprule", r"\midrule", r"\bottomrule", r"\caption{my\_table}", r"\label{tab:my-table}"):
        assert text.count(words) == 1


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("50 % & 3_a #1 $", r"50 \% \& 3\_a \#1 \$"),
        ("a\\b {x} ~ ^", r"a\textbackslash{}b \{x\} \textasciitilde{} \textasciicircum{}"),
        ("79.58 ± 0.24", r"79.58 $\pm$ 0.24"),
        ("+7.00 [-1.50, +9.00]", r"$+$7.00 [$-$1.50, $+$9.00]"),
        ("train-fine, 2026-01-02", "train-fine, 2026-01-02"),
    ],
)
def test_special_characters_are_escaped(text: str, escaped: str) -> None:
    assert escape(text) == escaped


@pytest.fixture
def wide(tmp_path: Path) -> Table:
    """Ten columns."""
    for row in ("baseline", "gp"):
        run = result(row, 0, 70)
        tested = run.evaluations["last/val/whole"]
        others = {f"last/{split}/{protocol}": tested for split in ("train", "val") for protocol in ("whole", "flip")}
        replace(run, evaluations={**run.evaluations, **others}).write(tmp_path / row / "seed-0" / "result.json")
    (table,) = read_tables(tmp_path)
    assert len(report_columns(table)) > 9
    return table


def headings(text: str) -> list[str]:
    (line,) = re.findall(r"\\toprule\n +(.*) \\\\\n", text)
    return line.replace(r" (\%)", "").split(" & ")


def test_at_most_seven_columns_are_shown(wide: Table) -> None:
    text = latex(wide)
    assert headings(text) == ["Method", "Train mIoU", "paper", "Val mIoU", "paper", "Difference", "Seeds"]
    assert "% Columns left out: Train, flip mIoU (%); Val pixel acc. (%);" in text
    assert "--columns" in text


def test_columns_can_be_chosen(wide: Table) -> None:
    text = latex(wide, ["seeds", "val MIOU", "paper", "Val pixel acc. (%)"])
    assert headings(text) == ["Method", "Seeds", "Val mIoU", "paper", "Val pixel acc."]
    assert "Bold" not in text
    with pytest.raises(UserError, match="--columns Speed: table1 has no such column here; its columns: Train mIoU"):
        latex(wide, ["Speed"])
    with pytest.raises(UserError, match="paper"):
        latex(wide, ["Seeds", "paper"])


def test_columns_are_chosen_on_the_command_line(wide: Table, call: Main, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("report", str(wide.folder), "--columns", "Val mIoU", "Seeds") == 0
    assert headings((wide.folder / "table.tex").read_text()) == ["Method", "Val mIoU", "Seeds"]
    assert call("report", str(wide.folder), "--columns", "Speed") == 2
    assert "--columns Speed" in capsys.readouterr().err
