"""A table as LaTeX, for a paper: `booktabs` rules, nothing else needed."""

import re

from ocnet_pl.escaping import printable
from ocnet_pl.report.footnotes import legend, remarks
from ocnet_pl.report.text import headings, line
from ocnet_pl.table import Table

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


def latex(table: Table) -> str:
    r"""A `table` environment with caption and label, for `\input{table}` below `\usepackage{booktabs}`."""
    columns = headings(table)
    lines = [
        r"% Written by ocnet-report; the preamble needs \usepackage{booktabs}.",
        r"\begin{table}",
        r"  \centering",
        f"  \\caption{{{escape(table.title)}}}",
        f"  \\label{{tab:{re.sub('[^A-Za-z0-9:-]', '-', table.name)}}}",
        f"  \\begin{{tabular}}{{l{'r' * (len(columns) - 1)}}}",
        r"    \toprule",
        f"    {_line(columns)}",
        r"    \midrule",
        *(f"    {_line(line(table, row))}" for row in table.rows),
        r"    \bottomrule",
        r"  \end{tabular}",
        *(f"  \\par\\smallskip{{\\footnotesize {escape(text)}\\par}}" for text in (legend(table), *remarks(table))),
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def escape(text: str) -> str:
    """Escape text so that it prints as it reads; a sign before a number becomes mathematics."""
    escaped = _SPECIAL.sub(lambda match: _ESCAPED[match.group()], printable(text))
    return _SIGNED.sub(lambda match: f"${match.group()}$", escaped)


def _line(cells: list[str]) -> str:
    line = " & ".join(map(escape, cells)) + r" \\"
    # Behind the end of a line or a rule, a bracket or a star would be its argument.
    return f"{{}}{line}" if line.startswith(("[", "*")) else line
