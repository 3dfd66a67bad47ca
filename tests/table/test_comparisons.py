"""Comparisons of rows: what is compared, what is refused with a reason, and what every format says of it."""

import csv
import io
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import Main
from results import counted, counts_with, result

from ocnet_pl.record.result import Result
from ocnet_pl.report.files import comma_separated, html, markdown
from ocnet_pl.report.latex import latex
from ocnet_pl.table import Cell, Table, find_tables, read_tables

SHARES = {"baseline": 0.70, "gp": 0.71, "ppm": 0.90}
"""Share of right pixels by row: GP is close to the baseline, PPM far above."""


def written(folder: Path, seeds: dict[str, tuple[int, ...]], images: int = 20) -> Path:
    for row, of_row in seeds.items():
        for seed in of_row:
            rng = np.random.default_rng([seed, len(row)])
            share = SHARES[row] + (0.0, 0.01, -0.02, 0.015, -0.01, 0.0, 0.01)[seed % 7]
            counted(folder, row, seed, counts_with(share, rng, images))
    return folder


def cell(table: Table, row: str) -> Cell:
    return next(of for of in table.rows if of.name == row).cells[table.main_column]


def lines(table: Table, **wanted: str) -> list[dict[str, str]]:
    found = csv.DictReader(io.StringIO(comma_separated(table)))
    return [line for line in found if all(line[key] == value for key, value in wanted.items())]


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    return written(tmp_path, dict.fromkeys(SHARES, (0, 1, 2)))


def test_verdicts_in_every_format(sweep: Path) -> None:
    (table,) = read_tables(sweep)
    assert table.significant(table.main_column) == {"gp": False, "ppm": True}
    assert cell(table, "gp").interval is not None
    text = markdown(table)
    assert re.search(r"\| ResNet-101 \+ GP .*\] \(not significant\) \|", text)
    assert re.search(r"\| ResNet-101 \+ PPM .*\+\d+\.\d+ \[\+\d+\.\d+, \+\d+\.\d+\] \|", text)
    assert "with its 95 % interval over seeds and images" in text
    assert "Holm's correction for the 2 comparisons" in text
    assert "<small>not significant</small>" in html(table)
    gp, ppm = (lines(table, row=row, metric="miou")[0] for row in ("gp", "ppm"))
    assert (gp["significant"], ppm["significant"]) == ("no", "yes")
    for line in (gp, ppm):
        assert (line["other"], line["method"], line["version"]) == ("baseline", "borrow 2", "3")
        assert float(line["low"]) < float(line["difference"]) < float(line["high"])
        assert float(line["p"]) <= float(line["p_holm"])


def test_a_difference_is_that_of_the_means_beside_it(tmp_path: Path) -> None:
    """Also if the baseline has more seeds, or others."""
    for seeds in ((0,), (0, 1), (5, 6)):
        folder = written(tmp_path / str(seeds), {"baseline": (0, 1, 2), "gp": seeds, "ppm": (0, 1, 2)})
        (table,) = read_tables(folder)
        of_gp, of_base = cell(table, "gp"), cell(table, "baseline")
        assert of_gp.difference == pytest.approx(of_gp.ours.mean - of_base.ours.mean)
        assert of_gp.interval is not None
        assert of_gp.interval.seeds == (len(seeds), 3)
        assert of_gp.interval.difference == of_gp.difference


def test_a_difference_is_not_one_of_rounded_means(tmp_path: Path) -> None:
    for row, miou in (("baseline", 70.006), ("gp", 71.014)):
        result(row, 0, miou).write(tmp_path / row / "seed-0" / "result.json")
    (table,) = read_tables(tmp_path)
    text = markdown(table)
    assert re.search(r"\| ResNet-101 Baseline \|.* 70\.01 ", text)
    assert re.search(r"\| ResNet-101 \+ GP \|.* 71\.01 .*\| \+1\.01 \|", text), "1.008, although 71.01 - 70.01 is 1.00"
    assert cell(table, "gp").difference == pytest.approx(1.008)


