"""The line on settings that a machine would profit from: said once, true to the machine, and nothing is set by it."""

import json
from pathlib import Path

import pytest
from conftest import TINY, Main

from ocnet_pl.config.compose import compose
from ocnet_pl.run import advice

BF16, LAST, COMPILE = "trainer.precision=bf16-mixed", "channels_last=true", "compile=true"
UNITS = {"avx512f", "amx_bf16"}


@pytest.mark.parametrize(
    ("overrides", "gpu", "flags", "expected"),
    [
        ([], None, UNITS, [BF16, LAST]),
        ([], None, {"avx2"}, []),
        ([], 9.0, set(), [BF16, LAST, COMPILE]),
        ([], 7.0, set(), []),  # V100: half precision is another format
        ([BF16, LAST, COMPILE], 9.0, set(), []),
        ([LAST], None, UNITS, [BF16]),
        (["dataset.crop_size=[64,128]"], 9.0, UNITS, []),
    ],
)
def test_settings_that_are_not_set_and_pay(
    overrides: list[str], gpu: float | None, flags: set[str], expected: list[str]
) -> None:
    assert advice.faster_settings(compose(*overrides), gpu, flags) == expected


def test_flags_of_this_machine() -> None:
    if Path("/proc/cpuinfo").is_file():
        assert len(advice.processor_flags()) > 10


def test_it_is_said_once_and_changes_nothing(
    workplace: Path, call: Main, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(advice, "_LARGE", 1)
    monkeypatch.setattr(advice, "processor_flags", lambda: UNITS)
    assert call("train", *TINY, "schedule.max_steps=1") == 0
    assert capsys.readouterr().err.count(BF16) == 1
    trained = json.loads(Path("outputs/runs/base_oc/seed-0/result.json").read_text())
    assert trained["config"]["trainer"]["precision"] == "32-true"
    assert call("train", "-m", *TINY, "schedule.max_steps=1", "seed=1") == 0
    assert capsys.readouterr().err.count(BF16) == 1
    assert not any(BF16 in log.read_text() for log in Path("outputs").rglob("console.log"))
