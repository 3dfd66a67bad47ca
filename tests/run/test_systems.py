"""Compared systems in every command: trained, stopped, resumed, profiled, explored, reported."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import TINY, Main, built_once, config_of
from trees import lip_tree

from ocnet_pl.module import SegmentationModule
from ocnet_pl.process import EXIT_STOPPED
from ocnet_pl.record.context import ContextMeasure
from ocnet_pl.record.costs import read_costs
from ocnet_pl.record.directory import RunDirectory
from ocnet_pl.record.result import Result

TERMS = {
    "aaf": {"main", "affinity"},
    "attention": {"main", "scale100", "scale75", "scale50"},
    "attention_ssl": {"main", "scale100", "scale75", "scale50"},
    "bisenet": {"main", "context16", "context8"},
    "ccnet": {"main"},
    "ce2p": {"main", "decoder", "edge"},
    "ce2p_asp_oc": {"main", "decoder", "edge"},
    "danet": {"main", "position", "channel"},
    "denseaspp": {"main"},
    "depthseg": {"main", "loop0", "loop1"},
    "dfn": {"main", *(f"smooth{one}" for one in (1, 2, 3)), *(f"border{one}" for one in (1, 2, 3, 4))},
    "dsspn": {"main", "neurons"},
    "duc": {"main"},
    "encnet": {"main", "presence"},
    "isa": {"main"},
    "jppnet": {"main", "parsing1", "parsing2", "pose1", "pose2", "pose3"},
    "mman": {"main", "thumbnail", *(f"{one}{end}" for one in ("micro", "macro") for end in ("", "_discriminator"))},
    "mula": {"main", "parsing1", "pose1", "pose2"},
    "non_local": {"main"},
    "ocr": {"main"},
    "psanet": {"main"},
    "refinenet": {"main"},
    "sac": {"main"},
    "ss_nan": {"main", "scale50", "scale75", "scale100"},
    "upernet": {"main"},
}
"""Loss terms of each system; the auxiliary loss is added where its weight is set."""
SYSTEMS = sorted(TERMS)
STOPPED = ("aaf", "danet", "jppnet", "mman")
"""Systems that two processes stop and resume: a loss with weights that learn, losses of a head over the whole batch,
poses, and a discriminator; one process stops and resumes all of them."""
OWN = {"refinenet": ("schedule.lr=0.001",)}
"""Settings that a system needs: RefineNet has no norms, and diverges within 30 steps at the demo's rate of 0.1."""
MAPLESS = {"ce2p_asp_oc", "danet", "isa", "non_local", "ocr"}
"""Systems that have attention on fused kernels."""
SHOWN = {
    "ccnet": ["criss-cross, 2 passes"],
    "ce2p_asp_oc": ["whole image"],
    "danet": ["position attention"],
    "isa": ["interlaced, 8x8"],
    "non_local": ["whole image"],
    "ocr": ["object regions"],
    "psanet": ["collect", "distribute"],
}
"""Systems that have attention to show, and the names of its maps."""


NARROW = {
    "ce2p": ("model.head.edge_channels=8", "model.head.pyramid_channels=8"),
    "ce2p_asp_oc": ("model.head.edge_channels=8", "model.head.context.out_channels=8"),
}
"""Further narrow layers."""
POSED = sorted(system for system in SYSTEMS if config_of(system).model.head.get("needs_poses"))
"""Systems that learn from poses."""
PEOPLE = [(32, 64)] * 8


def chosen(system: str, scenes: Sequence[str] = TINY, folder: Path | None = None) -> list[str]:
    """A training of seconds; a head that ends in logits has no width, and one with poses trains on a tree of LIP."""
    options = config_of(system).model.head
    command = [option for option in scenes if "out_channels" in options or not option.startswith("model.head.out_")]
    if system in POSED and "dataset=demo" in command:
        lip = (folder or Path.cwd()) / "people"
        if not lip.exists():
            lip_tree(lip, poses=True, train=PEOPLE, val=PEOPLE[:5])
        small = (f"dataset.root={lip}", "dataset.size=[32,64]", "dataset.crop_size=[32,64]", "dataset.num_workers=0")
        others = [option for option in command if not option.startswith("dataset")]
        command = [*others, "dataset=lip", *small]
    return [*command, f"model/head={system}", *NARROW.get(system, ())]