def test_one_seed_takes_the_spread_of_the_others_and_says_so(tmp_path: Path) -> None:
    (table,) = read_tables(written(tmp_path, {"baseline": (0, 1, 2), "gp": (0,), "ppm": (0, 1, 2)}))
    text = markdown(table)
    assert re.search(r"\| ResNet-101 \+ GP .*\(not significant, one seed\)", text)
    assert '"One seed": how much the row varies over seeds is taken from the other rows.' in text
    (table,) = read_tables(written(tmp_path / "base", {"baseline": (0,), "gp": (0, 1, 2), "ppm": (0, 1, 2)}))
    assert "ResNet-101 Baseline has one seed: how much it varies" in markdown(table)


@pytest.mark.parametrize(
    ("wild", "found"), [("gp", "(not significant, varies more)"), ("baseline", "Baseline varies so much")]
)
def test_a_row_that_varies_far_more_borrows_nothing_and_the_table_says_so(
    wild: str, found: str, tmp_path: Path
) -> None:
    for row in (*SHARES, "aspp"):
        for seed, luck in enumerate((-1, 0, 1)):
            share = 0.7 + luck * (0.15 if row == wild else 0.003)
            counted(tmp_path, row, seed, counts_with(share, np.random.default_rng([seed, len(row)])))
    (table,) = read_tables(tmp_path)
    intervals = {row: cell(table, row).interval for row in ("gp", "ppm")}
    unlike = {row: interval.unlike for row, interval in intervals.items() if interval}
    assert unlike == {"gp": (wild == "gp", wild == "baseline"), "ppm": (False, wild == "baseline")}
    assert found in markdown(table)


def test_without_two_seeds_in_any_row_there_is_no_verdict(tmp_path: Path) -> None:
    (table,) = read_tables(written(tmp_path, dict.fromkeys(SHARES, (0,))))
    assert table.significant(table.main_column) == {}
    assert table.analysis is not None
    assert table.analysis.pairs.family == 0
    assert table.analysis.pairs.best == []
    text = markdown(table)
    assert text.count("(images only, no verdict)") == 2
    assert "95 % interval over images" in text
    assert "told apart" not in text
    assert "textbf" not in latex(table)
    assert "There are no verdicts, because the spread over seeds is unknown" in html(table)
    (line,) = lines(table, row="ppm", metric="miou")
    assert (line["p"], line["p_holm"], line["significant"], line["method"]) == ("", "", "", "images only")


def test_the_same_weights_are_compared_in_pairs(tmp_path: Path) -> None:
    """Two protocols on the same networks: their common spread over seeds cancels."""
    rng = np.random.default_rng(0)
    for seed, luck in enumerate((0.0, 0.06, -0.05)):
        counts = counts_with(0.7 + luck, rng)
        better = counts.copy()
        better[:, 0] += 8
        better[:, 2] -= 8
        for row, protocol, of in (("plain", "whole", counts), ("ms_flip", "multi_scale", better)):
            choices = {"model/head": "asp_oc", "inference": protocol}
            counted(tmp_path, row, seed, of, table="table2", choices=choices, weights_sha256=f"network {seed}")
    (table,) = read_tables(tmp_path)
    interval = cell(table, "ms_flip").interval
    assert interval is not None
    assert interval.method == "paired"
    assert table.significant(table.main_column)["ms_flip"]
    assert "(same weights)" in markdown(table)
    assert "both rows test the same networks" in markdown(table)
    path = tmp_path / "ms_flip" / "seed-2" / "result.json"
    replace(Result.read(path), weights_sha256="retrained").write(path)
    (table,) = read_tables(tmp_path)
    of_pairs = cell(table, "ms_flip").interval
    assert of_pairs is not None
    assert of_pairs.seeds == (2, 2), "only the runs of common weights are pairs"


def test_equal_weights_within_a_row_count_once(sweep: Path) -> None:
    (before,) = read_tables(sweep)
    path = sweep / "ppm" / "seed-2" / "result.json"
    replace(Result.read(path), weights_sha256="ppm0").write(path)
    (table,) = read_tables(sweep)
    assert cell(table, "ppm").ours.n == 2
    assert cell(table, "ppm").ours.sd > 0
    assert cell(before, "ppm").ours.n == 3
    interval = cell(table, "ppm").interval
    assert interval is not None
    assert interval.seeds == (2, 3)
    assert "ResNet-101 + PPM: seed 2 has exactly the weights of seed 0; it counts once." in markdown(table)


