import csv
import io
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ocnet_pl.errors import UserError
from ocnet_pl.rendering.files import comma_separated, html, markdown, write_files
from ocnet_pl.result import Evaluation, Result
from ocnet_pl.run_directory import write_json
from ocnet_pl.statistics import paired_difference, spread
from ocnet_pl.table import read_tables


def result(row: str, seed: int, miou: float, table: str = "table1") -> Result:
    evaluation = Evaluation(miou / 100, 0.9, {"road": miou / 100, "car": None}, images=5)
    return Result(
        table=table, row=row, seed=seed, choices={"model/head": row, "inference": "whole"}, overrides=[], config={},
        config_hash="0", commit=None, packages={}, device="cpu", processes=1, seconds=1.0, peak_memory=1, steps=10,
        weights_sha256="", parameters={"total": 3}, evaluations={"last/val/whole": evaluation},
        curves={"train/loss": [(0, 3.0), (5, 2.0)], "val/miou": [(5, miou / 100)]}, samples=[], finished="",
    )  # fmt: skip


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    scores = {"asp_oc": [82, 84, 83], "baseline": [75, 76, 77], "base_oc": [78, 80]}
    for row, values in scores.items():
        for seed, value in enumerate(values):
            result(row, seed, value).write(tmp_path / row / f"seed-{seed}" / "result.json")
    write_json(tmp_path / "sweep.json", [f"x/{row}/seed-{seed}" for row in scores for seed in range(3)])
    write_json(tmp_path / "base_oc" / "seed-2" / "failure.json", {"error": "out of memory", "traceback": ""})
    return tmp_path


def test_spread() -> None:
    assert spread([1, 2, 3]).sd == 1
    assert spread([5.0]).mean == 5
    assert math.isnan(spread([5.0]).sd)
    assert math.isnan(spread([]).mean)
    assert spread([1, math.nan, 3]).n == 2


def test_differences_are_paired_by_seed() -> None:
    difference = paired_difference({0: 10, 1: 21, 5: 99}, {0: 9, 1: 19, 2: 0})
    assert (difference.mean, difference.n) == (1.5, 2)
    assert difference.sd == pytest.approx(np.std([1, 2], ddof=1))


def test_rows_stand_in_the_papers_order_beside_its_numbers(sweep: Path) -> None:
    (table,) = read_tables(sweep)
    assert [row.name for row in table.rows] == ["baseline", "base_oc", "asp_oc"]
    assert table.rows[0].label == "ResNet-101 Baseline"
    cell = table.rows[2].cells[table.main_column]
    assert (cell.ours.mean, cell.ours.sd, cell.ours.n) == pytest.approx((83, 1, 3))
    assert cell.difference is not None
    assert cell.difference.mean == pytest.approx(7)
    assert cell.paper == (79.58, 0.24)


def test_missing_and_failed_runs_are_shown(sweep: Path) -> None:
    (table,) = read_tables(sweep)
    assert table.unfinished == ["base_oc/seed-2: failed"]
    assert "2 (seed 2 failed)" in markdown(table)
    assert "base_oc/seed-2: failed" in html(table)


def test_all_formats_say_the_same(sweep: Path) -> None:
    (table,) = read_tables(sweep)
    assert "| ResNet-101 + ASP-OC | 83.00 ± 1.00 | 79.58 ± 0.24 |" in markdown(table)
    assert "<td>83.00 ± 1.00</td><td>79.58 ± 0.24</td>" in html(table)
    lines = list(csv.DictReader(io.StringIO(comma_separated(table))))
    (asp_oc,) = [line for line in lines if line["row"] == "asp_oc" and line["metric"] == "miou"]
    assert float(asp_oc["mean"]) == pytest.approx(83)
    assert float(asp_oc["difference"]) == pytest.approx(7)
    assert asp_oc["paper"] == "79.58"


def test_files_are_written_and_named(sweep: Path) -> None:
    (table,) = read_tables(sweep)
    paths = write_files(table, sweep)
    assert [path.name for path in paths] == ["table.md", "table.csv", "table.html"]
    page = paths[2].read_text()
    assert page.count("<svg") == 2
    assert "http" not in page.replace("http://www.w3.org", "").replace("https://matplotlib.org", "").replace(
        "http://purl.org", ""
    ).replace("http://creativecommons.org", "")


def test_an_empty_directory_is_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no finished run"):
        read_tables(tmp_path)
    with pytest.raises(UserError, match="no such directory"):
        read_tables(tmp_path / "nowhere")


def test_a_result_reads_back(tmp_path: Path) -> None:
    written = result("asp_oc", 0, 80)
    written.write(tmp_path / "result.json")
    read = Result.read(tmp_path / "result.json")
    assert read.evaluations == written.evaluations
    assert read.directory == tmp_path
    (tmp_path / "result.json").write_text("{}")
    with pytest.raises(UserError, match="not a result"):
        Result.read(tmp_path / "result.json")


def test_a_difference_comes_with_its_interval(sweep: Path) -> None:
    rng = np.random.default_rng(0)
    for path in sweep.rglob("result.json"):
        share = 0.9 if "asp_oc" in str(path) else 0.7
        hits = rng.binomial(1000, share, (5, 2))
        counts = np.stack([hits, (1000 - hits)[:, ::-1], 1000 - hits], 1)
        np.savez(path.parent / "counts.npz", counts=counts)
        read = Result.read(path)
        evaluation = replace(read.evaluations["last/val/whole"], counts="counts.npz")
        replace(read, evaluations={"last/val/whole": evaluation}).write(path)
    (table,) = read_tables(sweep)
    asp_oc, base_oc = (next(row for row in table.rows if row.name == name) for name in ("asp_oc", "base_oc"))
    for row, significant in ((asp_oc, True), (base_oc, False)):
        interval = row.cells[table.main_column].interval
        assert interval is not None
        assert interval.significant is significant
    assert ", not significant" in markdown(table)


def test_other_peoples_rows_stand_beside_ours(tmp_path: Path) -> None:
    result("asp_oc", 0, 44, table="table5").write(tmp_path / "asp_oc" / "seed-0" / "result.json")
    (table,) = read_tables(tmp_path)
    text = markdown(table)
    assert "| OCNet, ResNet-101 | 44.00 | 45.45 |" in text
    assert "| EncNet, ResNet-101 (CVPR 2018) | - | 44.65 |" in text
    assert html(table).count("EncNet") == 1
