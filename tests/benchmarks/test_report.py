"""The report benchmark writes sweeps that are compared like real ones; the timings are not tested."""

from pathlib import Path

from report import ROWS, measure, write_sweep

from ocnet_pl.table import read_tables


def test_a_report_is_measured(tmp_path: Path) -> None:
    write_sweep(tmp_path / "table1", images=6, classes=3, seeds=2)
    cost = measure(tmp_path / "table1")
    assert cost.seconds > 0
    assert cost.megabytes > 10
    (table,) = read_tables(tmp_path / "table1")
    assert table.analysis is not None
    assert table.analysis.pairs.family == len(ROWS) * (len(ROWS) - 1) / 2
    assert (tmp_path / "table1" / "table.html").is_file()
