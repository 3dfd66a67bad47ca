"""How far a sweep is, while it is being trained and after."""

import io
import os
import shutil
import time
from pathlib import Path

import pytest
from conftest import Main
from results import result
from rich.console import Console

from ocnet_pl.record.directory import RunDirectory, State
from ocnet_pl.record.finding import find_sweeps
from ocnet_pl.record.sealed import write_json
from ocnet_pl.record.status import RunStatus, seconds_left, sweep_status
from ocnet_pl.report.status import print_status

NAMES = ("a/seed-0", "b/seed-0", "c/seed-0", "d/seed-0", "e/seed-0")


def start(run: RunDirectory, steps: int, *, began: float, logged: float, first: int = 0, tail: str = "") -> None:
    """Files of a run whose last line of log is `steps` steps in."""
    write_json(run.started, {"schedule": {"max_steps": 1000}})
    log = run.logs / f"step-{first:06d}" / "metrics.csv"
    log.parent.mkdir(parents=True, exist_ok=True)
    lines = [f"0,{step - 1},1.0" for step in range(first + 50, steps + 1, 50)]
    log.write_text("\n".join(["epoch,step,train/loss", *lines]) + "\n" + tail)
    now = time.time()
    os.utime(run.started, (now - began, now - began))
    os.utime(log, (now - logged, now - logged))


@pytest.fixture
def sweep(workplace: Path) -> Path:
    """Done, failed, broken, waiting, and one that a test may claim."""
    sweep = workplace / "outputs" / "mine"
    write_json(sweep / "sweep.json", [f"outputs/mine/{name}" for name in NAMES])
    result("a", 0, 71, "mine", seconds=100.0, steps=1000).write(sweep / "a/seed-0/result.json")
    write_json(sweep / "b/seed-0/failure.json", {"error": "CUDA out of memory", "traceback": ""})
    start(RunDirectory(sweep / "c/seed-0"), 300, began=400, logged=300)
    start(RunDirectory(sweep / "e/seed-0"), 200, began=50, logged=10, tail="0,2")
    return sweep


def test_every_run_is_told_as_far_as_it_is(sweep: Path) -> None:
    with RunDirectory(sweep / "e/seed-0").claimed():
        done, failed, broken, waiting, running = sweep_status(sweep)[0]
    assert (done.state, done.steps, done.note) == (State.DONE, 1000, "val mIoU 71.00")
    assert (failed.state, failed.note) == (State.FAILED, "CUDA out of memory")
    assert (broken.state, broken.steps, broken.max_steps) == (State.BROKEN, 300, 1000)
    assert (waiting.state, waiting.steps, waiting.max_steps) == (State.WAITING, None, None)
    assert (running.state, running.steps) == (State.RUNNING, 200), "half a line is not read"
    assert running.seconds_left == pytest.approx(40 / 200 * 800 - 10, abs=2)


def test_a_resume_is_timed_from_its_own_start(sweep: Path) -> None:
    run = RunDirectory(sweep / "c/seed-0")
    start(run, 600, first=300, began=30, logged=0)
    with run.claimed():
        status = sweep_status(sweep)[0][2]
    assert status.steps == 600
    assert status.seconds_left == pytest.approx(30 / 300 * 400, abs=2)


def test_a_resume_that_has_not_logged_yet_promises_nothing(sweep: Path) -> None:
    run = RunDirectory(sweep / "c/seed-0")
    write_json(run.started, {"schedule": {"max_steps": 1000}})
    with run.claimed():
        status = sweep_status(sweep)[0][2]
    assert (status.steps, status.seconds_left, status.note) == (None, None, "starting")


