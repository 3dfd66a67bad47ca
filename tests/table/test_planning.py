"""Plans for more seeds, and seeds that were not planned."""

from pathlib import Path

import numpy as np
import pytest
from conftest import Main
from results import counted, counts_with, result

from ocnet_pl.errors import UserError
from ocnet_pl.record.plan import Start
from ocnet_pl.record.sealed import write_json
from ocnet_pl.report.files import markdown
from ocnet_pl.report.planning import plan_lines
from ocnet_pl.table import read_tables
from ocnet_pl.table.planning import plans
from ocnet_pl.table.seed_counts import SeedCount, seed_counts

MONDAY, TUESDAY, WEDNESDAY = (f"2026-01-0{day}T08:00:00+00:00" for day in (5, 6, 7))


def written(folder: Path, rows: tuple[str, ...] = ("baseline", "gp"), seeds: int = 3) -> Path:
    for row in rows:
        for seed in range(seeds):
            counts = counts_with(0.7 + 0.01 * seed, np.random.default_rng([seed, len(row)]))
            counted(folder, row, seed, counts, table=folder.name)
    return folder


def test_a_plan_from_runs(tmp_path: Path) -> None:
    (plan,) = plans(written(tmp_path / "mine"))
    (design,) = plan.designs
    (table,) = read_tables(tmp_path / "mine")
    sds = [row.cells[table.main_column].ours.sd for row in table.rows]
    assert design.sd == pytest.approx(np.sqrt(np.mean(np.square(sds))))
    assert (design.degrees, design.rows, design.comparisons) == (4, 2, 1)
    interval = table.rows[1].cells[table.main_column].interval
    assert interval is not None
    assert interval.images is not None
    assert design.image_error**2 == pytest.approx(interval.images.shared)
    text = "\n".join(plan_lines(plan, gap=4.0))
    for seeds in (2, 3, 5, 8, 10, 20):
        assert f"{seeds:>5}  " in text
        assert f"{design.smallest_gap(seeds):.2f} (" in text
    assert f"A difference of 4: {design.seeds_for(4.0)} seeds (" in text


def test_a_plan_from_the_paper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (named,) = plans(Path("table1"))
    assert [design.image_error for design in named.designs] == [0.0, 0.5]
    assert named.designs[0].sd == pytest.approx(0.2742, abs=5e-4)
    assert (named.designs[0].degrees, named.designs[0].rows, named.designs[0].comparisons) == (14, 7, 6)
    text = "\n".join(plan_lines(named, gap=1.0))
    assert "assumed: the paper does not give it" in text
    assert "A difference of 1, images 0.50: no number of seeds is enough; test on more images." in text
    write_json(tmp_path / "table1" / "sweep.json", [f"x/{row}/seed-0" for row in ("baseline", "gp", "ppm")])
    (begun,) = plans(Path("table1"))
    assert begun.designs[0].rows == 3
    assert begun.designs[0].comparisons == 2


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("nowhere", "no such directory and no such table; .* one of table1"),
        ("table2", "no standard deviation for table2; finish two seeds"),
        ("empty", "no finished run, and no published table"),
        ("single", "no two rows with a verdict; finish two seeds"),
    ],
)
def test_too_little_for_a_plan(place: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    written(Path("single"), seeds=1)
    with pytest.raises(UserError, match=message):
        plans(Path(place))


def test_the_command_prints_a_plan(workplace: Path, call: Main, capsys: pytest.CaptureFixture[str]) -> None:
    written(workplace / "mine")
    assert call("report", "mine", "--plan", "--gap", "4") == 0
    assert "A difference of 4: " in capsys.readouterr().out
    assert not (workplace / "mine" / "table.md").exists()
    assert call("report", "table1", "--plan") == 0
    assert "the paper's 7 standard deviations" in capsys.readouterr().out
    for arguments in (("--gap", "4"), ("--plan", "--gap", "0"), ("--plan", "--gap", "much"), ("--plan", "--status")):
        assert call("report", "mine", *arguments) == 2
        assert capsys.readouterr().err.count("\n") == 1


def test_a_plan_names_what_it_leaves_out(tmp_path: Path, call: Main) -> None:
    folder = written(tmp_path / "mine")
    (folder / "gp" / "seed-1" / "result.json").write_text("{")
    (plan,) = plans(folder)
    assert plan.designs[0].degrees == 3
    assert "gp/seed-1/result.json" in "\n".join(plan_lines(plan))
    assert call("report", str(folder), "--plan") == 1


def start(time: str, *seeds: int, rows: tuple[str, ...] = ("baseline", "gp")) -> Start:
    return Start(time, time, tuple(f"{row}/seed-{seed}" for row in rows for seed in seeds))


def finished(day: str, *seeds: int, rows: tuple[str, ...] = ("baseline", "gp")) -> list:
    return [result(row, seed, 70, finished=day) for row in rows for seed in seeds]


def test_seeds_as_planned_are_no_remark() -> None:
    results = finished(TUESDAY, 0, 1, 2)
    assert seed_counts([start(MONDAY, 0, 1, 2)], results) == []
    assert seed_counts([start(MONDAY, 0, 1, 2), start(WEDNESDAY, 0, 1, 2)], results) == [], "the same command again"
    assert seed_counts([], results) == []


def test_seeds_added_after_verdicts_are_counted() -> None:
    results = finished(TUESDAY, 0, 1) + finished("2026-01-09T08:00:00+00:00", 2, 3)
    added = seed_counts([start(MONDAY, 0, 1), start(WEDNESDAY, 2, 3)], results)
    assert added == [SeedCount("baseline", 4, 2, 2), SeedCount("gp", 4, 2, 2)]


def test_seeds_added_before_verdicts_could_be_seen_are_planned() -> None:
    """One seed of each row gives no verdict; nor do runs that were not finished yet."""
    late = "2026-01-09T08:00:00+00:00"
    assert seed_counts([start(MONDAY, 0), start(WEDNESDAY, 1, 2)], finished(TUESDAY, 0) + finished(late, 1, 2)) == []
    assert seed_counts([start(MONDAY, 0, 1), start(TUESDAY, 2)], finished(late, 0, 1, 2)) == []


def test_a_run_beside_the_plan_is_added() -> None:
    results = [*finished(TUESDAY, 0, 1), result("gp", 7, 70, finished=WEDNESDAY, seconds=60.0)]
    assert seed_counts([start(MONDAY, 0, 1)], results) == [SeedCount("gp", 3, 2, 1)]


def test_new_rows_are_no_added_seeds() -> None:
    results = finished(TUESDAY, 0, 1) + finished(WEDNESDAY, 0, 1, rows=("ppm",))
    assert seed_counts([start(MONDAY, 0, 1), start(WEDNESDAY, 0, 1, rows=("ppm",))], results) == []


def test_planned_seeds_that_are_missing_are_said(tmp_path: Path) -> None:
    folder = written(tmp_path / "mine")
    write_json(
        folder / "sweep.json", [f"x/{row}/seed-{seed}" for row in ("baseline", "gp", "ppm") for seed in range(4)]
    )
    (table,) = read_tables(folder)
    text = markdown(table)
    assert "Baseline has 3 of 4 planned seeds; GP has 3 of 4 planned seeds. Verdicts hold for a number" in text
    assert "1 in 6 tables without any true difference" in text
    assert "PPM has" not in text
