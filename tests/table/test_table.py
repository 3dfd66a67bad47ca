import csv
import io
import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Main
from results import counted, result

from ocnet_pl.errors import UserError
from ocnet_pl.record.result import Result
from ocnet_pl.record.sealed import write_json
from ocnet_pl.report import charts
from ocnet_pl.report.files import TABLE_MARK, comma_separated, html, markdown, table_files, write_all
from ocnet_pl.report.svg import svg
from ocnet_pl.report.verdicts import verdict
from ocnet_pl.table import read_tables
from ocnet_pl.table.classes import by_class


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    scores = {"asp_oc": [82, 84, 83], "baseline": [75, 76, 77], "base_oc": [78, 80]}
    for row, values in scores.items():
        for seed, value in enumerate(values):
            result(row, seed, value).write(tmp_path / row / f"seed-{seed}" / "result.json")
    write_json(tmp_path / "sweep.json", [f"x/{row}/seed-{seed}" for row in scores for seed in range(3)])
    write_json(tmp_path / "base_oc" / "seed-2" / "failure.json", {"error": "out of memory", "traceback": ""})
    return tmp_path


def test_rows_have_the_papers_order_and_numbers(sweep: Path) -> None:
    (table,) = read_tables(sweep)
    assert [row.name for row in table.rows] == ["baseline", "base_oc", "asp_oc"]
    assert table.rows[0].label == "ResNet-101 Baseline"
    cell = table.rows[2].cells[table.main_column]
    assert (cell.ours.mean, cell.ours.sd, cell.ours.n) == pytest.approx((83, 1, 3))
    assert cell.difference == pytest.approx(7)
    assert cell.paper == (79.58, 0.24)


def test_missing_and_failed_runs_are_shown(sweep: Path) -> None:
    (table,) = read_tables(sweep)
    assert table.unfinished == ["base_oc/seed-2: failed"]
    assert "2 of 3 (seed 2 failed)" in markdown(table)
    assert "base_oc/seed-2: failed" in html(table)
    assert "<td>2 of 3<small>seed 2 failed</small></td>" in html(table)


def test_all_formats_have_the_same_numbers(sweep: Path) -> None:
    (table,) = read_tables(sweep)
    assert "| ResNet-101 + ASP-OC | 83.00 ± 1.00 | 79.58 ± 0.24 |" in markdown(table)
    assert "<td>83.00 ± 1.00<small>paper 79.58 ± 0.24</small></td>" in html(table)
    lines = list(csv.DictReader(io.StringIO(comma_separated(table))))
    (asp_oc,) = [line for line in lines if line["row"] == "asp_oc" and line["metric"] == "miou"]
    assert float(asp_oc["mean"]) == pytest.approx(83)
    assert float(asp_oc["difference"]) == pytest.approx(7)
    assert asp_oc["paper"] == "79.58"


def test_files_are_written_and_named(sweep: Path) -> None:
    (table,) = read_tables(sweep)
    contents = table_files(table, sweep)
    assert [path.name for path in contents] == ["table.md", "table.csv", "table.tex", "table.html"]
    write_all(contents)
    assert {path: path.read_text() for path in contents} == contents


def test_an_empty_directory_is_refused(tmp_path: Path) -> None:
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


def test_rows_of_other_papers_are_shown(tmp_path: Path) -> None:
    result("asp_oc", 0, 44, table="table5").write(tmp_path / "asp_oc" / "seed-0" / "result.json")
    (table,) = read_tables(tmp_path)
    text = markdown(table)
    assert "| OCNet, ResNet-101 | 44.00 | 45.45 |" in text
    assert "| EncNet, ResNet-101 (CVPR 2018) | - | 44.65 |" in text
    assert html(table).count("EncNet") == 1
    assert "<td>44.00<small>paper 45.45</small></td>" in html(table)
    assert re.search(r"EncNet, ResNet-101 \(CVPR 2018\)</th><td>44.65</td>", html(table))


