"""A table as LaTeX with `booktabs` rules."""

import re
from collections.abc import Sequence

from ocnet_pl.errors import UserError
from ocnet_pl.escaping import printable
from ocnet_pl.report.cells import PAPER, ReportColumn, report_columns
from ocnet_pl.report.footnotes import legend, remarks
from ocnet_pl.report.verdicts import best_rows, findings, on_bold
from ocnet_pl.table import Table

MOST_COLUMNS = 7
"""Columns that fit on a page; `--columns` chooses others."""

_ESCAPED = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "×": r"$\times$",
    "<": r"$<$",
    ">": r"$>$",
    "|": r"$|$",
    **{character: f"\\{character}" for character in "&%$#_{}"},
}
_SPECIAL = re.compile("[" + re.escape("".join(_ESCAPED)) + "]")
_SIGNED = re.compile(r"(?<![\w.-])([+-])(?=\d)")


def latex(table: Table, chosen: Sequence[str] | None = None) -> str:
    r"""Format a `table` environment with caption and label, for `\input{table}`; it requires `booktabs`.

    The highest score is bold, and those that are not told apart from it.

    Args:
        table: the table.
        chosen: headings of the columns after the first; None for at most seven columns, the essential ones first.

    Raises:
        UserError: the table has no such column.
    """
    columns = report_columns(table)
    shown = _usual(columns) if chosen is None else _chosen(columns, chosen, table)
    left_out = "; ".join(column.heading for column in columns if column not in shown and column.heading != PAPER)
    best = best_rows(table)
    main = table.columns[table.main_column].label
    notes = [*findings(table), legend(table), *remarks(table)]
    if best and any(column.heading == main for column in shown):
        notes.insert(0, on_bold(table))
    text = [
        r"% Written by ocnet-report; the preamble needs \usepackage{booktabs}.",
        *([f"% Columns left out: {printable(left_out)}. Choose with ocnet-report --columns."] if left_out else []),
        r"\begin{table}",
        r"  \centering",
        f"  \\caption{{{escape(table.title)}}}",
        f"  \\label{{tab:{re.sub('[^A-Za-z0-9:-]', '-', table.name)}}}",
        f"  \\begin{{tabular}}{{l{'r' * (len(shown) - 1)}}}",
        r"    \toprule",
        f"    {_line([escape(column.heading) for column in shown])}",
        r"    \midrule",
    ]
    for row in table.rows:
        cells = [_cell(str(column.entry(row)), bold=row.name in best and column.heading == main) for column in shown]
        text.append(f"    {_line(cells)}")
    text += [
        r"    \bottomrule",
        r"  \end{tabular}",
        *(f"  \\par\\smallskip{{\\footnotesize {escape(note)}\\par}}" for note in notes),
        r"\end{table}",
    ]
    return "\n".join(text) + "\n"


def escape(text: str) -> str:
    """Escape text for LaTeX; a sign before a number is set as mathematics."""
    escaped = _SPECIAL.sub(lambda match: _ESCAPED[match.group()], printable(text))
    return _SIGNED.sub(lambda match: f"${match.group()}$", escaped)


def _usual(columns: Sequence[ReportColumn]) -> list[ReportColumn]:
    """Keep the essential columns and as many others as fit, in order; the paper's numbers stay beside ours."""
    room = MOST_COLUMNS - sum(column.essential for column in columns)
    shown: list[ReportColumn] = []
    for place, column in enumerate(columns):
        if column.essential:
            shown.append(column)
        elif column.heading == PAPER:
            if columns[place - 1] in shown and room > 0:
                shown.append(column)
                room -= 1
        elif room > 0:
            shown.append(column)
            room -= 1
    return shown


def _chosen(columns: Sequence[ReportColumn], names: Sequence[str], table: Table) -> list[ReportColumn]:
    """Columns of these headings, in their order; `paper` is that of the column before it."""
    shown = [columns[0]]
    for name in names:
        found = [column for column in columns[1:] if _plain(column.heading) == _plain(name)]
        if _plain(name) == PAPER:
            after = columns.index(shown[-1]) + 1
            found = [column for column in columns[after : after + 1] if column.heading == PAPER]
        if not found:
            headings = "; ".join(column.heading for column in columns[1:])
            raise UserError(f"--columns {name}: {table.name} has no such column here; its columns: {headings}")
        shown.append(found[0])
    return shown


def _plain(heading: str) -> str:
    return heading.removesuffix(" (%)").strip().lower()


def _cell(text: str, *, bold: bool) -> str:
    return f"\\textbf{{{escape(text)}}}" if bold else escape(text)


def _line(cells: Sequence[str]) -> str:
    line = " & ".join(cells) + r" \\"
    # A bracket or star after the end of a line or a rule would be its argument.
    return f"{{}}{line}" if line.startswith(("[", "*")) else line