LABELS = {config_of(head).model.head.label for head in SYSTEMS}


def run_of(name: str, head: str) -> RunDirectory:
    return RunDirectory(Path("outputs", name, head, "seed-0"))


def assert_same(head: str, *names: str) -> None:
    first, *others = (Result.read(run_of(name, head).result) for name in names)
    for other in others:
        assert other.weights_sha256 == first.weights_sha256
        assert other.curves == first.curves
        assert other.evaluations == first.evaluations


def assert_complete(run: RunDirectory) -> None:
    """A run of `TINY`, tested on both splits, has left all that a run leaves."""
    left = Result.read(run.result)
    assert left.row == run.row
    assert left.steps == 6
    assert set(left.evaluations) == {"last/val/whole", "last/train/whole"}
    assert left.evaluations["last/val/whole"].images == 5
    assert [step for step, _ in left.curves["train/loss"]] == list(range(6))
    assert len(left.curves["val/miou"]) == 2
    assert left.parameters["total"] == sum(count for part, count in left.parameters.items() if part != "total")
    assert {path.name for path in (run.path / "checkpoints").iterdir()} == {"last.ckpt", "best.ckpt"}
    assert len(list((run.path / "samples").iterdir())) == 3 * len(left.samples) == 15


def assert_loss_is_the_sum(curves: Mapping[str, Sequence[tuple[int, float]]], terms: set[str]) -> None:
    """The logged terms are these, each with a value, and their sum is the logged loss."""
    assert {name.removeprefix("train/") for name in curves if name.startswith("train/")} == terms | {"loss"}
    values = {name: np.array([value for _, value in curves[f"train/{name}"]]) for name in terms | {"loss"}}
    assert all((values[name] > 0).all() for name in terms)
    np.testing.assert_allclose(sum(values[name] for name in terms), values["loss"], rtol=1e-5)


def other_auxiliary_weight(head: str) -> float:
    """The auxiliary loss is off where a system has it, and on where it has none."""
    return 0 if config_of(head).loss.auxiliary_weight else 0.4


MICRO_BATCHES = ("trainer.accumulate_grad_batches=2", "trainer.precision=bf16-mixed")


