"""Printed report of a check."""

from collections import Counter
from itertools import groupby
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table as RichTable

from ocnet_pl.drawing.numbers import percent
from ocnet_pl.tools.data_check.report import Report

MAX_LINES = 20
"""Printed findings of each kind; the JSON has all."""

_COLOURS = {"error": "red", "warning": "yellow", "note": "dim"}


def print_report(report: Report, console: Console) -> None:
    """Print the splits, the classes, the findings and the verdict."""

    def line(text: str, **style: Any) -> None:
        console.print(text, highlight=False, markup=False, soft_wrap=True, **style)

    console.print(_splits(report))
    console.print(_classes(report))
    for (severity, kind), group in groupby(report.findings, key=lambda finding: (finding.severity, finding.kind)):
        findings = list(group)
        line(f"{severity}: {kind} ({len(findings)})", style=_COLOURS[severity])
        for finding in findings[:MAX_LINES]:
            line(f"  {finding.message}")
        if len(findings) > MAX_LINES:
            line(f"  and {len(findings) - MAX_LINES} more; --json prints all")
    pairs = sum(split.pairs for split in report.splits.values())
    processes = "1 process" if report.workers == 1 else f"{report.workers} processes"
    line(f"{pairs} pairs in {report.seconds:.1f} s with {processes}: {report.rate:.1f} pairs/s", style="dim")
    errors = sum(finding.severity == "error" for finding in report.findings)
    listed = f"{errors} error{'s' if errors > 1 else ''}, listed above"
    verdict = "no errors found, ready for training" if report.sound else listed
    line(f"{report.dataset} ({report.root}): {verdict}", style="green" if report.sound else "red")


def _splits(report: Report) -> RichTable:
    grid = RichTable("", *report.splits, box=SIMPLE_HEAD)
    splits = report.splits.values()
    grid.add_row("images", *(str(split.pairs) for split in splits))
    grid.add_row("expected", *("-" if split.published is None else str(split.published) for split in splits))
    grid.add_row("sizes", *(_common(split.sizes) for split in splits))
    grid.add_row("image modes", *(_common(split.image_modes) for split in splits))
    grid.add_row("label modes", *(_common(split.label_modes) for split in splits))
    ignored = (split.ignored / split.total if split.total else None for split in splits)
    grid.add_row("ignored pixels (%)", *map(percent, ignored))
    return grid


def _classes(report: Report) -> RichTable:
    """Table of the classes with pixels."""
    grid = RichTable(box=SIMPLE_HEAD)
    grid.add_column("Class")
    labelled = {name: split for name, split in report.splits.items() if split.total > split.ignored}
    for name in labelled:
        grid.add_column(f"{name}: pixels (%)", justify="right")
        grid.add_column("images", justify="right")
    for label in dict.fromkeys(label for split in labelled.values() for label in split.pixels):
        if any(split.pixels[label] for split in labelled.values()):
            cells = []
            for split in labelled.values():
                share = split.pixels[label] / (split.total - split.ignored)
                cells += [percent(share) if split.pixels[label] else "-", str(split.images[label])]
            grid.add_row(label, *cells)
    return grid


def _common(counts: Counter[str]) -> str:
    """The three most common values, and the number of others."""
    shown = [value if len(counts) == 1 else f"{value} ({count})" for value, count in counts.most_common(3)]
    more = [f"{len(counts) - 3} others"] if len(counts) > 3 else []
    return "\n".join([*shown, *more]) or "-"
