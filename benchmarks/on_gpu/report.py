"""The report as Markdown."""

from collections.abc import Sequence

from ocnet_pl.escaping import markdown as escaped
from on_gpu.running import Outcome

MARKS = {True: "yes", False: "**no**", None: ""}


def markdown(outcomes: Sequence[Outcome], *, command: str, date: str, rehearsal: bool) -> str:
    """A table of all sections, then the findings of each."""
    title = "Rehearsal on the CPU: no number here is a result" if rehearsal else "On one GPU"
    lines = [f"# {title}", "", f"`{command}`, {date}.", ""]
    lines += table(
        ("section", "lines", "aim missed", "left out", "seconds"),
        [
            (one.section.title, len(one.findings), len(one.failures), len(one.left_out), f"{one.seconds:.0f}")
            for one in outcomes
        ],
    )
    for one in outcomes:
        section = one.section
        checked = any(finding.holds is not None for _, finding in one.findings)
        lines += ["", f"## {section.title}", "", section.aim, ""]
        rows = [
            [*_filled(finding.cells, len(section.columns)), *([MARKS[finding.holds]] if checked else [])]
            for _, finding in one.findings
        ]
        if rows:
            lines += table((*section.columns, *(["holds"] if checked else [])), rows)
        if one.left_out:
            lines += ["", f"Left out ({one.reason}): {', '.join(one.left_out)}."]
    return "\n".join(lines) + "\n"


def table(headings: Sequence[str], rows: Sequence[Sequence[object]]) -> list[str]:
    """Lines of a Markdown table."""
    return [_line(headings), _line(["---"] * len(headings)), *map(_line, rows)]


def _line(cells: Sequence[object]) -> str:
    return f"| {' | '.join(map(str, cells))} |"


def _filled(cells: Sequence[str], count: int) -> list[str]:
    return [*map(escaped, cells), *[""] * (count - len(cells))]
