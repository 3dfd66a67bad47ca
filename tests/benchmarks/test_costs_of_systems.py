"""The benchmark of shapes counts what is known: the N x N map of textbook attention, and nothing without attention."""

import sys

import pytest
from systems import main


def test_textbook_attention_keeps_its_map(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["systems.py", "--size", "385", "--heads", "baseline", "non_local"])
    main()
    baseline, non_local = (
        [cell.strip() for cell in line.split("|")] for line in capsys.readouterr().out.splitlines()[2:]
    )
    assert baseline[1] == "Baseline"
    assert baseline[-2] == "-"
    fused, textbook = float(non_local[-3]), float(non_local[-2])
    positions = 49**2
    assert textbook - fused == pytest.approx(positions**2 * 4 / 1e9, abs=0.011), (
        "one map in float32, rounded to 0.01 GB"
    )
