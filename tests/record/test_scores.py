"""Scores of a test server: entered, kept with their date, never lost."""

import csv
import io
from pathlib import Path

import pytest
from conftest import Main
from results import result

from ocnet_pl.record.scores import enter_scores
from ocnet_pl.record.sealed import read_json
from ocnet_pl.report.files import comma_separated, html, markdown
from ocnet_pl.table import read_tables


@pytest.fixture
def outputs(workplace: Path) -> Path:
    """Table 2 with one seed per row, and a table with three seeds."""
    for row, miou in (("plain", 79.0), ("ohem", 80.0), ("trainval", 95.0)):
        config = {"dataset": {"train_split": "trainval" if row == "trainval" else "train", "val_split": "val"}}
        run = result(row, 0, miou, "table2", config=config)
        run.write(workplace / "outputs" / "table2" / row / "seed-0" / "result.json")
    for seed in range(3):
        result("gp", seed, 70, "mine").write(workplace / "outputs" / "mine" / "gp" / f"seed-{seed}" / "result.json")
    return workplace / "outputs"


def line(text: str, label: str) -> list[str]:
    (found,) = (words for words in text.splitlines() if words.startswith(f"| {label} |"))
    return [cell.strip() for cell in found.strip("|").split("|")]


def test_a_row_without_server_score_shows_its_validation_score(outputs: Path) -> None:
    (table,) = read_tables(outputs / "table2")
    text = markdown(table)
    heading = line(text, "Method")
    place = heading.index("Test (server) mIoU (%)")
    assert heading[place + 1] == "paper"
    assert line(text, "+ OHEM")[place : place + 2] == ["val 80.00", "78.90"]
    assert '"val": our score on the validation images' in text
    assert line(text, "+ w/ Val")[place : place + 2] == ["-", "81.54"], "a score on trained images stands for nothing"


def test_a_network_trained_on_val_is_not_compared_on_val(outputs: Path) -> None:
    (table,) = read_tables(outputs / "table2")
    assert line(markdown(table), "+ w/ Val")[1] == "95.00 (trained on it)"
    assert [row.name for row in table.rows if row.cells[table.main_column].difference] == ["ohem"]


def test_descendants_of_a_network_trained_on_val_are_not_compared(outputs: Path) -> None:
    def write(row: str, parent: str | None, train_split: str = "train", table: str = "own") -> None:
        config = {"dataset": {"train_split": train_split, "val_split": "val"}, "parent": parent}
        run = result(row, 0, 90, table, config=config)
        run.write(outputs / table / row / "seed-0" / "result.json")

    write("baseline", None)
    write("tuned", "../table2/trainval")
    write("twice", "tuned")
    write("gp", None)
    (table,) = read_tables(outputs / "own")
    marked = {row.name for row in table.rows if row.cells[table.main_column].trained_on}
    assert marked == {"tuned", "twice"}
    assert [row.name for row in table.rows if row.cells[table.main_column].difference is not None] == ["gp"]
    write("baseline", None, "trainval")
    (table,) = read_tables(outputs / "own")
    assert not any(row.cells[table.main_column].difference is not None for row in table.rows)


def test_a_score_is_shown_with_the_papers(call: Main, outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("report", "--score", "table2/ohem=78.8", "--score", "table2/plain=78.0") == 0
    assert "outputs/table2/scores.json" in capsys.readouterr().out
    (table,) = read_tables(outputs / "table2")
    for text in (markdown(table), (outputs / "table2" / "table.md").read_text()):
        assert "| 78.80 | 78.90 |" in text
        assert "entered by hand (ASP-OC 20" in text
    assert "78.80" in html(table)
    lines = csv.DictReader(io.StringIO(comma_separated(table)))
    (ohem,) = (line for line in lines if (line["row"], line["evaluation"]) == ("ohem", "server/test"))
    assert (ohem["mean"], ohem["paper"]) == ("78.8", "78.9")


def test_an_older_score_stays_in_the_file(outputs: Path) -> None:
    enter_scores(outputs, ["table2/ohem=70"])
    (path,) = enter_scores(outputs / "table2", ["table2/ohem=78.8"])
    assert [score["miou"] for score in read_json(path)] == [70, 78.8]
    (table,) = read_tables(outputs / "table2")
    assert [score.miou for score in table.scores] == [78.8]


def test_a_score_does_not_apply_to_a_network_trained_later(outputs: Path) -> None:
    enter_scores(outputs, ["table2/ohem=78.8"])
    path = outputs / "table2" / "ohem" / "seed-0" / "result.json"
    result("ohem", 0, 81, "table2", weights_sha256="trained again").write(path)
    (table,) = read_tables(outputs / "table2")
    assert table.scores == []
    assert "val 81.00" in markdown(table)


def test_a_score_can_name_its_seed(outputs: Path) -> None:
    enter_scores(outputs, ["mine/gp/seed-1=69.5"])
    (table,) = read_tables(outputs / "mine")
    assert table.rows[0].cells[-1].values[1] == 69.5
    assert table.rows[0].cells[-1].ours.n == 1


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("table2/ohm=78.9", "no finished row ohm; it has ohem, plain, trainval"),
        ("table3/ohem=78.9", "no finished run of table3"),
        ("table2/ohem=much", "'much' is not a valid mIoU in percent"),
        ("table2/ohem=nan", "is not a valid mIoU in percent"),
        ("table2/ohem=0.789", "is not a valid mIoU in percent"),
        ("table2/ohem", "--score table2/ohem: write <table>/<row>=<mIoU>"),
        ("table2=78", "write <table>/<row>=<mIoU>"),
        ("mine/gp=70", "one of mine/gp/seed-0, mine/gp/seed-1, mine/gp/seed-2"),
    ],
)
def test_invalid_scores_are_refused(
    call: Main, outputs: Path, capsys: pytest.CaptureFixture[str], text: str, words: str
) -> None:
    assert call("report", "--score", "table2/plain=78.2", "--score", text) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1
    assert not (outputs / "table2" / "scores.json").exists(), "all or none"
