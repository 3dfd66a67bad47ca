"""A run that ends anywhere, by signal or by accident, ends up as one that never did."""

import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import TINY, Main

from ocnet_pl import evaluation_module
from ocnet_pl.checkpoint import read_checkpoint
from ocnet_pl.module import SegmentationModule
from ocnet_pl.process import EXIT_STOPPED
from ocnet_pl.record.curves import read_curves
from ocnet_pl.record.directory import RunDirectory
from ocnet_pl.record.result import Result

CHECKED = (*TINY, "schedule.checkpoint_every=3")
"""Saves before both validations, of 3 and of all 6 steps."""
ACCUMULATED = (*CHECKED, "trainer.accumulate_grad_batches=2")


def run_of(name: str) -> RunDirectory:
    return RunDirectory(Path("outputs", name, "base_oc", "seed-0"))


def best_step(name: str) -> int:
    return read_checkpoint(run_of(name).checkpoints / "best.ckpt").step


def ask(module: SegmentationModule, batch_idx: int) -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def break_off(module: SegmentationModule, batch_idx: int) -> None:
    raise RuntimeError("broken off")


def assert_same(name: str) -> None:
    broken, whole = (Result.read(run_of(name).result) for name in (name, "whole"))
    assert broken.curves == whole.curves
    assert broken.weights_sha256 == whole.weights_sha256
    assert broken.evaluations == whole.evaluations
    assert best_step(name) == best_step("whole")


@pytest.fixture
def disturbed(workplace: Path, call: Main, monkeypatch: pytest.MonkeyPatch) -> Callable[..., object]:
    """Trains under a name, and does something before a micro-batch of a training, validation or test."""

    def train(
        command: tuple[str, ...],
        what: Callable[[SegmentationModule, int], None],
        where: str,
        step: int,
        batch: int = -1,
    ) -> int:
        method = f"{where}_step"
        usual = getattr(SegmentationModule, method)

        def step_after(module: SegmentationModule, images: Any, batch_idx: int) -> Any:
            if module.global_step == step and batch in (batch_idx, -1):
                what(module, batch_idx)
            return usual(module, images, batch_idx)

        with monkeypatch.context() as patch:
            patch.setattr(SegmentationModule, method, step_after)
            return call("train", *command)

    return train


@pytest.mark.parametrize("step", [0, 1, 2, 5])
def test_a_run_can_be_stopped_at_any_step(call: Main, disturbed: Callable[..., int], step: int) -> None:
    assert call("train", *CHECKED, "name=whole") == 0
    command = (*CHECKED, "name=stopped")
    assert disturbed(command, ask, "training", step) == EXIT_STOPPED
    assert call("train", *command) == 0
    assert_same("stopped")


@pytest.mark.parametrize("step", [3, 6])
def test_a_resumed_run_repeats_the_interrupted_validation(call: Main, disturbed: Callable[..., int], step: int) -> None:
    assert call("train", *CHECKED, "name=whole") == 0
    command = (*CHECKED, "name=broken")
    with pytest.raises(RuntimeError, match="broken off"):
        disturbed(command, break_off, "validation", step, 2)
    assert run_of("broken").last_checkpoint.is_file()
    # It can be asked to stop then, too.
    before = read_curves(run_of("broken").logs).get("val/miou")
    assert disturbed(command, ask, "validation", step, 1) == EXIT_STOPPED
    assert read_curves(run_of("broken").logs).get("val/miou") == before, "not at once, but after the validation"
    assert call("train", *command) == 0
    assert_same("broken")


def test_a_validation_of_a_step_that_is_not_saved_is_finished(call: Main, disturbed: Callable[..., int]) -> None:
    assert call("train", *TINY, "name=whole") == 0
    command = (*TINY, "name=stopped")
    assert disturbed(command, ask, "validation", 3, 1) == EXIT_STOPPED
    assert len(read_curves(run_of("stopped").logs)["val/miou"]) == 1
    assert call("train", *command) == 0
    assert_same("stopped")


def test_a_test_that_was_stopped_repeats_no_validation(call: Main, disturbed: Callable[..., int]) -> None:
    assert call("train", *CHECKED, "name=whole") == 0
    command = (*CHECKED, "name=tested")
    assert disturbed(command, ask, "test", 6, 1) == EXIT_STOPPED
    assert disturbed(command, break_off, "validation", 6) == 0
    assert_same("tested")


@pytest.mark.parametrize("batch", [4, 5])  # the first and the last of a step
def test_a_run_stops_between_steps_and_not_between_micro_batches(
    call: Main, disturbed: Callable[..., int], batch: int
) -> None:
    assert call("train", *ACCUMULATED, "name=whole") == 0
    command = (*ACCUMULATED, "name=stopped")
    assert disturbed(command, ask, "training", 2, batch) == EXIT_STOPPED
    assert call("train", *command) == 0
    assert_same("stopped")


def test_a_run_interrupted_twice_resumes_from_a_finished_step(call: Main, disturbed: Callable[..., int]) -> None:
    assert call("train", *ACCUMULATED, "name=whole") == 0
    command = (*ACCUMULATED, "name=broken")
    for batch in (8, 7):  # in the middle of step 4; then right after the first micro-batch that follows the checkpoint
        with pytest.raises(RuntimeError, match="broken off"):
            disturbed(command, break_off, "training", batch // 2, batch)
    assert call("train", *command) == 0
    assert_same("broken")


def test_a_moved_run_knows_its_best_checkpoint(
    call: Main, disturbed: Callable[..., int], monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = iter([0.9, 0.5])
    monkeypatch.setattr(evaluation_module, "mean_iou", lambda counts, absent: np.float64(next(scores)))
    command = (*CHECKED, "name=moved")
    with pytest.raises(RuntimeError, match="broken off"):
        disturbed(command, break_off, "training", 4)
    assert best_step("moved") == 3
    shutil.move("outputs", "elsewhere")
    assert call("train", *command, "outputs=elsewhere") == 0
    best = Path("elsewhere/moved/base_oc/seed-0/checkpoints/best.ckpt")
    assert read_checkpoint(best).step == 3


def test_a_run_without_its_checkpoint_starts_again(call: Main, disturbed: Callable[..., int]) -> None:
    assert call("train", *CHECKED, "name=whole") == 0
    command = (*CHECKED, "name=bare")
    for step in (4, 5):  # the second attempt goes on from step 3, and logs into a folder of its own
        with pytest.raises(RuntimeError, match="broken off"):
            disturbed(command, break_off, "training", step)
    run_of("bare").last_checkpoint.unlink()
    assert call("train", *command) == 0
    assert_same("bare")
