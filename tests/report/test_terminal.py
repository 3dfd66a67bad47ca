"""A table on terminals of several widths: only whole columns are hidden, never a digit."""

import collections
import io
import re
from dataclasses import replace
from pathlib import Path

import pytest
from results import result
from rich.console import Console

from ocnet_pl.record.context import OnOwnClass
from ocnet_pl.record.costs import Cost
from ocnet_pl.record.result import Evaluation
from ocnet_pl.record.sealed import write_json
from ocnet_pl.report.cells import report_columns
from ocnet_pl.report.terminal import print_table
from ocnet_pl.statistics import Interval, MeanSD
from ocnet_pl.table import Table, read_tables

NEVER_LEFT_OUT = ("Method", "Val mIoU", "paper", "79.58 ± 0.24", "Difference", "Seeds")


@pytest.fixture
def table(tmp_path: Path) -> Table:
    """A wide table: the paper's numbers, two protocols, attention, costs, a failed seed."""
    for row, miou in (("baseline", 75.0), ("asp_oc", 83.0)):
        for seed in range(2):
            run = result(row, seed, miou + seed)
            flipped = Evaluation(0.8, 0.9, {}, images=5)
            run.curves["val/miou"] = [(4, 0.99)]
            run = replace(run, evaluations={**run.evaluations, "last/val/flip": flipped})
            run.write(tmp_path / row / f"seed-{seed}" / "result.json")
    write_json(tmp_path / "sweep.json", [f"x/{row}/seed-{seed}" for row in ("baseline", "asp_oc") for seed in range(3)])
    write_json(tmp_path / "asp_oc/seed-2/failure.json", {"error": "out of memory", "traceback": ""})
    (table,) = read_tables(tmp_path)
    asp_oc = table.rows[1]
    asp_oc.cost = Cost("asp_oc", "mapless", 3, 2, 1.0, 21.5, 9.0, 1234.0, "an abacus")
    asp_oc.context = OnOwnClass(MeanSD(0.5434, 0.012, 2), MeanSD(0.2028, 0.0, 2))
    main = table.main_column
    asp_oc.cells[main] = replace(asp_oc.cells[main], interval=Interval(8.12, -1.42, 17.58, 0.2))
    return table


def printed(table: Table, width: int, *, terminal: bool = True) -> tuple[str, str]:
    """The table itself, and what stands below it."""
    console = Console(file=io.StringIO(), force_terminal=terminal, width=width, no_color=True, color_system=None)
    print_table(table, console)
    assert isinstance(console.file, io.StringIO)
    text = re.sub(r"\x1b\[\d*m", "", console.file.getvalue())
    assert not terminal or max(map(len, text.splitlines())) <= width
    end = min(text.index(start) for start in ("Columns hidden", "Mean ±") if start in text)
    return text[:end], " ".join(text[end:].split())


@pytest.mark.parametrize("width", [80, 100, 120, 140, 170])
def test_no_digit_and_no_essential_column_is_lost(table: Table, width: int) -> None:
    grid, _ = printed(table, width)
    assert "…" not in grid
    for words in (*NEVER_LEFT_OUT, "83.50 ± 0.71", "+8.12 [-1.42, +17.58]", "not significant", "2 of 3"):
        assert words in grid


def test_hidden_columns_are_named(table: Table) -> None:
    grid, below = printed(table, 80)
    assert "Attention" not in grid
    hidden = below[: below.index("Mean ±")]
    for name in ("Params (M)", "Memory (MB)", "Attention on own class (%)", "Val mIoU, best validation (%)"):
        assert name in hidden
    assert "table.md" in hidden


def test_a_wide_terminal_shows_every_column(table: Table) -> None:
    grid, below = printed(table, 250)
    assert "Columns hidden" not in below
    for column in report_columns(table):
        assert set(column.heading.split()) <= set(grid.split())


@pytest.mark.parametrize("width", [30, 45, 60, 70])
def test_digits_wrap_on_the_narrowest_terminals(table: Table, width: int) -> None:
    grid, _ = printed(table, width)
    assert "…" not in grid
    letters = collections.Counter("".join(grid.split()))
    wanted = "MethodResNet-101+ASP-OC83.50±0.71+8.12[-1.42,+17.58]notsignificant79.58±0.242of3seed2failed"
    assert letters >= collections.Counter(wanted)
    if width >= 60:  # all words fit
        assert {"Method", "ResNet-101", "Baseline", "ASP-OC", "83.50", "+17.58]", "significant"} <= set(grid.split())


def test_redirected_output_has_every_column(table: Table) -> None:
    grid, below = printed(table, 40, terminal=False)
    assert "+8.12 [-1.42, +17.58] (not significant)" in grid
    assert "2 of 3 (seed 2 failed)" in grid
    assert "Memory (MB)" in grid
    assert "Columns hidden" not in below
