"""`ocnet-explore` on tiny runs."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest import Main, checkpoint
from PIL import Image

from ocnet_pl.metrics import IGNORE
from ocnet_pl.record.context import ContextMeasure
from ocnet_pl.tools.explore.context_maps import pick_points
from ocnet_pl.tools.explore.opening import OpenedCheckpoint, distinct_names, find_truth, first_images


def test_a_measure_is_saved_next_to_the_result(runs: Path, call: Main, capsys: pytest.CaptureFixture[str]) -> None:
    paths = [checkpoint(runs, head) for head in ("base_oc", "pyramid_oc", "baseline")]
    assert call("explore", "measure", *paths, "--pixels", "3", "--device", "cpu") == 0
    out = capsys.readouterr().out
    assert "On own class (%)" in out
    assert "6x6 cells" in out
    assert f"skipped: {paths[2]}: Baseline: has no attention map" in out
    kept = runs / "base_oc" / "seed-0" / "context-last-val.json"
    assert f"wrote {kept}" in out
    measure = ContextMeasure.read(kept)
    result = json.loads((kept.parent / "result.json").read_text())
    assert measure.setting.weights_sha256 == result["weights_sha256"]
    assert (measure.setting.images, measure.setting.pixels) == (5, 3)
    pyramid = ContextMeasure.read(runs / "pyramid_oc" / "seed-0" / kept.name)
    assert [one.name for one in pyramid.maps] == ["whole image", "2x2 cells", "3x3 cells", "6x6 cells"]
    reaches = [one.reach for one in pyramid.maps]
    assert reaches[0] == 1 > max(reaches[1:])
    assert {"sky", "building"} <= set(measure.maps[0].classes)
    own = measure.maps[0].classes["sky"]["own"]
    assert own.low <= own.value <= own.high

    written = kept.read_bytes()
    assert call("explore", "measure", paths[0], "--pixels", "3", "--device", "cpu") == 0
    assert "already measured" in capsys.readouterr().out
    assert call("explore", "measure", paths[0], "--pixels", "3", "--images", "2", "--device", "cpu") == 0
    assert "contains a measure of more pixels (images 5, now 2)" in capsys.readouterr().out
    assert kept.read_bytes() == written
    assert call("explore", "measure", paths[0], "--pixels", "4", "--device", "cpu") == 0
    assert "replaced" in capsys.readouterr().out
    kept.unlink()
    assert call("explore", "measure", paths[0], "--pixels", "3", "--device", "cpu") == 0
    assert kept.read_bytes() == written


def test_a_figure_shows_several_heads(runs: Path, trained: Path, tmp_path: Path, call: Main) -> None:
    paths = [checkpoint(runs, head) for head in ("base_oc", "pyramid_oc")]
    out = tmp_path / "new" / "maps.png"
    assert call("explore", "figure", *paths, "--points", "3,4", "60,30", "--out", str(out), "--device", "cpu") == 0
    with Image.open(out) as picture:
        pixels = np.asarray(picture.convert("RGB"))
    assert pixels.shape[1] > pixels.shape[0] > 300
    assert (pixels == (255, 0, 0)).all(-1).any()  # the marks
    moved = tmp_path / "photograph.png"
    shutil.copy(next((trained / "data").rglob("*_leftImg8bit.png")), moved)
    out = tmp_path / "maps.pdf"
    assert call("explore", "figure", paths[0], "--image", str(moved), "--out", str(out), "--device", "cpu") == 0
    assert out.read_bytes().startswith(b"%PDF")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("figure", "baseline"), "no attention map"),
        (("measure", "baseline"), "no attention map"),
        (("figure", "base_oc", "--points", "64,0"), "point 64,0: outside the image of 64x32 pixels"),
        (("figure", "base_oc", "--out", "maps.bmp"), "choose one of .png, .pdf, .svg"),
        (("figure", "base_oc", "--root", "nowhere"), "demo tree"),
        (("measure", "base_oc", "--split", "tset"), "no split 'tset'"),
        (("figure", "gone"), "no such file"),
    ],
)
def test_wrong_input_is_one_line(
    arguments: tuple[str, ...],
    words: str,
    runs: Path,
    workplace: Path,
    call: Main,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (workplace / "nowhere").mkdir()
    (workplace / "nowhere" / "file").touch()
    command, head, *options = arguments
    assert call("explore", command, checkpoint(runs, head), *options, "--device", "cpu") == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1


def test_truth_comes_from_the_data_set_or_a_file(trained: Path, tmp_path: Path) -> None:
    from ocnet_pl.dataset.cityscapes import Cityscapes

    data = Cityscapes(str(trained / "data"), crop_size=(32, 32))
    (image,) = first_images(data, 1)
    truth = find_truth(data, image, None)
    assert truth is not None
    assert set(np.unique(truth)) <= {*range(19), IGNORE}
    elsewhere = tmp_path / "photograph.png"
    shutil.copy(image, elsewhere)
    assert find_truth(data, elsewhere, None) is None
    given = find_truth(data, elsewhere, data.pairs("val")[0][1])
    assert np.array_equal(given, truth)
    assert find_truth(Cityscapes("/nowhere", crop_size=(32, 32)), elsewhere, None) is None


def test_a_point_is_picked_deep_in_every_large_class() -> None:
    classes = np.full((40, 60), 3, np.uint8)
    classes[10:21, 20:31] = 7
    classes[30:, :] = IGNORE
    classes[0, 0] = 5  # too small for a point
    points = pick_points(classes)
    assert [classes[y, x] for x, y in points] == [3, 7]
    assert points[1] == (25, 15)


def test_names_tell_checkpoints_apart() -> None:
    def one(head: str, seed: int, step: int = 9, row: str = "", file: str = "last") -> OpenedCheckpoint:
        return OpenedCheckpoint(
            Path(file), None, None, head, {"base_oc": "Base-OC", "asp_oc": "ASP-OC"}[head], row or head, seed, step
        )  # type: ignore[arg-type]

    assert distinct_names([one("base_oc", 0), one("asp_oc", 0)]) == ["Base-OC", "ASP-OC"]
    assert distinct_names([one("base_oc", 0), one("base_oc", 1), one("asp_oc", 0)]) == [
        "Base-OC, seed 0",
        "Base-OC, seed 1",
        "ASP-OC",
    ]
    assert distinct_names([one("base_oc", 0), one("base_oc", 0, 18)]) == ["Base-OC, step 9", "Base-OC, step 18"]
    assert distinct_names([one("base_oc", 0, row="lr"), one("base_oc", 0)]) == ["Base-OC, lr", "Base-OC, base_oc"]


@pytest.mark.parametrize(
    "command",
    [
        ("explore", "measure", "--device", "cpu", "--pixels", "1"),
        ("evaluate", "trainer=cpu", "split=train"),
        ("report",),
    ],
)
def test_a_run_that_cannot_be_written_is_kept_and_reported(
    command: tuple[str, ...],
    runs: Path,
    call: Main,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = {path: path.read_bytes() for path in sorted(runs.rglob("*")) if path.is_file()}
    access = os.access
    monkeypatch.setattr(
        os, "access", lambda path, mode: mode != os.W_OK and access(path, mode)
    )  # root may write to any file
    if command == ("report",):
        (runs / "table.md").write_text("protected")
        assert call("report", str(runs)) == 2
        assert (runs / "table.md").read_text() == "protected"
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        assert "table.md" in error
        (runs / "table.md").unlink()
    else:
        assert call(*command, checkpoint(runs, "base_oc")) == 0, "the numbers are printed anyway"
        out = " ".join(capsys.readouterr().out.split())
        assert "cannot be written" in out
        assert "permissions" in out
    after = {path: path.read_bytes() for path in sorted(runs.rglob("*")) if path.is_file()}
    assert {path: after.get(path) for path in before} == before
    assert {path.name for path in after.keys() - before.keys()} <= {".lock"}
