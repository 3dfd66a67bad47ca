"""Only a run's own place counts, wherever links lead; what lies elsewhere is named."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Main
from results import result

from ocnet_pl.record.result import Result
from ocnet_pl.record.sealed import write_json
from ocnet_pl.table import read_tables


@pytest.fixture
def demo(workplace: Path) -> Path:
    """A sweep in which PPM has 60."""
    for row, miou in (("baseline", 50.0), ("ppm", 60.0)):
        result(row, 0, miou, "demo").write(workplace / f"outputs/demo/{row}/seed-0/result.json")
    return workplace / "outputs" / "demo"


def _worse(place: Path) -> None:
    """A better looking run of the same row and seed."""
    result("ppm", 0, 99, "demo").write(place / "result.json")


COPIES: dict[str, Callable[[Path], Path]] = {
    "backup": lambda demo: demo / "ppm" / "seed-0.bak",
    "old": lambda demo: demo / "ppm" / "seed-0-old",
    "number": lambda demo: demo / "ppm" / "seed-1",
    "zeros": lambda demo: demo / "ppm" / "seed-00",
    "row": lambda demo: demo / "ppm_old" / "seed-0",
    "last in the alphabet": lambda demo: demo / "zz_ppm" / "seed-0",
    "inside": lambda demo: demo / "ppm" / "seed-0" / "before",
    "sweep": lambda demo: demo.with_name("demo-copy") / "ppm" / "seed-0",
    "sweep, older": lambda demo: demo.with_name("demo.bak") / "ppm" / "seed-0",
    "deeper": lambda demo: demo / "old" / "x" / "seed-0",
}


@pytest.mark.parametrize("folder", ["outputs", "outputs/demo", "."])
@pytest.mark.parametrize("copy", COPIES)
def test_a_copy_is_named_and_not_counted(
    copy: str, folder: str, demo: Path, call: Main, capsys: pytest.CaptureFixture[str]
) -> None:
    place = COPIES[copy](demo)
    _worse(place)
    assert call("report", folder) == 0
    told = " ".join(capsys.readouterr().out.split())
    (ppm,) = [line for line in (demo / "table.md").read_text().splitlines() if line.startswith("| PPM")]
    assert "60.00" in ppm
    assert "99.00" not in told
    if place.is_relative_to(Path(folder).absolute()):
        written = (demo / "table.md").read_text() + (demo / "table.html").read_text() + (demo / "table.tex").read_text()
        assert f"{place.relative_to(demo.parent)}" in told
        assert written.count(place.name) >= 3


@pytest.mark.parametrize("below", ["outputs/demo/ppm/seed-0", "outputs/demo/ppm"])
def test_a_part_of_a_sweep_is_no_table(
    below: str, demo: Path, call: Main, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in (below, str(Path(below).absolute()), f"{below}/../{Path(below).name}"):
        assert call("report", folder) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        assert "outputs/demo" in error.split(";")[-1] + error.split(":")[-1]
    for inside, folder in ((below, "."), (f"{below}", "..") if below.endswith("seed-0") else (below, ".")):
        monkeypatch.chdir(demo.parents[1] / inside)
        assert call("report", folder) == 2
        assert capsys.readouterr().err.count("\n") == 1
    assert not list(demo.rglob("table.*")), "the sweep's own table is not replaced"


@pytest.mark.parametrize("place", ["elsewhere", "outputs/demo/ppm/0", "x/run-1"])
def test_a_run_made_elsewhere_is_named(
    place: str, workplace: Path, call: Main, capsys: pytest.CaptureFixture[str]
) -> None:
    _worse(workplace / place)
    for folder in (place, "."):
        assert call("report", folder) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        assert "ppm/seed-0" in error


@pytest.mark.parametrize("what", ["row", "run", "sweep", "outputs"])
def test_links_are_followed_by_table_and_status(
    what: str, demo: Path, workplace: Path, call: Main, capsys: pytest.CaptureFixture[str]
) -> None:
    linked = {
        "row": demo / "ppm", "run": demo / "ppm" / "seed-0", "sweep": demo, "outputs": demo.parent,
    }[what]  # fmt: skip
    write_json(demo / "sweep.json", [f"outputs/demo/{row}/seed-0" for row in ("baseline", "ppm")])
    for row in ("baseline", "ppm"):
        write_json(demo / row / "seed-0" / "config.json", {"schedule": {"max_steps": 10}})
    disk = workplace / "disk" / linked.name
    disk.parent.mkdir()
    shutil.move(linked, disk)
    linked.symlink_to(disk)
    (demo / "loop").symlink_to(demo)
    assert call("report", "outputs/demo") == 0
    assert "60.00" in (demo / "table.md").read_text()
    assert "Missing" not in (demo / "table.md").read_text()
    capsys.readouterr()
    assert call("report", "outputs/demo", "--status") == 0
    assert "2 runs: 2 done" in capsys.readouterr().out


def test_a_renamed_sweep_is_read(demo: Path) -> None:
    (table,) = read_tables(demo.rename(demo.with_name("demo-2025")))
    assert [row.name for row in table.rows] == ["baseline", "ppm"]


def test_runs_of_another_sweep_in_a_sweep_are_named(demo: Path) -> None:
    result("gp", 0, 99, "other").write(demo / "gp" / "seed-0" / "result.json")
    (table,) = read_tables(demo)
    assert [row.name for row in table.rows] == ["baseline", "ppm"]
    assert "gp" in table.notes.copies[0]


@pytest.mark.parametrize("parents", [{"ppm": "ppm"}, {"ppm": "baseline", "baseline": "ppm"}, {"ppm": "../demo/ppm"}])
def test_a_parent_that_is_its_own_ends(parents: dict[str, str], demo: Path) -> None:
    for row, parent in parents.items():
        path = demo / row / "seed-0" / "result.json"
        run = Result.read(path)
        run.config["parent"] = parent
        run.write(path)
    (table,) = read_tables(demo)
    assert [len(row.lineage) for row in table.rows if row.name == "ppm"] == [len(parents)]
