import os
import signal
from pathlib import Path
from typing import Any

import pytest
from conftest import TINY, Main

from ocnet_pl.module import SegmentationModule
from ocnet_pl.process import EXIT_STOPPED
from ocnet_pl.run.checkpoint import read_checkpoint
from ocnet_pl.run.directory import RunDirectory
from ocnet_pl.run.result import Result

CHECKED = (*TINY, "schedule.checkpoint_every=3")
"""Saves before both validations, of 3 and of all 6 steps."""


def left_by(name: str) -> Result:
    return Result.read(RunDirectory(Path("outputs", name, "base_oc", "seed-0")).result)


@pytest.fixture
def whole(workplace: Path, call: Main) -> Result:
    assert call("train", *CHECKED, "name=whole") == 0
    return left_by("whole")


def assert_same(broken: Result, whole: Result) -> None:
    assert broken.curves == whole.curves
    assert broken.weights_sha256 == whole.weights_sha256
    assert broken.evaluations == whole.evaluations


@pytest.mark.parametrize("step", [0, 1, 2, 5])
def test_a_run_stopped_at_any_step_has_the_curves_of_a_whole_one(
    whole: Result, call: Main, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    begin = SegmentationModule.on_train_batch_start

    def ask_to_stop(module: SegmentationModule, batch: Any, batch_idx: int) -> None:
        begin(module, batch, batch_idx)
        if module.global_step == step:
            os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(SegmentationModule, "on_train_batch_start", ask_to_stop)
        assert call("train", *CHECKED, "name=stopped") == EXIT_STOPPED
    assert call("train", *CHECKED, "name=stopped") == 0
    assert_same(left_by("stopped"), whole)


@pytest.mark.parametrize("step", [3, 6])
def test_a_validation_that_was_broken_off_is_made_up_for(
    whole: Result, call: Main, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    validate = SegmentationModule.validation_step

    def break_off(module: SegmentationModule, batch: Any, batch_idx: int) -> None:
        if module.global_step == step and batch_idx == 2:
            raise RuntimeError("broken off")
        validate(module, batch, batch_idx)

    with monkeypatch.context() as patch:
        patch.setattr(SegmentationModule, "validation_step", break_off)
        with pytest.raises(RuntimeError, match="broken off"):
            call("train", *CHECKED, "name=broken")
    checkpoints = Path("outputs/broken/base_oc/seed-0/checkpoints")
    assert (checkpoints / "last.ckpt").is_file()
    assert call("train", *CHECKED, "name=broken") == 0
    assert_same(left_by("broken"), whole)
    best, expected = (
        read_checkpoint(Path("outputs", name, "base_oc", "seed-0", "checkpoints", "best.ckpt"))
        for name in ("broken", "whole")
    )
    assert best["global_step"] == expected["global_step"]


def test_a_validation_is_not_repeated(whole: Result, call: Main, monkeypatch: pytest.MonkeyPatch) -> None:
    test, validate = SegmentationModule.test_step, SegmentationModule.validation_step
    validated = []

    def break_off(module: SegmentationModule, batch: Any, batch_idx: int) -> None:
        raise RuntimeError("broken off")

    def note(module: SegmentationModule, batch: Any, batch_idx: int) -> None:
        validated.append(module.global_step)
        validate(module, batch, batch_idx)

    monkeypatch.setattr(SegmentationModule, "test_step", break_off)
    with pytest.raises(RuntimeError, match="broken off"):
        call("train", *CHECKED, "name=tested")
    monkeypatch.setattr(SegmentationModule, "test_step", test)
    monkeypatch.setattr(SegmentationModule, "validation_step", note)
    assert call("train", *CHECKED, "name=tested") == 0
    assert_same(left_by("tested"), whole)
    assert validated == []
