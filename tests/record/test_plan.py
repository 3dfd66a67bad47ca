"""`sweep.json`: the runs of every start, none lost, and of each start its own."""

import multiprocessing
from pathlib import Path

import pytest

from ocnet_pl.errors import UserError
from ocnet_pl.record.directory import RunDirectory
from ocnet_pl.record.plan import PLAN, add_start, planned_runs, read_starts, runs_of_start
from ocnet_pl.record.sealed import write_json


def runs(sweep: Path, *names: str) -> list[RunDirectory]:
    return [RunDirectory(sweep / name) for name in names]


def test_every_start_has_its_own_runs(tmp_path: Path) -> None:
    sweep = tmp_path / "outputs" / "mine"
    add_start(sweep, runs(sweep, "a/seed-0", "b/seed-0"), "first")
    add_start(sweep, runs(sweep, "b/seed-0", "c/seed-0"), "second")
    moved = sweep.rename(tmp_path / "moved")
    assert planned_runs(moved) == runs(moved, "a/seed-0", "b/seed-0", "c/seed-0")
    assert runs_of_start(moved, "second") == runs(moved, "b/seed-0", "c/seed-0")
    assert runs_of_start(moved, "other") == []


def test_a_plan_of_version_0_1_is_read_and_extended(tmp_path: Path) -> None:
    write_json(tmp_path / PLAN, ["outputs/mine/a/seed-0", "/elsewhere/outputs/mine/b/seed-1"])
    assert planned_runs(tmp_path) == runs(tmp_path, "a/seed-0", "b/seed-1")
    add_start(tmp_path, runs(tmp_path, "c/seed-0"), "new")
    assert planned_runs(tmp_path) == runs(tmp_path, "a/seed-0", "b/seed-1", "c/seed-0")


def _add(sweep: Path, number: int) -> None:
    for repeat in range(5):
        add_start(sweep, runs(sweep, f"row{number}/seed-{repeat}"), f"{number}-{repeat}")


def test_sweeps_that_start_together_lose_nothing(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_add, args=(tmp_path, number)) for number in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert len({start.id for start in read_starts(tmp_path)}) == 20
    assert len(planned_runs(tmp_path)) == 20


@pytest.mark.parametrize(
    "content",
    [3, "text", {}, {"starts": 3}, {"starts": [3]}, {"starts": [{"id": "x"}]}, [1], [["a/seed-0"]], ["a"], ["a/copy"],
     {"starts": [{"id": "x", "started": "", "runs": "a/seed-0"}]}],
)  # fmt: skip
def test_another_plan_is_named_in_one_line(content: object, tmp_path: Path) -> None:
    write_json(tmp_path / PLAN, content)
    for what in (planned_runs, lambda sweep: add_start(sweep, [], "new")):
        with pytest.raises(UserError, match=f"{PLAN}: .*delete it"):
            what(tmp_path)


def test_a_file_in_place_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "mine").touch()
    with pytest.raises(UserError, match="a file is in the way"):
        add_start(tmp_path / "mine", [], "new")
