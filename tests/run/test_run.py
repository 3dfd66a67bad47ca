"""Whole runs: trained, killed, resumed, tested again, reported."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import TINY, Main, built_once, spawn, train_in
from test_systems import SYSTEMS, assert_complete, chosen, run_of

import ocnet_pl
from ocnet_pl.checkpoint import read_checkpoint
from ocnet_pl.config.compose import heads
from ocnet_pl.module import SegmentationModule
from ocnet_pl.record.directory import RunDirectory


def result(folder: Path) -> dict[str, object]:
    content: dict[str, object] = json.loads((folder / "result.json").read_text())
    return content


@pytest.fixture(scope="session")
def trained_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one finished run, and its data."""
    return built_once(tmp_path_factory, "finished", lambda folder: train_in(folder, *TINY))


@pytest.fixture
def finished(trained_run: Path, workplace: Path) -> Path:
    """Directory of a copy of that run, below the current folder."""
    shutil.copytree(trained_run, workplace, dirs_exist_ok=True)
    return Path("outputs/runs/base_oc/seed-0")


@pytest.mark.parametrize("head", [head for head in heads() if head not in SYSTEMS])
def test_a_head_trains_and_leaves_its_result(head: str, workplace: Path, call: Main) -> None:
    assert call("train", *chosen(head), "evaluate_on=[val,train]") == 0
    assert_complete(run_of("runs", head))


def test_a_checkpoint_gives_its_network_back(finished: Path) -> None:
    network = ocnet_pl.load(finished / "checkpoints" / "last.ckpt")
    assert not network.network.training
    image = torch.randint(0, 255, (32, 64, 3), dtype=torch.uint8).numpy()
    assert network.predict(image).shape == (32, 64)
    content = read_checkpoint(finished / "checkpoints" / "last.ckpt")
    assert content.config["model"]["head"]["out_channels"] == 8
    assert content.classes[0] == "road"


def test_evaluating_again_keeps_the_first_scores(
    finished: Path, call: Main, capsys: pytest.CaptureFixture[str]
) -> None:
    before = result(finished)
    assert call("evaluate", f"{finished}/checkpoints/last.ckpt", "trainer=cpu") == 0
    assert "last/val/whole" in capsys.readouterr().out
    assert result(finished) == before


@pytest.mark.parametrize(
    ("override", "key", "images"),
    [("split=train", "last/train/whole", 8), ("inference=sliding", "last/val/sliding", 5)],
)
def test_another_evaluation_is_added(override: str, key: str, images: int, finished: Path, call: Main) -> None:
    before = result(finished)["evaluations"]
    assert call("evaluate", f"{finished}/checkpoints/last.ckpt", "trainer=cpu", override) == 0
    after = result(finished)["evaluations"]
    assert set(after) == {*before, key}
    assert after["last/val/whole"] == before["last/val/whole"]
    assert after[key]["images"] == images