def test_the_best_validation_is_shown(sweep: Path) -> None:
    for path in sweep.rglob("result.json"):
        read = Result.read(path)
        replace(read, curves={"val/miou": [(9, 0.5), (19 + 10 * read.seed, 0.9), (49, 0.8)]}).write(path)
    (table,) = read_tables(sweep)
    (place,) = (i for i, column in enumerate(table.columns) if column.label == "Val mIoU, best validation (%)")
    assert place != table.main_column
    assert table.columns[place].paper_key is None
    assert table.rows[0].cells[place].ours.mean == pytest.approx(90)
    assert "at steps 20 to 40." in markdown(table)
    assert "chosen on the validation images themselves and for comparison only" in markdown(table)
    lines = list(csv.DictReader(io.StringIO(comma_separated(table))))
    (step,) = [line for line in lines if line["row"] == "asp_oc" and line["metric"] == "best_step"]
    assert (step["mean"], step["sd"]) == ("30.0", "10.0")
    assert re.search(r"<td>75.00</td><td>90.00</td><td>20</td>", html(table))


def test_a_best_validation_that_is_the_last_has_no_column(sweep: Path) -> None:
    for path in sweep.rglob("result.json"):
        read = Result.read(path)
        (last,) = read.evaluations.values()
        assert last.miou is not None
        curve = [(4, last.miou - 0.01), (9, float(np.float32(last.miou)))]
        replace(read, curves={"val/miou": curve}, evaluations={**read.evaluations, "best/val/whole": last}).write(path)
    (table,) = read_tables(sweep)
    assert not [column for column in table.columns if "best" in column.label]
    replace(read, evaluations={**read.evaluations, "best/val/whole": replace(last, miou=0.9)}).write(path)
    (table,) = read_tables(sweep)
    assert "Val, best.ckpt mIoU (%)" in [column.label for column in table.columns]
    assert "chosen by its score on the validation images, so the score on them is too high" in markdown(table)
    replace(read, curves={"val/miou": [(4, last.miou + 0.01)]}).write(path)
    (table,) = read_tables(sweep)
    assert [column.label for column in table.columns if "best" in column.label] == ["Val mIoU, best validation (%)"]
    assert "the highest of 1 to 2 validations of each training" in markdown(table)


def test_other_evaluations_are_not_compared_with_the_paper(sweep: Path) -> None:
    for path in sweep.rglob("result.json"):
        read = Result.read(path)
        better = replace(read.evaluations["last/val/whole"], miou=0.99)
        read.curves["val/miou"] = [(4, 0.98), (9, 0.97)]
        replace(read, evaluations={**read.evaluations, "best/val/whole": better, "last/val/flip": better}).write(path)
    (table,) = read_tables(sweep)
    assert table.columns[table.main_column].evaluation == "last/val/whole"
    assert [bool(cell.paper) for cell in table.rows[0].cells] == [True] + [False] * (len(table.columns) - 1)
    labels = [column.label for column in table.columns]
    assert {"Val, best.ckpt mIoU (%)", "Val mIoU, best validation (%)", "Val, flip mIoU (%)"} < set(labels)


def test_rows_of_different_protocols_share_a_column(tmp_path: Path) -> None:
    for row, protocol, miou in (("plain", "whole", 79), ("ms_flip", "multi_scale", 81)):
        run = result(row, 0, miou, "table2")
        (evaluation,) = run.evaluations.values()
        run = replace(
            run,
            choices=run.choices | {"inference": protocol},
            evaluations={f"last/val/{protocol}": evaluation},
        )
        run.write(tmp_path / row / "seed-0" / "result.json")
    (table,) = read_tables(tmp_path)
    assert [row.cells[table.main_column].ours.mean for row in table.rows] == pytest.approx([79, 81])
    assert "protocols by row: ASP-OC whole; + Ms + Flip multi_scale." in markdown(table)
    assert table.rows[1].cells[table.main_column].difference is not None


def test_iou_by_class_over_seeds(sweep: Path) -> None:
    (table,) = read_tables(sweep)
    assert dict(by_class(table)).keys() == {"road"}, "a class that does not occur has no line"
    road = dict(by_class(table))["road"]["ResNet-101 + ASP-OC"]
    assert (road.over_seeds.mean, road.over_seeds.sd) == pytest.approx((83, 1))
    lines = list(csv.DictReader(io.StringIO(comma_separated(table))))
    (line,) = [line for line in lines if line["row"] == "asp_oc" and line["metric"] == "iou/road"]
    assert (float(line["mean"]), float(line["sd"]), line["seeds"]) == (pytest.approx(83), pytest.approx(1), "3")
    assert '<tr><th scope="row">road</th><td>76.00 ± 1.00</td>' in html(table)


