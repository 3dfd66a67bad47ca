"""Callbacks of the config: averages of weights and early ends, uninterrupted and resumed."""

from pathlib import Path

import pytest
import torch
from conftest import TINY, Main
from test_stopping import ask, assert_same, break_off, disturbed, run_of  # noqa: F401

from ocnet_pl.checkpoint import read_checkpoint
from ocnet_pl.process import EXIT_STOPPED
from ocnet_pl.record.result import Result
from ocnet_pl.run.restoring import restore

AVERAGED = (*TINY, "callbacks=ema", "callbacks.ema.decay=0.5", "schedule.checkpoint_every=3")
NEVER_BETTER = (*TINY, "callbacks=early_stopping", "callbacks.early_stopping.patience=1", "schedule.val_every=2",
                "callbacks.early_stopping.min_delta=1.0", "schedule.max_steps=8")  # fmt: skip
"""Ends after the second validation, of step 4."""


@pytest.mark.parametrize(
    ("where", "step", "what"),
    [("training", 1, ask), ("training", 4, break_off), ("validation", 6, break_off), ("test", 6, ask)],
)
def test_a_resumed_average_is_that_of_an_uninterrupted_run(where, step, what, call: Main, disturbed) -> None:  # noqa: F811
    assert call("train", *AVERAGED, "name=whole") == 0
    command = (*AVERAGED, "name=broken")
    if what is ask:
        assert disturbed(command, what, where, step) == EXIT_STOPPED
    else:
        with pytest.raises(RuntimeError, match="broken off"):
            disturbed(command, what, where, step)
    assert call("train", *command) == 0
    assert_same("broken")


def test_the_average_is_tested_and_saved(call: Main, workplace: Path) -> None:
    assert call("train", *AVERAGED) == 0
    assert call("train", *TINY, "name=plain") == 0
    run = run_of("runs")
    content = torch.load(run.last_checkpoint, weights_only=True)
    name = "network.classifier.weight"
    plain = torch.load(run_of("plain").last_checkpoint, weights_only=True)["state_dict"][name]
    assert not torch.equal(content["state_dict"][name], plain)
    restored = restore(run.last_checkpoint)
    from ocnet_pl.run.provenance import weights_sha256

    assert weights_sha256(restored.predictor.network) == Result.read(run.result).weights_sha256
    best = read_checkpoint(run.checkpoints / "best.ckpt")
    curve = dict(Result.read(run.result).curves["val/miou"])
    assert best.step - 1 == max(curve, key=lambda step: (curve[step], -step))
    before = Result.read(run.result).evaluations["last/val/whole"].miou
    assert curve[5] == pytest.approx(before), "the last validation and the test have the same weights"


def test_an_early_end_is_kept_and_listed(call: Main, disturbed, capsys: pytest.CaptureFixture[str]) -> None:  # noqa: F811
    assert call("train", *NEVER_BETTER, "name=whole") == 0
    whole = Result.read(run_of("whole").result)
    assert (whole.steps, whole.rehearsal) == (4, [])
    command = (*NEVER_BETTER, "name=broken")
    assert disturbed(command, ask, "test", 4, 1) == EXIT_STOPPED
    assert call("train", *command) == 0
    assert_same("broken")
    capsys.readouterr()
    assert call("report", "outputs/whole") == 0
    assert "after 4 of 8 steps" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("override", "words"),
    [
        (["callbacks=ema", "callbacks.ema.use_buffers=true"], "callbacks.ema.use_buffers=false"),
        (["callbacks=early_stopping", "callbacks.early_stopping.monitor=val/mIoU"], "val/miou"),
        (["+callbacks.mine._target_=torch.nn.ReLU"], "callbacks.mine: not a callback"),
        (["+callbacks.mine=3"], "callbacks.mine: not a callback"),
        (["+callbacks.timer._target_=pytorch_lightning.callbacks.Timer"], "Timer"),
        (["callbacks=emma"], "did you mean callbacks=ema?"),
    ],
)
def test_a_callback_that_cannot_work_is_refused(
    override: list[str], words: str, workplace: Path, call: Main, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("train", *TINY, *override) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert words in line