@pytest.mark.parametrize(
    ("head", "extra"), [*((head, ()) for head in SYSTEMS), *((head, MICRO_BATCHES) for head in ("aaf", "dfn", "ocr"))]
)
def test_a_run_leaves_its_result_and_one_that_was_stopped_the_same(
    head: str, extra: tuple[str, ...], workplace: Path, call: Main, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bit for bit; with another weight of the auxiliary loss than the default, which two processes have below."""
    auxiliary = other_auxiliary_weight(head)
    command = (*chosen(head), *extra, "evaluate_on=[val,train]", f"loss.auxiliary_weight={auxiliary}")
    assert call("train", *command, "name=whole") == 0
    assert_complete(run_of("whole", head))
    if not extra:  # of several micro-batches, the last one's terms are logged
        terms = TERMS[head] | ({"auxiliary"} if auxiliary else set())
        assert_loss_is_the_sum(Result.read(run_of("whole", head).result).curves, terms)
    usual = SegmentationModule.training_step

    def stopped_step(module: SegmentationModule, batch: Any, batch_idx: int) -> Any:
        if module.global_step == 3:
            os.kill(os.getpid(), signal.SIGTERM)
        return usual(module, batch, batch_idx)

    with monkeypatch.context() as patch:
        patch.setattr(SegmentationModule, "training_step", stopped_step)
        assert call("train", *command, "name=stopped") == EXIT_STOPPED
    assert call("train", *command, "name=stopped") == 0
    assert_same(head, "whole", "stopped")
    whole, stopped = (torch.load(run_of(name, head).last_checkpoint) for name in ("whole", "stopped"))
    assert whole["state_dict"].keys() == stopped["state_dict"].keys()
    assert all(torch.equal(whole["state_dict"][key], tensor) for key, tensor in stopped["state_dict"].items())
    if learned := [tensor for key, tensor in whole["state_dict"].items() if key.startswith("additional_losses.")]:
        assert all(tensor.any() for tensor in learned), "weights of a loss start at 0"


@pytest.fixture(scope="session")
def trained_by_two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of runs of all systems on two gloo processes; those of `STOPPED` are stopped and resumed, too."""
    return built_once(tmp_path_factory, "two", train_by_two)


def train_by_two(folder: Path) -> None:
    trainings: list[dict[str, Any]] = []
    for head in SYSTEMS:
        command = [*chosen(head, folder=folder), *OWN.get(head, ()), "trainer=ddp_cpu"]
        trainings.append({"overrides": [*command, "name=whole"], "stops": False})
        if head in STOPPED:
            trainings += [{"overrides": [*command, "name=stopped"], "stops": stops} for stops in (True, False)]
    for training, port in zip(trainings, free_ports(len(trainings)), strict=True):
        training["port"] = port
    (folder / "trainings.json").write_text(json.dumps(trainings))
    script = [sys.executable, str(Path(__file__).with_name("as_one_of_two.py"))]
    with ExitStack() as stack:
        both = []
        for rank in ("0", "1"):
            printed = stack.enter_context((folder / f"printed_by_{rank}.txt").open("w"))
            process = subprocess.Popen([*script, rank, "trainings.json"], cwd=folder, stdout=printed, stderr=printed)
            both.append(stack.enter_context(process))
            stack.callback(process.kill)
        while any(process.poll() is None for process in both) and not any(process.poll() for process in both):
            time.sleep(0.1)  # one that fails leaves the other waiting
        codes = [process.poll() for process in both]
    said = "\n".join((folder / f"printed_by_{rank}.txt").read_text()[-2000:] for rank in ("0", "1"))
    assert codes == [0, 0], said


def free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


@pytest.mark.slow
@pytest.mark.parametrize("head", STOPPED)
def test_two_processes_stop_and_resume(head: str, trained_by_two: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(trained_by_two)
    assert_same(head, "whole", "stopped")


@pytest.mark.slow
@pytest.mark.parametrize("head", SYSTEMS)
def test_two_processes_train_a_system(head: str, trained_by_two: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(trained_by_two)
    result = Result.read(run_of("whole", head).result)
    assert result.processes == 2
    auxiliary = config_of(head).loss.auxiliary_weight
    assert_loss_is_the_sum(result.curves, TERMS[head] | ({"auxiliary"} if auxiliary else set()))


def test_systems_with_fused_attention_are_profiled(workplace: Path, call: Main) -> None:
    fast = ("--backbone", "tiny", "--size", "64", "--repeats", "1", "--device", "cpu", "--classes", "5")
    assert call("profile", *fast, "--heads", *sorted(MAPLESS), "--explicit-attention") == 0
    costs = {(cost.head, cost.attention): cost for cost in read_costs(workplace / "outputs" / "profile.csv")}
    assert set(costs) == {(head, attention) for head in MAPLESS for attention in ("mapless", "explicit")}
    assert all(costs[head, "mapless"].multiply_adds == costs[head, "explicit"].multiply_adds for head in MAPLESS)
    assert {cost.label for cost in costs.values()} <= LABELS
    assert all(cost.forward_ms and cost.train_step_ms for cost in costs.values())


@pytest.mark.slow
def test_systems_are_explored_and_reported(
    trained_by_two: Path, workplace: Path, call: Main, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(trained_by_two / "outputs" / "whole", "outputs/whole")
    shutil.copytree(trained_by_two / "data", "data")
    paths = {head: str(run_of("whole", head).last_checkpoint) for head in SYSTEMS}
    assert call("explore", "measure", *paths.values(), "--pixels", "2", "--device", "cpu") == 0
    assert f"{paths['upernet']}: UPerNet: " in capsys.readouterr().out, "it has no attention to measure"
    for head, names in SHOWN.items():
        measure = ContextMeasure.read(run_of("whole", head).path / "context-last-val.json")
        assert [(one.name, one.reach) for one in measure.maps] == [(name, 1.0) for name in names]
    shown = [paths[head] for head in SHOWN]
    assert call("explore", "figure", *shown, "--out", "maps.png", "--device", "cpu") == 0
    assert Path("maps.png").is_file()

    assert call("report", "outputs/whole") == 0
    table = Path("outputs/whole/table.md").read_text()
    assert {cell.strip() for cell in table.split("|")} >= LABELS