def test_of_many_classes_those_that_differ_are_drawn(sweep: Path) -> None:
    for path in sweep.rglob("result.json"):
        read = Result.read(path)
        apart = 0.01 if read.row == "asp_oc" else 0.0
        ious = {f"class {i}": 0.2 + i * apart for i in range(30)}
        evaluation = replace(read.evaluations["last/val/whole"], iou=ious)
        replace(read, evaluations={"last/val/whole": evaluation}).write(path)
    (table,) = read_tables(sweep)
    figure, drawn = charts.class_dots(table)
    drawing = svg(figure)
    assert drawn == 20
    assert "class 29" in drawing
    assert "class 9<" not in drawing
    assert "the 20 classes in which the rows differ most. They were chosen because they differ most" in html(table)


def test_every_mean_and_seed_is_a_dot(sweep: Path) -> None:
    result("gp", 0, math.nan).write(sweep / "gp" / "seed-0" / "result.json")
    (table,) = read_tables(sweep)
    (axes,) = charts.dots(table).axes
    assert not axes.patches
    rows = [row for row in table.rows if row.results]
    assert [label.get_text() for label in axes.get_yticklabels()] == [row.label for row in rows]
    drawn = {float(x) for line in axes.lines for x in np.asarray(line.get_xdata(), float)}
    for row in rows[1:]:
        cell = row.cells[table.main_column]
        wanted = {cell.ours.mean, *cell.values.values(), cell.paper[0] if cell.paper else math.nan}
        assert {value for value in wanted if not math.isnan(value)} <= drawn


def test_sweeps_of_one_name_are_not_mixed(tmp_path: Path) -> None:
    for folder, miou in (("a", 70), ("b", 80)):
        result("gp", 0, miou).write(tmp_path / folder / "table1" / "gp" / "seed-0" / "result.json")
    tables = read_tables(tmp_path)
    assert [table.rows[0].cells[0].ours.mean for table in tables] == pytest.approx([70, 80])
    assert [table.folder for table in tables] == [tmp_path / "a" / "table1", tmp_path / "b" / "table1"]


