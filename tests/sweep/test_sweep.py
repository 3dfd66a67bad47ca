"""Rows that need a row before them, and runs that are asked to stop."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import TINY, Main, spawn

from ocnet_pl.process import EXIT_STOPPED
from ocnet_pl.record.curves import read_curves

SCENES = [option for option in TINY if not option.startswith("schedule.max_steps")]


def weights(workplace: Path, run: str) -> str:
    return str(json.loads((workplace / "outputs" / run / "result.json").read_text())["weights_sha256"])


def test_a_row_without_training_tests_the_network_of_its_parent(workplace: Path, call: Main) -> None:
    assert call("train", *TINY, "row=ohem") == 0
    assert call("train", *SCENES, "row=ms_flip", "parent=ohem", "schedule.max_steps=0", "inference=flip") == 0
    assert weights(workplace, "runs/ohem/seed-0") == weights(workplace, "runs/ms_flip/seed-0")
    left = json.loads((workplace / "outputs/runs/ms_flip/seed-0/result.json").read_text())
    assert left["steps"] == 0
    assert list(left["evaluations"]) == ["last/val/flip"]


def test_a_row_without_its_parent_is_refused(workplace: Path, call: Main, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("train", *TINY, "row=finetune", "parent=trainval") == 2
    error = capsys.readouterr().err
    assert "outputs/runs/trainval/seed-0: " in error
    assert "state is waiting" in error


@pytest.mark.slow
@pytest.mark.parametrize("trainer", ["cpu", "ddp_cpu"])
def test_a_stopped_run_loses_nothing(workplace: Path, trainer: str) -> None:
    command = [*SCENES, f"trainer={trainer}", "schedule.max_steps=200", "schedule.checkpoint_every=200"]
    command += ["schedule.val_every=70", "model.head.dropout=0.3"]
    assert spawn("train", *command, "name=unbroken", cwd=workplace).returncode == 0
    run = workplace / "outputs/stopped/base_oc/seed-0"
    arguments = [sys.executable, "-m", "ocnet_pl.command.train", *command, "name=stopped"]
    process = subprocess.Popen(arguments, cwd=workplace, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not (run / "log/step-000000/metrics.csv").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == EXIT_STOPPED
    assert not (run / "result.json").exists()
    assert not (run / "failure.json").exists()
    assert (run / "checkpoints/last.ckpt").exists()
    assert spawn("train", *command, "name=stopped", cwd=workplace).returncode == 0
    assert len(list((run / "log").iterdir())) == 2, "it did not resume"
    assert weights(workplace, "stopped/base_oc/seed-0") == weights(workplace, "unbroken/base_oc/seed-0")


@pytest.mark.slow
def test_all_processes_exit_during_a_validation(workplace: Path) -> None:
    scenes = [option for option in TINY if not option.startswith(("dataset.num_images", "schedule.checkpoint_every"))]
    command = [*scenes, "trainer=ddp_cpu", "dataset.num_images={train:8,val:400}", "schedule.checkpoint_every=3"]
    arguments = [sys.executable, "-m", "ocnet_pl.command.train", *command]
    process = subprocess.Popen(arguments, cwd=workplace, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    run = workplace / "outputs/runs/base_oc/seed-0"
    deadline = time.monotonic() + 120
    while not (run / "checkpoints/last.ckpt").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    printed, _ = process.communicate(timeout=60)
    assert process.returncode == EXIT_STOPPED, printed
    assert "Traceback" not in printed
    curves = read_curves(run / "log")
    assert len(curves["train/loss"]) == 3
    assert "val/miou" not in curves


def test_every_option_of_a_group(workplace: Path, call: Main) -> None:
    sweep = (*TINY, "schedule.max_steps=1", "name=all", "hydra.mode=MULTIRUN", "model/head=glob(base*)")
    assert call("train", *sweep) == 0
    assert {path.parents[1].name for path in workplace.glob("outputs/all/*/*/result.json")} == {"base_oc", "baseline"}
