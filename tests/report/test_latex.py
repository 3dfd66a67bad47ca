"""The LaTeX of a table: balanced, escaped, and as wide as its columns; nothing is compiled."""

import re
from pathlib import Path

import pytest
from results import result

from ocnet_pl.report.cells import report_columns
from ocnet_pl.report.latex import escape, latex
from ocnet_pl.table import Table, read_tables


@pytest.fixture
def table(tmp_path: Path) -> Table:
    for row in ("baseline", "lr_0.1 & 50%", "a{b}\\c"):
        result(row, 0, 70, "my_table").write(tmp_path / row.replace("\\", "-") / "seed-0" / "result.json")
    (table,) = read_tables(tmp_path)
    return table


def test_it_is_balanced(table: Table) -> None:
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
    assert len(columns) == len(report_columns(table))
    lines = [line for line in text.splitlines() if line.endswith(r" \\")]
    assert len(lines) == 1 + len(table.rows)
    assert {len(re.findall(r"(?<!\\)&", line)) for line in lines} == {len(columns) - 1}


def test_it_has_what_a_paper_needs(table: Table) -> None:
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
def test_characters_print_as_they_read(text: str, escaped: str) -> None:
    assert escape(text) == escaped