def test_two_tables_of_one_name_are_not_published(
    call: Main, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for folder in "ab":
        result("gp", 0, 70).write(tmp_path / folder / "table1" / "gp" / "seed-0" / "result.json")
    assert call("report", str(tmp_path), "--publish", str(tmp_path / "out")) == 2
    assert "table1.md" in capsys.readouterr().err
    assert not list(tmp_path.rglob("table.*"))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("blocked", ["out/table1.md", "out/table1.svg", "out", "table1/table.html"])
def test_nothing_is_replaced_unless_all_can_be(
    blocked: str, call: Main, workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result("gp", 0, 70).write(workplace / "table1" / "gp" / "seed-0" / "result.json")
    if blocked == "out":
        Path(blocked).write_text("a file")
    else:
        Path(blocked).mkdir(parents=True)
    before = sorted(workplace.rglob("*"))
    assert call("report", "table1", "--publish", "out") == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "out" in error or "table.html" in error
    assert [path for path in sorted(workplace.rglob("*")) if path not in before and path.is_file()] == []


@pytest.mark.parametrize("name", ["../../escaped", "group/table", "a b", "x" * 300])
def test_a_table_is_published_in_the_folder(name: str, call: Main, workplace: Path) -> None:
    result("gp", 0, 70, name).write(workplace / "deep" / "er" / "s" / "gp" / "seed-0" / "result.json")
    assert call("report", "deep/er/s", "--publish", "deep/out") == (2 if len(name) > 200 else 0)
    assert {path.parent for path in workplace.rglob("*.svg")} <= {workplace / "deep" / "out"}


def test_a_table_is_published(call: Main, sweep: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = sweep / "new" / "experiments"
    assert call("report", str(sweep), "--publish", str(folder)) == 0
    page = (folder / "table1.md").read_text()
    assert page.startswith(f"{TABLE_MARK}\n\n## Table 1")
    assert "8 runs of ocnet_pl (commit unknown) on cpu, finished 2026-01-02; " in page
    assert "(table1.svg)" in page
    assert (folder / "table1.svg").read_text().startswith("<svg")


def test_text_above_a_published_table_stays(call: Main, sweep: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = sweep / "experiments" / "table1.md"
    page.parent.mkdir()
    page.write_text("# Written by hand\n\nWhy.\n")
    command = ("report", str(sweep), "--publish", str(page.parent))
    assert call(*command) == 2
    error = capsys.readouterr().err
    assert str(page) in error
    assert TABLE_MARK in error
    assert page.read_text() == "# Written by hand\n\nWhy.\n"
    page.write_text(f"# Written by hand\n\nWhy.\n\n{TABLE_MARK}\nan old table")
    assert call(*command) == 0
    first = page.read_text()
    assert first.startswith(f"# Written by hand\n\nWhy.\n\n{TABLE_MARK}\n\n## Table 1")
    assert "an old table" not in first
    assert call(*command) == 0
    assert page.read_text() == first


def test_the_last_line_is_the_verdict(call: Main, workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for row, right in (("baseline", 30), ("base_oc", 45)):
        for seed in range(3):
            counts = np.tile(np.array([[right + seed, 50, 50], [right, 50, 50]]).T, (5, 1, 1))
            counted(Path("table1"), row, seed, counts, weights_sha256=f"{row}{seed}")
    assert call("report", "table1") == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == verdict(read_tables(Path("table1"))[0])
    assert "is better than ResNet-101 Baseline" in last


def test_every_table_has_its_verdict(call: Main, workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("first", "second"):
        for row in ("baseline", "base_oc"):
            counts = np.tile(np.array([[40, 50, 50], [30, 50, 50]]).T, (5, 1, 1))
            counted(Path("both") / name, row, 0, counts, table=name)
    assert call("report", "both") == 0
    assert [line.split(" on ")[0] for line in capsys.readouterr().out.splitlines()[-2:]] == [
        "first: No verdict",
        "second: No verdict",
    ]


def test_a_table_without_a_comparison_ends_with_its_files(
    call: Main, workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result("gp", 0, 70).write(workplace / "table1" / "gp" / "seed-0" / "result.json")
    assert call("report", "table1") == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("wrote ")


def test_the_folder_of_a_sweep_may_be_the_current_one(
    call: Main, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result("gp", 0, 70).write(workplace / "table1" / "gp" / "seed-0" / "result.json")
    monkeypatch.chdir("table1")
    assert call("report", ".") == 0
    assert Path("table.md").exists()


def test_a_heading_is_in_words(tmp_path: Path) -> None:
    run = result("gp", 0, 70)
    scored = {f"last/{split}/whole": run.evaluations["last/val/whole"] for split in ("needs_object", "train_extra")}
    replace(run, evaluations=scored).write(tmp_path / "gp" / "seed-0" / "result.json")
    (table,) = read_tables(tmp_path)
    assert [column.label for column in table.columns if column.metric == "miou"] == [
        "Needs object mIoU (%)",
        "Train extra mIoU (%)",
    ]
    assert [column.split for column in table.columns if column.metric == "miou"] == ["needs_object", "train_extra"]


def test_rows_are_compared_where_they_were_validated(tmp_path: Path) -> None:
    for row, trained, validated in (("baseline", 90, 60), ("base_oc", 95, 55)):
        run = result(row, 0, validated, config={"dataset": {"train_split": "train", "val_split": "valid"}})
        (tested,) = run.evaluations.values()
        evaluations = {"last/valid/whole": tested, "last/train/whole": replace(tested, miou=trained / 100)}
        replace(run, evaluations=evaluations).write(tmp_path / row / "seed-0" / "result.json")
    (table,) = read_tables(tmp_path)
    assert table.columns[table.main_column].label == "Valid mIoU (%)"
    base_oc = next(row for row in table.rows if row.name == "base_oc")
    difference = base_oc.cells[table.main_column].difference
    assert difference == pytest.approx(-5)


@pytest.mark.parametrize(
    ("config", "label"),
    [({}, "Base-OC"), ({"model": {"head": {"label": "Mine"}}}, "Mine"), ({"model": {"head": "base_oc"}}, "Base-OC")],
)
def test_a_row_without_a_recorded_label_is_named_as_in_the_paper(
    config: dict[str, Any], label: str, tmp_path: Path
) -> None:
    for row, head in (("base_oc", "base_oc"), ("asp_oc_2019", "asp_oc_2019"), ("wide", "base_oc")):
        choices = {"model/head": head, "inference": "whole"}
        result(row, 0, 70, "mine", config=config, choices=choices).write(tmp_path / row / "seed-0" / "result.json")
    (table,) = read_tables(tmp_path)
    labels = {row.name: row.label for row in table.rows}
    other = "Mine" if label == "Mine" else "asp_oc_2019"
    assert labels == {"base_oc": label, "asp_oc_2019": other, "wide": "wide"}
