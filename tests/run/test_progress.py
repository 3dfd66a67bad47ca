"""The progress of a training, on a terminal and elsewhere."""

import io

import pytest
from conftest import TINY, Main

from ocnet_pl.run.callbacks.progress import TrainingProgress, _Bar


def test_without_a_terminal_progress_is_plain_lines(
    workplace: object, call: Main, capfd: pytest.CaptureFixture[str]
) -> None:
    assert call("train", *TINY, "trainer.enable_progress_bar=true", "schedule.max_steps=3") == 0
    out, error = capfd.readouterr()
    assert all(char.isprintable() or char == "\n" for char in out + error)
    *_, last = [line for line in error.splitlines() if line.startswith("train: ")]
    assert last.startswith("train: 3 of 3 steps")
    assert last.endswith(" img/s")
    assert "lr" not in last, "after the last step it is 0"
    assert error.count("\ntrain: ") + error.startswith("train: ") == 3


def test_the_bar_shows_one_rate() -> None:
    file = io.StringIO()
    with _Bar(total=10, file=file, bar_format=TrainingProgress.BAR_FORMAT) as bar:
        bar.set_postfix({"loss": 0.53, "lr": "0.01", "img/s": "85.3"})
    shown = file.getvalue()
    assert "loss 0.53, lr 0.01, 85.3 img/s]" in shown
    assert "it/s" not in shown
