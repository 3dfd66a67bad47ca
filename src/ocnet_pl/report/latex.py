"""A table as LaTeX with `booktabs` rules."""

import re

from ocnet_pl.escaping import printable
from ocnet_pl.report.cells import lines
from ocnet_pl.report.footnotes import legend, remarks
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
    r"""Format a `table` environment with caption and label, for `\input{table}`; it requires `booktabs`."""
    headings, *rows = lines(table)
    text = [
        r"% Written by ocnet-report; the preamble needs \usepackage{booktabs}.",
        r"\begin{table}",
        r"  \centering",
        f"  \\caption{{{escape(table.title)}}}",
        f"  \\label{{tab:{re.sub('[^A-Za-z0-9:-]', '-', table.name)}}}",
        f"  \\begin{{tabular}}{{l{'r' * (len(headings) - 1)}}}",
        r"    \toprule",
        f"    {_line(headings)}",
        r"    \midrule",
        *(f"    {_line(row)}" for row in rows),
        r"    \bottomrule",
        r"  \end{tabular}",
        *(f"  \\par\\smallskip{{\\footnotesize {escape(note)}\\par}}" for note in (legend(table), *remarks(table))),
        r"\end{table}",
    ]
    return "\n".join(text) + "\n"


def escape(text: str) -> str:
    """Escape text for LaTeX; a sign before a number is set as mathematics."""
    escaped = _SPECIAL.sub(lambda match: _ESCAPED[match.group()], printable(text))
    return _SIGNED.sub(lambda match: f"${match.group()}$", escaped)


def _line(cells: list[str]) -> str:
    line = " & ".join(map(escape, cells)) + r" \\"
    # A bracket or star after the end of a line or a rule would be its argument.
    return f"{{}}{line}" if line.startswith(("[", "*")) else line