def test_runs_on_other_images_are_not_compared(sweep: Path) -> None:
    for seed in range(3):
        counts = np.load(sweep / "gp" / f"seed-{seed}" / "counts.npz")["counts"]
        counted(sweep, "gp", seed, counts, images=[f"other {place}" for place in range(20)])
    (table,) = read_tables(sweep)
    assert cell(table, "gp").difference is None
    assert cell(table, "ppm").interval is not None
    assert "ResNet-101 + GP is not compared: baseline/seed-0" in markdown(table)
    assert "tested on other images than gp/seed-0" in html(table)
    assert not lines(table, metric="pair", row="ppm", other="gp")
    assert "not compared" in html(table)


@pytest.mark.parametrize("classes", [("road", "car", "bus"), ("road", "bus")])
def test_runs_with_other_classes_are_not_compared(classes: tuple[str, ...], sweep: Path) -> None:
    for seed in range(3):
        rng = np.random.default_rng(seed)
        counted(sweep, "gp", seed, counts_with(0.8, rng, classes=len(classes)), classes=classes)
    (table,) = read_tables(sweep)
    assert cell(table, "gp").difference is None
    assert "different" in (cell(table, "gp").unknown or "")
    assert cell(table, "ppm").interval is not None


def test_missing_counts_leave_the_difference_without_an_interval(sweep: Path) -> None:
    (sweep / "gp" / "seed-1" / "counts.npz").unlink()
    (table,) = read_tables(sweep)
    of_gp = cell(table, "gp")
    assert of_gp.interval is None
    assert of_gp.difference == pytest.approx(of_gp.ours.mean - cell(table, "baseline").ours.mean)
    text = markdown(table)
    assert "has no interval for its difference: the per-image counts of gp/seed-1 are missing" in text
    assert re.search(r"\| ResNet-101 \+ GP .*\| [+-]\d\.\d\d \|", text)


def test_a_run_without_labelled_pixels_has_no_difference(sweep: Path) -> None:
    counted(sweep, "gp", 1, np.zeros((20, 3, 2), int))
    (table,) = read_tables(sweep)
    assert cell(table, "gp").ours.n == 2
    assert cell(table, "gp").difference is None
    text = markdown(table)
    assert "is not compared: gp/seed-1 has no score, because no pixel is labelled" in text
    assert "nan" not in text.lower()


def test_a_single_labelled_image_gives_no_interval(tmp_path: Path) -> None:
    for row in ("baseline", "gp"):
        for seed in range(3):
            counts = np.zeros((10, 3, 2), int)
            counts[4] = counts_with(SHARES[row], np.random.default_rng(seed), 1)[0]
            counted(tmp_path, row, seed, counts)
    (table,) = read_tables(tmp_path)
    assert cell(table, "gp").interval is None
    assert cell(table, "gp").difference is not None
    assert "all labelled pixels are in one image" in markdown(table)


def test_a_class_that_is_only_predicted_is_reported(tmp_path: Path) -> None:
    for row in ("baseline", "gp"):
        for seed in range(3):
            counts = counts_with(SHARES[row], np.random.default_rng([seed, 1]), classes=3)
            counts[:, :, 2] = 0
            counts[0, 1, 2] = (row, seed) == ("baseline", 1)
            counted(tmp_path, row, seed, counts, classes=("road", "car", "train"))
    (table,) = read_tables(tmp_path)
    assert cell(table, "baseline").ours.sd > 10
    assert "Class train is in no label of the tested images, but baseline/seed-1 predicted it: IoU 0" in markdown(table)


def test_a_row_whose_seeds_are_not_alike_is_marked(sweep: Path) -> None:
    path = sweep / "ppm" / "seed-2" / "result.json"
    run = Result.read(path)
    replace(run, config=run.config | {"schedule": {"max_steps": 7}}).write(path)
    (table,) = read_tables(sweep)
    assert "(its seeds are not alike)" in markdown(table)
    assert "<small>its seeds are not alike</small>" in html(table)