@pytest.mark.parametrize(
    ("overrides", "difference"),
    [
        (["inference=sliding", "inference.stride=[16,16]"], "inference.stride"),
        (["inference=flip", "trainer.precision=bf16-mixed"], "precision: 32-true -> bf16-mixed"),
        (["split=trainval", "dataset.num_images={train:8,val:4}", "dataset.root=data/other"], "dataset.num_images"),
    ],
)
def test_an_evaluation_with_other_settings_is_printed_and_not_added(
    overrides: list[str], difference: str, finished: Path, call: Main, capsys: pytest.CaptureFixture[str]
) -> None:
    before = result(finished)
    assert call("evaluate", f"{finished}/checkpoints/last.ckpt", "trainer=cpu", *overrides) == 0
    printed = capsys.readouterr().out
    assert "not added" in printed
    assert difference in printed
    assert result(finished) == before


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["CHECKPOINT", "model/head=asp_oc"], "head base_oc, not asp_oc"),
        (["CHECKPOINT", "dataset=folder", "dataset.root=x", "dataset.classes=[sky,sea]"], "8 classes"),
        (["CHECKPOINT", "split=[val,train]"], "split=[val,train]: expected"),
        (["CHECKPOINT", "inference=multi_scale", "inference.scales=1.0"], "inference.scales=1.0: expected a list"),
        (["split=val"], "checkpoint"),
        (["CHECKPOINT", "val"], "val: "),
    ],
)
def test_an_evaluation_that_does_not_fit_is_refused(
    arguments: list[str], words: str, finished: Path, call: Main, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = f"{finished}/checkpoints/last.ckpt"
    assert call("evaluate", *(checkpoint if word == "CHECKPOINT" else word for word in arguments)) == 2
    (error,) = capsys.readouterr().err.splitlines()
    assert words in error


@pytest.mark.slow
def test_several_processes_add_one_evaluation(finished: Path, workplace: Path) -> None:
    checkpoint = f"checkpoint={finished}/checkpoints/last.ckpt"
    done = spawn("evaluate", checkpoint, "trainer=ddp_cpu", "split=train", cwd=workplace)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("added to") == 1
    evaluation = result(finished)["evaluations"]["last/train/whole"]
    with np.load(finished / evaluation["counts"]) as file:
        assert len(file["images"]) == evaluation["images"] == 8


def test_the_same_command_again_does_nothing(
    finished: Path, call: Main, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = (finished / "result.json").read_bytes()
    assert call("train", *TINY) == 0
    assert "already finished" in capsys.readouterr().out
    with monkeypatch.context() as second:  # another process of the same job waits for nobody
        second.setenv("SLURM_PROCID", "1")
        second.setenv("SLURM_NTASKS", "2")
        assert call("train", *TINY, "trainer=ddp_cpu") == 0
    assert call("train", *TINY, "schedule.lr=0.5") == 2
    assert "schedule.lr: 0.1 -> 0.5" in capsys.readouterr().err
    assert (finished / "result.json").read_bytes() == before


@pytest.mark.slow
@pytest.mark.parametrize(
    "extra", [("trainer=ddp_cpu",), ("trainer.accumulate_grad_batches=2", "dataset.num_workers=2")]
)
def test_a_killed_run_ends_with_the_same_weights(workplace: Path, extra: tuple[str, ...]) -> None:
    command = [
        *TINY,
        *extra,
        "model.head.dropout=0.3",
        "schedule.max_steps=40",
        "schedule.checkpoint_every=5",
        "schedule.val_every=7",
    ]
    unbroken = spawn("train", *command, "name=unbroken", cwd=workplace)
    assert unbroken.returncode == 0, unbroken.stderr
    arguments = [sys.executable, "-m", "ocnet_pl.command.train", *command, "name=killed"]
    process = subprocess.Popen(arguments, cwd=workplace, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    checkpoint = workplace / "outputs/killed/base_oc/seed-0/checkpoints/last.ckpt"
    deadline = time.monotonic() + 120
    while not checkpoint.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (workplace / "outputs/killed/base_oc/seed-0/result.json").exists()
    resumed = spawn("train", *command, "name=killed", cwd=workplace)
    assert resumed.returncode == 0, resumed.stderr
    whole, broken = (result(workplace / "outputs" / name / "base_oc" / "seed-0") for name in ("unbroken", "killed"))
    assert len(list((workplace / "outputs/killed/base_oc/seed-0/log").iterdir())) == 2, "it did not resume"
    assert broken["weights_sha256"] == whole["weights_sha256"]
    for name, curve in whole["curves"].items():
        # Lightning logs a step after its checkpoint: a kill between the two may cost that one point of the log.
        assert len(curve) - len(broken["curves"][name]) <= 1
        assert {tuple(point) for point in broken["curves"][name]} <= {tuple(point) for point in curve}
    assert broken["evaluations"] == whole["evaluations"]


def alive(marker: str, folder: Path) -> list[str]:
    """Command lines of processes that have a word in theirs, or work in a folder, as forked runs do."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode()
            works_there = path.with_name("cwd").resolve() == folder.resolve()
        except OSError:
            continue
        if (marker in line or works_there) and str(os.getpid()) != path.parent.name:
            found.append(line)
    return found


@pytest.mark.slow
def test_a_sweep_survives_a_failure_and_repeats_only_that(workplace: Path, cityscapes_tree: Path) -> None:
    marker = f"outputs={workplace}/outputs"
    command = ["-m", *TINY, "trainer=ddp_cpu", "model/head=baseline,base_oc", marker]
    # base_oc cannot make its directory of checkpoints: a file stands in the way.
    obstacle = workplace / "outputs/runs/base_oc/seed-0/checkpoints"
    obstacle.parent.mkdir(parents=True)
    obstacle.write_text("in the way")
    first = spawn("train", *command, cwd=workplace)
    assert first.returncode == 1
    assert "1 done, 1 failed" in first.stdout
    assert "base_oc/seed-0: " in first.stdout
    baseline = result(workplace / "outputs/runs/baseline/seed-0")
    assert baseline["processes"] == 2
    assert baseline["evaluations"]["last/val/whole"]["images"] == 5
    assert not alive(marker, workplace), "a process was left behind"
    report = spawn("report", "outputs/runs", cwd=workplace)
    assert "seed 0 failed" in report.stdout

    obstacle.unlink()
    second = spawn("train", *command, cwd=workplace)
    assert second.returncode == 0, second.stdout + second.stderr
    assert "baseline/seed-0 already finished, skipped" in second.stdout
    assert result(workplace / "outputs/runs/baseline/seed-0") == baseline
    assert result(workplace / "outputs/runs/base_oc/seed-0")["processes"] == 2
    assert sorted(p.name for p in (workplace / "outputs/runs").iterdir() if p.is_dir()) == ["base_oc", "baseline"]
    third = spawn("train", *command, "schedule.lr=0.7", cwd=workplace)
    assert third.returncode == 2
    assert "schedule.lr: 0.1 -> 0.7" in third.stderr


def test_two_rows_cannot_share_a_directory(workplace: Path, call: Main, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("train", "-m", *TINY, "schedule.lr=0.1,0.2") == 2
    assert "'row=lr-${schedule.lr}'" in capsys.readouterr().err
    assert not (workplace / "outputs" / "runs" / "base_oc").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["dataset.root=/nowhere"], "leftImg8bit/<split>"),
        (["model/head=basoc"], "did you mean model/head=base_oc"),
        (["schedule.max_step=1"], "did you mean schedule.max_steps"),
        (["schedule.max_steps=many"], "schedule.max_steps=many: expected"),
        ([*TINY, "schedule.batch_size=3", "trainer.accumulate_grad_batches=2"], "does not divide"),
        ([*TINY, "model.backbone.model_name=resnet9"], "timm has no such network"),
        ([*TINY, "model.backbone.output_stride=4"], "model.backbone.output_stride=4"),
        ([*TINY, "model/backbone=resnet18"], "model.backbone.pretrained"),
        ([*TINY, "model.backbone.weights=nowhere.pth"], "no such file"),
        (["dataset=folder", "dataset.root=x"], "dataset.classes: has no value; write dataset.classes="),
        ([*TINY, "seed=1,2"], "write 'seed=[1,2]' for a list, or add -m for a sweep"),
        ([*TINY, "seed=-1"], "seed=-1: expected"),
        ([*TINY, "dataset.num_workers=-1"], "dataset.num_workers=-1: expected"),
        ([*TINY, "name=../evil"], "name=../evil: expected the name of a folder"),
        (["-m", *TINY, "seed=0,-1"], "seed=-1: expected"),
        (["-m", *TINY, "seed=0,1", "evaluate_on=[]"], "evaluate_on=[]: expected"),
    ],
)
def test_wrong_input_gets_one_line(
    arguments: list[str], words: str, workplace: Path, call: Main, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("train", *arguments) == 2
    error = capsys.readouterr().err.strip()
    assert error.startswith("ocnet-train: error: ")
    assert "\n" not in error
    assert words in error
    assert not (workplace / "evil").exists()


@pytest.mark.parametrize("workers", [0, 1])
def test_a_damaged_image_is_named_in_one_line(
    workers: int, finished: Path, workplace: Path, call: Main, capsys: pytest.CaptureFixture[str]
) -> None:
    for image in (workplace / "data/demo/leftImg8bit/train/demo").iterdir():
        image.write_bytes(image.read_bytes()[:500])
    assert call("train", *TINY, "seed=1", f"dataset.num_workers={workers}") == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("ocnet-train: error: data/demo/leftImg8bit/train/demo/demo_")
    assert "truncated" in error


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "no such file"),
        (b"", "damaged"),
        (b"hello", "damaged"),
        ({"a": 1}, "no config"),
        (print, "more than weights"),
    ],
)
def test_a_wrong_checkpoint_is_refused(
    content: object, words: str, workplace: Path, call: Main, capsys: pytest.CaptureFixture[str]
) -> None:
    path = workplace / "x.ckpt"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        torch.save(content, path)
    assert call("evaluate", f"checkpoint={path}") == 2
    assert words in capsys.readouterr().err


def test_help_prints_every_example_on_its_own_line(call: Main, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("evaluate", "--help") == 0
    assert capsys.readouterr().out.count("\n  ocnet-evaluate ") == 4


def test_an_operation_that_is_not_deterministic_ends_the_run_in_one_line(
    workplace: Path, call: Main, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def step(module: SegmentationModule, batch: Any, batch_idx: int) -> None:
        torch.zeros(2).put_(torch.tensor([0]), torch.ones(1))

    monkeypatch.setattr(SegmentationModule, "training_step", step)
    try:
        assert call("train", *TINY, "trainer.deterministic=true") == 2
    finally:
        torch.use_deterministic_algorithms(False)
    assert "trainer.deterministic=true: put_" in capsys.readouterr().err
    assert "put_" in RunDirectory(Path("outputs/runs/base_oc/seed-0")).read_failure()
