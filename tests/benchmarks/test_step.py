"""The benchmark of training steps gives ratios to the plain step; the timings are not tested."""

import re

import pytest
import step
import torch

from ocnet_pl.tools.cost.profiling import ProfileSettings


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_settings_are_compared_with_the_plain_step(capsys: pytest.CaptureFixture[str]) -> None:
    variants = ("plain", "textbook attention", "bf16, channels_last")
    step.main(["--heads", "baseline", "base_oc", "--variants", *variants, "--backbone", "tiny", "--size", "257",
               "--repeats", "1", "--threads", "1"])  # fmt: skip
    title, _, baseline, base_oc = capsys.readouterr().out.splitlines()[:4]
    assert [cell.strip() for cell in title.split("|")[2:-1]] == list(variants)
    names, *measured = zip(
        *([cell.strip() for cell in line.split("|")[1:-1]] for line in (baseline, base_oc)), strict=True
    )
    assert names == ("Baseline", "Base-OC")
    plain, textbook, both = measured
    assert all(re.fullmatch(r"\d+\.\d\d s / \d+ MB", cell) for cell in plain)
    assert textbook[0] == "-", "it has no attention"
    assert all(re.fullmatch(r"\d+\.\d\d / \d+\.\d\d", cell) for cell in (textbook[1], *both))


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_map_that_is_stored_shows_in_the_peak() -> None:
    settings = ProfileSettings(
        size=(513, 513), batch=2, device=torch.device("cpu"), backbone="tiny", precision="32", classes=19,
        repeats=1, explicit_attention=False,
    )  # fmt: skip
    ours, textbook = step.fastest("non_local", ("plain", "textbook attention"), settings, threads=1, rounds=1).values()
    assert ours is not None
    assert textbook is not None
    if ours.peak is None or textbook.peak is None:
        pytest.skip("this system reports no peak")
    positions = 65**2
    # Both images have a map; the two steps need not have their peaks at the same place.
    assert textbook.peak - ours.peak > positions**2 * 4
