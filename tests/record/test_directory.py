import resource
from pathlib import Path

import pytest
import torch

from ocnet_pl.atomic import UNFINISHED
from ocnet_pl.checkpoint import WholeCheckpoints
from ocnet_pl.errors import UserError
from ocnet_pl.record.curves import read_curves
from ocnet_pl.record.directory import RunDirectory, State, own_place
from ocnet_pl.record.sealed import read_json, write_json


def test_states(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "run")
    assert run.state() is State.WAITING
    write_json(run.started, {})
    assert run.state() is State.BROKEN
    write_json(run.failure, {"error": "x"})
    assert run.state() is State.FAILED
    with run.claimed():
        assert run.state() is State.RUNNING
    write_json(run.result, {})
    assert run.state() is State.DONE


def test_two_processes_cannot_have_one_run(tmp_path: Path) -> None:
    with (
        RunDirectory(tmp_path).claimed(),
        pytest.raises(UserError, match="another process"),
        RunDirectory(tmp_path).claimed(),
    ):
        pass


def test_another_config_is_refused_once_there_is_something_to_lose(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    before, after = {"a": {"b": 1}, "dataset": {"root": "x"}}, {"a": {"b": 2}, "dataset": {"root": "y"}}
    write_json(run.started, before)
    run.refuse_other_config(after)
    write_json(run.result, {})
    run.refuse_other_config(before | {"dataset": {"root": "elsewhere"}})
    with pytest.raises(UserError, match=r"a\.b: 1 -> 2"):
        run.refuse_other_config(after)


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    write_json(path, [1])
    with pytest.raises(TypeError):
        write_json(path, [object()])
    assert read_json(path) == [1]
    assert [p.name for p in tmp_path.iterdir()] == ["file.json"]


def test_a_full_disk_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    checkpoints = WholeCheckpoints()
    checkpoints.save_checkpoint({"step": torch.tensor(1)}, path)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))  # what a process may write, as a disk's end would
    try:
        with pytest.raises(OSError, match="too large"):
            checkpoints.save_checkpoint({"step": torch.zeros(100_000)}, path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert torch.load(path, weights_only=True) == {"step": torch.tensor(1)}
    assert [p.name for p in tmp_path.iterdir()] == ["last.ckpt"]


def test_what_a_killed_process_left_unfinished_goes(tmp_path: Path) -> None:
    left = tmp_path / "checkpoints" / f".last.ckpt.x{UNFINISHED}"
    left.parent.mkdir()
    left.touch()
    with RunDirectory(tmp_path).claimed():
        assert not left.exists()


def test_curves_of_a_resumed_run_are_joined(tmp_path: Path) -> None:
    for start, steps in ((0, range(8)), (5, range(5, 10))):
        folder = tmp_path / f"step-{start:06d}"
        folder.mkdir()
        lines = [f"{start + step},0,{step}" for step in steps]
        (folder / "metrics.csv").write_text("loss,epoch,step\n" + "\n".join(lines) + "\n")
    curve = read_curves(tmp_path)["loss"]
    assert [step for step, _ in curve] == list(range(10))
    assert [value for _, value in curve] == [0, 1, 2, 3, 4, 10, 11, 12, 13, 14]


@pytest.mark.parametrize(
    ("checkpoint", "inside"),
    [
        ("outputs/t/gp/seed-0/checkpoints/last.ckpt", "outputs/t/gp/seed-0"),
        ("last.ckpt", "RUN"),
        ("checkpoints/last.ckpt", "RUN"),
    ],
)
def test_the_run_of_a_checkpoint(checkpoint: str, inside: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = tmp_path / "outputs" / "t" / "gp" / "seed-0"
    (run / "checkpoints").mkdir(parents=True)
    monkeypatch.chdir({"last.ckpt": run / "checkpoints", "checkpoints/last.ckpt": run}.get(checkpoint, tmp_path))
    found = RunDirectory.of_checkpoint(Path(checkpoint))
    assert found.path == (run if inside == "RUN" else Path(inside))
    assert (found.row, found.seed) == ("gp", 0)


@pytest.mark.parametrize(
    ("directory", "own"),
    [("outputs/t/ppm/seed-0", True), ("renamed/ppm/seed-0", True), ("/else/where/ppm/seed-0", True),
     ("outputs/t/ppm/seed-0.bak", False), ("outputs/t/ppm/seed-0-old", False), ("outputs/t/ppm/copy-of-seed-0", False),
     ("outputs/t/ppm_old/seed-0", False), ("outputs/t/zz_ppm/seed-0", False), ("outputs/t/ppm/seed-1", False),
     ("outputs/t/ppm/seed-00", False), ("outputs/t/seed-0", False)],
)  # fmt: skip
def test_a_copy_of_a_run_is_not_at_its_own_place(directory: str, own: bool) -> None:
    assert own_place(Path(directory), "ppm", 0) is own


def test_a_place_is_recognised_from_inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "ppm" / "seed-0").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "ppm")
    assert own_place(Path("seed-0"), "ppm", 0)