def test_bounds_near_zero_are_not_written_as_zero(sweep: Path) -> None:
    (table,) = read_tables(sweep)
    row = next(of for of in table.rows if of.name == "ppm")
    interval = cell(table, "ppm").interval
    assert interval is not None
    near = replace(interval, difference=0.5, low=0.0004, high=1.0)
    row.cells[table.main_column] = replace(cell(table, "ppm"), interval=near)
    assert "+0.5000 [+0.0004, +1.0000]" in markdown(table)
    none = replace(interval, difference=-0.001, low=-1.0, high=0.998)
    row.cells[table.main_column] = replace(cell(table, "ppm"), interval=none)
    assert "0.00 [-1.00, +1.00]" in markdown(table)
    assert "-0.00" not in markdown(table)


def test_every_pair_is_tested_together(sweep: Path) -> None:
    (table,) = read_tables(sweep)
    assert table.analysis is not None
    pairs = table.analysis.pairs
    assert pairs.order == ["ppm", "gp", "baseline"]
    assert [(pair.row, pair.other, pair.decided) for pair in pairs.pairs] == [
        ("ppm", "gp", True), ("ppm", "baseline", True), ("gp", "baseline", False),
    ]  # fmt: skip
    assert pairs.best == ["ppm"]
    assert pairs.ranks == {"ppm": (1, 1), "gp": (2, 3), "baseline": (2, 3)}
    sentence = "ResNet-101 + PPM is the highest, and told apart from every row"
    for text in (markdown(table), html(table).replace("&#43;", "+"), latex(table)):
        assert sentence in text
    found = {(line["row"], line["other"]): line for line in lines(table, metric="pair")}
    assert {key: line["significant"] for key, line in found.items()} == {
        ("ppm", "gp"): "yes", ("ppm", "baseline"): "yes", ("gp", "baseline"): "no",
    }  # fmt: skip
    page = html(table).replace("&#43;", "+")
    assert page.count('class="pair decided"') == 2
    assert re.search(r'title="ResNet-101 \+ GP minus ResNet-101 Baseline: [+-]\d.*, p 0\.\d+, with all pairs', page)
    assert "with all 3 pairs tested together" in page
    assert "The Difference column tests fewer together (2)" in page


def test_a_higher_row_without_counts_is_not_passed_over(sweep: Path) -> None:
    """PPM has the highest mean, but cannot be compared: no other row may be called the highest."""
    for path in sweep.glob("ppm/*/counts.npz"):
        path.unlink()
    (table,) = read_tables(sweep)
    assert table.analysis is not None
    assert table.analysis.pairs.order[0] == "ppm"
    assert "highest" not in markdown(table)
    assert "textbf" not in latex(table)
    assert "not compared" in html(table)


def test_ties_with_the_highest_are_named_and_bold(tmp_path: Path) -> None:
    (table,) = read_tables(written(tmp_path, dict.fromkeys(("baseline", "gp"), (0, 1, 2))))
    text = latex(table)
    assert text.count(r"\textbf") == 2
    assert "those not told apart from it" in text
    highest, other = (next(r.label for r in table.rows if r.name == name) for name in table.analysis.pairs.order)  # type: ignore[union-attr]
    assert f"Not told apart from {highest}, the highest: {other} (one pair)." in markdown(table).replace("\\", "")


def test_rows_trained_on_the_images_are_in_no_pair(sweep: Path) -> None:
    for seed in range(3):
        path = sweep / "ppm" / f"seed-{seed}" / "result.json"
        run = Result.read(path)
        (evaluation,) = run.evaluations.values()
        replace(run, evaluations={"last/val/whole": replace(evaluation, trained_on=20)}).write(path)
    (table,) = read_tables(sweep)
    assert table.analysis is not None
    assert set(table.analysis.pairs.order) == {"gp", "baseline"}


def test_classes_have_no_verdicts_with_three_seeds(sweep: Path) -> None:
    (table,) = read_tables(sweep)
    assert table.analysis is not None
    assert table.analysis.class_images == {"road": 20, "car": 20}
    differences = table.analysis.class_differences
    assert differences["road"]["ppm"].interval is not None
    assert not any(of.decided or of.p_corrected for of_class in differences.values() for of in of_class.values())
    page = html(table)
    assert "car (20 images)" in page
    assert "There are no verdicts by class: they require 5 seeds" in page
    assert "<b>" not in page
    (line,) = lines(table, row="ppm", metric="iou/car")
    assert (line["images"], line["p"], line["p_bh"]) == ("20", "", "")
    assert float(line["low"]) < float(line["difference"]) < float(line["high"])