def test_time_left_of_a_sweep() -> None:
    done = RunStatus("a", State.DONE, 10, 10, seconds=100)
    running = [RunStatus(name, State.RUNNING, 5, 10, seconds_left=50) for name in "bc"]
    waiting = [RunStatus(name, State.WAITING) for name in "de"]
    assert seconds_left([done, *running, *waiting]) == (50 + 50 + 2 * 100) / 2
    assert seconds_left([*running, *waiting]) is None, "how long a run takes is not known yet"
    assert seconds_left(running) == 50
    assert seconds_left([done, *waiting]) is None, "nothing runs"


def test_the_command_tells_before_anything_is_finished(
    call: Main, sweep: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (sweep / "a/seed-0/result.json").unlink()
    with RunDirectory(sweep / "e/seed-0").claimed():
        assert call("report", "outputs", "--status") == 0
    shown = capsys.readouterr().out
    for words in ("200 of 1000", "CUDA out of memory", "5 runs: 1 running, 1 failed, 1 broken, 2 waiting"):
        assert words in shown
    assert call("report", "outputs", "--status") == 0
    assert "no run is in training" in capsys.readouterr().out


def test_an_error_is_one_line_below_the_table() -> None:
    error = "CUDA out of memory. Tried to allocate 2.00 GiB;\nreduce schedule.batch_size or [raise] the accumulation"
    console = Console(file=io.StringIO(), force_terminal=True, width=80, color_system=None)
    print_status("demo", [RunStatus("aspp/seed-0", State.FAILED, 10, 150, note=error)], console)
    assert isinstance(console.file, io.StringIO)
    *grid, told, _, _ = console.file.getvalue().splitlines()
    assert told == f"aspp/seed-0: {error}".replace("\n", " ")
    assert not any("CUDA" in line for line in grid)


DAMAGES = (b"", b"{", b"[]", b"3", b'"text"', b"\xff\xfe", b"9" * 5000, b"[" * 100_000)


@pytest.mark.parametrize("content", DAMAGES, ids=range(len(DAMAGES)))
@pytest.mark.parametrize(
    "file", ["sweep.json", "b/seed-0/failure.json", "c/seed-0/config.json", "a/seed-0/result.json"]
)
def test_status_reports_what_can_be_read(
    file: str, content: bytes, sweep: Path, call: Main, capsys: pytest.CaptureFixture[str]
) -> None:
    (sweep / file).write_bytes(content)
    assert call("report", "outputs", "--status") == 0
    shown = "".join(capsys.readouterr().out.split())  # lines are wrapped
    assert Path(file).name in shown or (file == "sweep.json" and content == b"[]")  # an empty plan is one
    assert "200of1000" in shown


def test_a_damaged_log_is_named(sweep: Path) -> None:
    (log,) = (sweep / "c/seed-0").rglob("metrics.csv")
    log.write_bytes(b"step,\xff\n")
    (broken,) = (run for run in sweep_status(sweep)[0] if run.name == "c/seed-0")
    assert (broken.state, broken.steps) == (State.BROKEN, None)
    assert str(log) in broken.note


@pytest.mark.parametrize("copy", ["c/seed-0.bak", "c/seed-0-old", "c_old/seed-0", "zz_c/seed-0", "c/seed-7"])
def test_a_copy_of_a_run_is_named_and_not_counted(copy: str, sweep: Path) -> None:
    run = RunDirectory(sweep / "c/seed-0")
    write_json(run.started, {"row": "c", "seed": 0, "schedule": {"max_steps": 1000}})
    before, remarks = sweep_status(sweep)
    assert not remarks
    shutil.copytree(run.path, sweep / copy)
    after, (remark,) = sweep_status(sweep)
    assert after == before
    assert copy in remark
    assert "copy of c/seed-0" in remark


def test_where_there_is_no_sweep(call: Main, workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (workplace / "outputs").mkdir()
    for folder, words in (("outputs", "no sweep"), ("nowhere", "no such directory")):
        assert call("report", folder, "--status") == 2
        assert words in capsys.readouterr().err


def test_sweeps_below_a_folder(sweep: Path) -> None:
    assert find_sweeps(sweep) == find_sweeps(sweep.parent) == [sweep]
