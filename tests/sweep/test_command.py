"""Sweeps through the command: the plan is what runs, Ctrl-C saves, disturbed directories end in one line."""

import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import TINY, Main

from ocnet_pl.errors import EXIT_INTERRUPTED
from ocnet_pl.record.directory import RunDirectory, State
from ocnet_pl.record.plan import PLAN, planned_runs
from ocnet_pl.sweep import launching

SHORT = (*(option for option in TINY if "max_steps" not in option), "schedule.max_steps=1")


def test_a_sweep_with_interpolations_trains_the_planned_runs(
    workplace: Path, call: Main, capsys: pytest.CaptureFixture[str]
) -> None:
    sweep = ("-m", *SHORT, "seed=1,2", "row=x-${seed}")
    assert call("train", *sweep) == 0
    assert "outputs/runs: 2 done" in capsys.readouterr().out
    planned = planned_runs(Path("outputs/runs"))
    assert [f"{run.row}/{run.path.name}" for run in planned] == ["x-1/seed-1", "x-2/seed-2"]
    for run in planned:
        result = json.loads(run.result.read_text())
        assert (f"x-{result['seed']}", result["seed"]) == (run.row, run.seed)
    assert sorted(path.name for path in Path("outputs/runs").iterdir() if path.is_dir()) == ["x-1", "x-2"]

    assert call("train", *sweep) == 0
    assert capsys.readouterr().out.count("already finished, skipped") == 2
    assert call("train", *sweep, "schedule.lr=0.7") == 2
    assert "schedule.lr: 0.1 -> 0.7" in capsys.readouterr().err


def test_a_run_compares_its_config_before_it_is_finished(
    workplace: Path, call: Main, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another command finished it with another config after this one was planned."""
    assert call("train", *SHORT) == 0
    before = Path("outputs/runs/base_oc/seed-0/result.json").read_bytes()
    capsys.readouterr()
    usual = RunDirectory.refuse_other_config
    calls = iter(range(100))

    def after_planning(run: RunDirectory, config: dict[str, object]) -> None:
        if next(calls) > 0:
            usual(run, config)

    monkeypatch.setattr(RunDirectory, "refuse_other_config", after_planning)
    assert call("train", "-m", *SHORT, "schedule.lr=0.7") == 1
    shown = capsys.readouterr().out
    assert "not started: " in shown
    assert shown.count("schedule.lr: 0.1 -> 0.7") == 2, "when it would start, and at the end"
    assert "already finished" not in shown
    assert Path("outputs/runs/base_oc/seed-0/result.json").read_bytes() == before


def test_a_finished_run_without_its_config_is_compared_with_its_result(
    workplace: Path, call: Main, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("train", *SHORT) == 0
    run = RunDirectory(Path("outputs/runs/base_oc/seed-0"))
    run.started.unlink()
    assert call("train", *SHORT, "schedule.lr=0.7") == 2
    assert "schedule.lr: 0.1 -> 0.7" in capsys.readouterr().err
    run.result.unlink()
    assert call("train", *SHORT) == 2
    assert "config.json: missing" in capsys.readouterr().err


def test_an_unplanned_run_is_not_started(
    workplace: Path, call: Main, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launching, "runs_of_start", lambda *_: [])
    assert call("train", "-m", *SHORT) == 1
    shown = capsys.readouterr().out
    assert "base_oc/seed-0 not started" in shown
    assert "did not plan this run" in shown
    assert "1 waiting" in shown


@pytest.mark.parametrize("damage", [b"{", b"3", b'{"starts": 1}', b"\xff"])
@pytest.mark.parametrize("file", [PLAN, "base_oc/seed-0/config.json"])
def test_a_damaged_file_is_named_and_kept(
    file: str, damage: bytes, workplace: Path, call: Main, capsys: pytest.CaptureFixture[str]
) -> None:
    run = RunDirectory(Path("outputs/runs/base_oc/seed-0"))
    run.checkpoints.mkdir(parents=True)
    run.last_checkpoint.touch()
    if file == PLAN:
        run.started.write_text("{}")
        run.last_checkpoint.unlink()
    (run.path.parents[1] / file).write_bytes(damage)
    assert call("train", "-m", *SHORT) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert Path(file).name in line or "different config" in line
    assert (run.path.parents[1] / file).read_bytes() == damage


@pytest.mark.parametrize("code", [errno.EACCES, errno.EROFS, errno.ENOSPC])
@pytest.mark.parametrize("arguments", [(), ("-m",)])
def test_outputs_that_cannot_be_written(
    code: int,
    arguments: tuple[str, ...],
    workplace: Path,
    call: Main,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(path: object, *_: object) -> None:
        raise OSError(code, os.strerror(code), str(path))

    monkeypatch.setattr(os, "mkdir", refuse)
    assert call("train", *arguments, *SHORT) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert os.strerror(code) in line
    assert "outputs" in line


@pytest.mark.slow
@pytest.mark.parametrize(
    "how", [(), ("trainer=ddp_cpu",), ("-m", "seed=0,1"),
            ("-m", "seed=0,1", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2")],
)  # fmt: skip
@pytest.mark.parametrize("group", [False, True], ids=["one process", "the terminal's processes"])
def test_ctrl_c_saves(how: tuple[str, ...], group: bool, workplace: Path) -> None:
    command = [option for option in TINY if not option.startswith(("schedule.", "dataset.num_images"))]
    command += ["schedule.max_steps=5000", "schedule.val_every=5000", "schedule.checkpoint_every=5000"]
    command += ["schedule.batch_size=4", "schedule.log_every=1"]
    process = subprocess.Popen(
        [sys.executable, "-m", "ocnet_pl.command.train", *command, *how],
        cwd=workplace, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )  # fmt: skip
    running = workplace / "outputs/runs/base_oc/seed-0"
    deadline = time.monotonic() + 120
    while not (running / "log/step-000000/metrics.csv").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    (os.killpg if group else os.kill)(process.pid, signal.SIGINT)
    printed, _ = process.communicate(timeout=120)
    assert process.returncode == EXIT_INTERRUPTED, printed
    assert "Traceback" not in printed
    run = RunDirectory(running)
    assert run.state() is State.BROKEN
    assert run.last_checkpoint.is_file()
    for other in running.parent.iterdir():
        assert RunDirectory(other).state() in (State.BROKEN, State.WAITING), "still running, or failed"
