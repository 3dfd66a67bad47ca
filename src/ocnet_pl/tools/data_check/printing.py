"""Findings of a check of a data set, on the terminal."""

from collections import Counter
from itertools import groupby

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table as RichTable

from ocnet_pl.drawing.numbers import percent
from ocnet_pl.tools.data_check.report import Report

MOST = 20
"""Lines of one kind; the JSON has all."""

_COLOURS = {"error": "red", "warning": "yellow", "note": "dim"}


def print_report(report: Report, console: Console) -> None:
    """Splits, classes, what is wrong with which file, and the verdict."""
    console.print(_splits(report))
    console.print(_classes(report))
    for (severity, kind), group in groupby(report.findings, key=lambda finding: (finding.severity, finding.kind)):
        findings = list(group)
        console.print(f"{severity}: {kind} ({len(findings)})", style=_COLOURS[severity], highlight=False)
        for finding in findings[:MOST]:
            console.print(f"  {finding.message}", highlight=False, markup=False, soft_wrap=True)
        if len(findings) > MOST:
            console.print(f"  and {len(findings) - MOST} more, which --json names", highlight=False)
    console.print(
        f"{sum(split.pairs for split in report.splits.values())} pairs in {report.seconds:.1f} s by {report.workers} "
        f"processes: {report.rate:.1f} pairs a second",
        style="dim",
        highlight=False,
    )
    errors = sum(finding.severity == "error" for finding in report.findings)
    named = "1 error, named above" if errors == 1 else f"{errors} errors, named above"
    verdict = "sound: a training can start" if report.sound else f"not sound: {named}"
    console.print(
        f"{report.dataset} in {report.root} is {verdict}",
        style="green" if report.sound else "red",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )


def _splits(report: Report) -> RichTable:
    grid = RichTable("", *report.splits, box=SIMPLE_HEAD)
    splits = report.splits.values()
    grid.add_row("images", *(str(split.pairs) for split in splits))
    grid.add_row("published", *("-" if split.published is None else str(split.published) for split in splits))
    grid.add_row("sizes", *(_common(split.sizes) for split in splits))
    grid.add_row("image modes", *(_common(split.image_modes) for split in splits))
    grid.add_row("label modes", *(_common(split.label_modes) for split in splits))
    ignored = (split.ignored / split.total if split.total else None for split in splits)
    grid.add_row("ignored pixels (%)", *map(percent, ignored))
    return grid


def _classes(report: Report) -> RichTable:
    """Table of the classes that occur."""
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
    """The three most common, and how many others there are."""
    shown = [value if len(counts) == 1 else f"{value} ({count})" for value, count in counts.most_common(3)]
    more = [f"{len(counts) - 3} others"] if len(counts) > 3 else []
    return "\n".join([*shown, *more]) or "-"
