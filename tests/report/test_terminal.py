"""A table on terminals of several widths: whole columns go, never a digit."""

import io
import re
from dataclasses import replace
from pathlib import Path

import pytest
from results import result
from rich.console import Console

from ocnet_pl.record.context import OnOwnClass
from ocnet_pl.record.costs import Cost
from ocnet_pl.record.directory import write_json
from ocnet_pl.record.result import Evaluation
from ocnet_pl.report.terminal import print_table
from ocnet_pl.statistics import Interval, Spread
from ocnet_pl.table import Table, read_tables

NEVER_LEFT_OUT = ("Method", "Val mIoU", "Difference", "Seeds")


@pytest.fixture
def table(tmp_path: Path) -> Table:
    """As wide as they get: the paper's numbers, two protocols, a measure of context, costs, a failed seed."""
    for row, miou in (("baseline", 75.0), ("asp_oc", 83.0)):
        for seed in range(2):
            run = result(row, seed, miou + seed)
            flipped = Evaluation(0.8, 0.9, {}, images=5)
            run = replace(run, evaluations={**run.evaluations, "last/val/flip": flipped})
            run.write(tmp_path / row / f"seed-{seed}" / "result.json")
    write_json(tmp_path / "sweep.json", [f"x/{row}/seed-{seed}" for row in ("baseline", "asp_oc") for seed in range(3)])
    write_json(tmp_path / "asp_oc/seed-2/failure.json", {"error": "out of memory", "traceback": ""})
    (table,) = read_tables(tmp_path)
    asp_oc = table.rows[1]
    asp_oc.cost = Cost("asp_oc", "mapless", 3, 2, 1.0, 21.5, 9.0, 1234.0, "an abacus")
    asp_oc.context = OnOwnClass(Spread(0.5434, 0.012, 2), Spread(0.2028, 0.0, 2))
    main = table.main_column
    asp_oc.cells[main] = replace(asp_oc.cells[main], interval=Interval(0.0812, -0.0142, 0.1758, 2, 0.2))
    return table


def printed(table: Table, width: int, *, terminal: bool = True) -> tuple[str, str]:
    """The table itself, and what stands below it."""
    console = Console(file=io.StringIO(), force_terminal=terminal, width=width, no_color=True, color_system=None)
    print_table(table, console)
    assert isinstance(console.file, io.StringIO)
    text = re.sub(r"\x1b\[\d*m", "", console.file.getvalue())
    assert not terminal or max(map(len, text.splitlines())) <= width
    end = min(text.index(start) for start in ("Too wide", "Mean ±") if start in text)
    return text[:end], " ".join(text[end:].split())


@pytest.mark.parametrize("width", [80, 100, 120, 140, 170])
def test_no_digit_and_no_important_column_is_lost(table: Table, width: int) -> None:
    grid, _ = printed(table, width)
    assert "…" not in grid
    for words in (*NEVER_LEFT_OUT, "83.50 ± 0.71", "+8.12 [-1.42, +17.58]", "not significant", "2 of 3"):
        assert words in grid


def test_what_is_left_out_is_said(table: Table) -> None:
    grid, below = printed(table, 80)
    assert "Context" not in grid
    said = below[: below.index("have all.")]
    for name in ("Params (M)", "Memory (MB)", "Context on own class (%)", "Val, best mIoU (%)"):
        assert name in said
    assert "table.md, table.csv and table.html" in said


def test_what_can_be_spared_best_goes_first(table: Table) -> None:
    left_out = []
    for width in range(60, 200, 5):
        _, below = printed(table, width)
        left_out.append(below[: below.index("table.md")] if below.startswith("Too wide") else "")
    order = [
        "the paper's Val mIoU",
        "Val pixel acc.",
        "Val, flip mIoU",
        "Val, best mIoU",
        "Context",
        "Params",
        "Memory",
    ]
    narrowest = [sum(name in said for said in left_out) for name in order]
    assert narrowest == sorted(narrowest)
    assert left_out[-1] == ""


def test_a_file_is_as_wide_as_it_needs_to_be(table: Table) -> None:
    grid, below = printed(table, 40, terminal=False)
    assert "+8.12 [-1.42, +17.58], not significant" in grid
    assert "2 of 3 (seed 2 failed)" in grid
    assert "Memory (MB)" in grid
    assert "Too wide" not in below