def test_classes_have_corrected_verdicts_with_five_seeds(tmp_path: Path) -> None:
    (table,) = read_tables(written(tmp_path, dict.fromkeys(SHARES, range(5))))
    assert table.analysis is not None
    differences = table.analysis.class_differences
    assert differences["road"]["ppm"].decided
    assert not differences["road"]["gp"].decided
    page = html(table)
    assert page.count("<b>") == 2
    assert "among all 4 differences together (Benjamini-Hochberg" in page
    (line,) = lines(table, row="ppm", metric="iou/car")
    assert line["significant"] == "yes"
    assert float(line["p_bh"]) >= float(line["p"])


def test_a_class_in_few_images_has_no_interval(tmp_path: Path) -> None:
    for row in ("baseline", "gp"):
        for seed in range(3):
            counts = counts_with(SHARES[row], np.random.default_rng(seed))
            counts[4:, 0, 1] = counts[4:, 2, 1] = 0
            counted(tmp_path, row, seed, counts)
    (table,) = read_tables(tmp_path)
    assert table.analysis is not None
    assert table.analysis.class_differences["car"]["gp"].interval is None
    assert table.analysis.class_differences["road"]["gp"].interval is not None
    assert "car (4 images)" in html(table)
    (blocks,), _ = find_tables(tmp_path, block=5)
    assert blocks.analysis is not None
    assert blocks.analysis.class_differences["road"]["gp"].interval is None, "twenty images are four blocks"


def test_blocks_of_neighbours_are_left_out_together(sweep: Path, call: Main) -> None:
    (single,), (blocks,) = find_tables(sweep)[0], find_tables(sweep, block=5)[0]
    one, of_blocks = (cell(table, "ppm").interval for table in (single, blocks))
    assert one is not None
    assert of_blocks is not None
    assert one.images is not None
    assert of_blocks.images is not None
    assert (one.images.freedom > 3, of_blocks.images.freedom) == (True, pytest.approx(3, abs=2))
    assert of_blocks.difference == one.difference
    assert call("report", str(sweep), "--block", "5") == 0
    assert "in blocks of 5 neighbours" in (sweep / "table.md").read_text()
    assert "borrow 2, blocks of 5" in (sweep / "table.csv").read_text()
    assert call("report", str(sweep), "--block", "20") == 0
    assert "a single block of images" in (sweep / "table.md").read_text()
    assert call("report", str(sweep), "--block", "0") == 2


def test_a_pixel_accuracy_has_a_difference_without_an_interval(sweep: Path) -> None:
    (table,) = read_tables(sweep)
    (line,) = lines(table, row="ppm", metric="pixel_accuracy")
    assert line["difference"]
    assert not line["p"]


def test_no_counts_no_analysis(tmp_path: Path) -> None:
    for row in ("baseline", "gp"):
        result(row, 0, 70).write(tmp_path / row / "seed-0" / "result.json")
    (table,) = read_tables(tmp_path)
    assert table.analysis is None
    assert "Every pair" not in html(table)


def test_the_terminal_says_which_rows_are_not_told_apart(
    sweep: Path, call: Main, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("report", str(sweep)) == 0
    assert "PPM is the highest, and told apart from" in " ".join(capsys.readouterr().out.split())


def test_equal_means_are_compared(tmp_path: Path) -> None:
    """A difference of exactly zero is a difference, not a missing one."""
    for row in ("baseline", "gp"):
        result(row, 0, 70).write(tmp_path / row / "seed-0" / "result.json")
    (table,) = read_tables(tmp_path)
    assert cell(table, "gp").difference == 0
    text = markdown(table)
    assert "ResNet-101 + GP has no interval for its difference: the per-image counts" in text
    assert re.search(r"\| ResNet-101 \+ GP .*\| 0\.00 \| 1 \|", text)
