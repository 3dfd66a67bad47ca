"""Tables of systems under one recipe: what authors published stands apart, and the baseline can be chosen."""

import csv
import io
from pathlib import Path

import pytest
from conftest import Main
from results import result

from ocnet_pl.errors import UserError
from ocnet_pl.report.files import comma_separated, html, markdown
from ocnet_pl.report.latex import latex
from ocnet_pl.table import find_tables, read_tables

SCORES = {"baseline": [70, 72], "ppm": [74, 76], "danet": [77, 77], "upernet": [71, 73]}


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    folder = tmp_path / "table3_same_recipe"
    for row, values in SCORES.items():
        for seed, value in enumerate(values):
            result(row, seed, value, folder.name).write(folder / row / f"seed-{seed}" / "result.json")
    return folder


def test_published_numbers_stand_in_a_column_of_their_own(sweep: Path) -> None:
    (table,) = read_tables(sweep)
    assert all(cell.paper is None for row in table.rows for cell in row.cells), "they are of no column of ours"
    by_name = {row.name: row.own_recipe for row in table.rows}
    assert by_name["ppm"] == (78.4, "test, train-fine; OCNet")
    assert by_name["upernet"] is None
    text = markdown(table)
    assert "| Published, own recipe |" in text
    assert "78.40 (test, train-fine; OCNet)" in text
    assert "must not be compared with ours" in text
    assert "78.40<small>test, train-fine; OCNet</small>" in html(table)
    assert "Published, own recipe" in latex(table)
    lines = csv.DictReader(io.StringIO(comma_separated(table)))
    published = {line["row"]: float(line["mean"]) for line in lines if line["evaluation"] == "published"}
    assert published == {"baseline": 75.69, "ppm": 78.4, "danet": 81.5}


def test_other_tables_have_no_such_column(tmp_path: Path) -> None:
    result("baseline", 0, 75, "table1").write(tmp_path / "table1" / "baseline" / "seed-0" / "result.json")
    (table,) = read_tables(tmp_path)
    assert "own recipe" not in markdown(table)


def test_deviations_are_from_the_common_recipe(sweep: Path) -> None:
    (table,) = read_tables(sweep)
    text = markdown(table)
    assert "Deviations from the common recipe (table3_same_recipe): " in text
    assert "(common recipe: " in text
    assert "(paper: " not in text


def test_the_baseline_can_be_chosen(sweep: Path) -> None:
    (usual,), (chosen,) = find_tables(sweep)[0], find_tables(sweep, baseline="ppm")[0]
    assert usual.baseline == "baseline"
    assert chosen.baseline == "ppm"
    differences = {row.name: row.cells[chosen.main_column].difference for row in chosen.rows}
    assert differences["ppm"] is None
    assert {name: of for name, of in differences.items() if of is not None} == {
        "baseline": -4,
        "danet": 2,
        "upernet": -3,
    }
    assert "minus that of PPM (PSPNet)" in markdown(chosen)


def test_a_baseline_that_is_no_row_is_refused(sweep: Path, call: Main, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UserError, match="no such row; its rows: baseline, ppm, upernet, danet"):
        find_tables(sweep, baseline="pppm")
    assert call("report", str(sweep), "--baseline", "pppm") == 2
    assert "--baseline pppm" in capsys.readouterr().err
    assert not (sweep / "table.md").exists()


def test_the_command_compares_with_the_chosen_row(sweep: Path, call: Main) -> None:
    assert call("report", str(sweep), "--baseline", "danet") == 0
    assert "minus that of" in (sweep / "table.md").read_text()
    assert "+0.00" not in (sweep / "table.md").read_text()
