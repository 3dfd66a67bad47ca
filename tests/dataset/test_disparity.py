"""Cityscapes' disparity files as a target: read as they are, refused in one line, checked, and used in a training."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import SHORT, Main
from PIL import Image
from trees import add_disparities

from ocnet_pl.dataset.cityscapes import Cityscapes
from ocnet_pl.dataset.reading import read_16_bit
from ocnet_pl.errors import UserError
from ocnet_pl.record.result import Result
from ocnet_pl.tools.data_check.check import check


@pytest.fixture
def root(cityscapes_tree: Path, tmp_path: Path) -> Path:
    root = Path(shutil.copytree(cityscapes_tree, tmp_path / "tree"))
    add_disparities(root)
    return root


def data(root: Path, **settings: Any) -> Cityscapes:
    settings = {"crop_size": (32, 64), "num_workers": 0, "batch_size": 4, "disparity": True} | settings
    return Cityscapes(str(root), **settings)


def disparity(root: Path, split: str = "train") -> Path:
    return sorted((root / "disparity" / split / "demo").iterdir())[0]


def test_values_are_those_of_the_file(root: Path) -> None:
    with Image.open(disparity(root)) as image:
        stored = np.asarray(image)
    assert stored.max() > 255
    assert np.array_equal(read_16_bit(disparity(root)), stored)


def test_disparities_follow_the_label(root: Path) -> None:
    """The disparity of each pixel is made its label plus 1000, so that both can be compared after every crop."""
    for path in (root / "disparity").rglob("*.png"):
        label = root / "gtFine" / path.relative_to(root / "disparity")
        label = label.with_name(label.name.replace("disparity", "gtFine_labelIds"))
        with Image.open(label) as image:
            Image.fromarray(np.asarray(image).astype(np.uint16) + 1000).save(path)
    module = data(root, crop_size=(40, 72), scale=(0.5, 2.0))
    decoded = np.append(module.table, np.full(1, 255, np.uint8))
    for batch in module.training_dataloader(4):
        assert batch["disparity"].shape == batch["label"].shape
        values, label = batch["disparity"].numpy().astype(int), batch["label"].numpy()
        assert (values == 0).any(), "padding is unknown"
        assert (decoded[np.where(values == 0, 256, values - 1000)] == label).all()


def test_only_training_samples_have_it_and_only_on_request(root: Path) -> None:
    assert "disparity" in data(root).training_set()[0]
    assert "disparity" not in data(root, disparity=False).training_set()[0]
    assert "disparity" not in next(iter(data(root).evaluation_dataloader("val")))


def damage(root: Path, what: str) -> None:
    path = disparity(root)
    match what:
        case "missing":
            path.unlink()
        case "other size":
            Image.fromarray(np.ones((32, 60), np.uint16)).save(path)
        case "8 bits":
            Image.fromarray(np.ones((32, 64), np.uint8)).save(path)
        case "colour":
            Image.new("RGB", (64, 32)).save(path)
        case "truncated":
            path.write_bytes(path.read_bytes()[:300])
        case "empty":
            path.write_bytes(b"")
        case "TIFF":
            Image.fromarray(np.ones((32, 64), np.uint16)).save(path, "TIFF")


DAMAGE = pytest.mark.parametrize(
    ("what", "words"),
    [
        ("missing", "disparity_trainvaltest.zip"),
        ("other size", "(32, 60)"),
        ("8 bits", "PNG of mode L with 8 bits"),
        ("colour", "PNG of mode RGB"),
        ("truncated", "truncated"),
        ("empty", "empty"),
        ("TIFF", "TIFF"),
    ],
)


@DAMAGE
def test_damage_is_refused_in_one_line(root: Path, what: str, words: str) -> None:
    damage(root, what)
    with pytest.raises(UserError) as caught:
        data(root).training_set()[0]
    assert words in str(caught.value)
    assert "demo_000000_000019" in str(caught.value)
    data(root, disparity=False).training_set()[0]


@DAMAGE
def test_check_reports_damage_as_one_finding(root: Path, what: str, words: str) -> None:
    seen: list[tuple[int, int]] = []
    assert check(data(root), 1, lambda more, total: seen.append((more, total))).sound
    assert seen == [(1, 21)] * 21, "13 pairs, and the disparities of 8"
    damage(root, what)
    report = check(data(root), 2, lambda more, total: None)
    (error,) = (finding for finding in report.findings if finding.severity == "error")
    assert (error.kind, error.split) == ("target that cannot be used", "train")
    assert words in error.message
    assert check(data(root, disparity=False), 1, lambda more, total: None).sound


def test_check_does_not_read_disparities_of_other_splits(root: Path) -> None:
    disparity(root, "val").unlink()
    assert check(data(root), 1, lambda more, total: None).sound


def test_missing_files_are_found_before_the_first_step(
    root: Path, workplace: Path, call: Main, capsys: pytest.CaptureFixture[str]
) -> None:
    disparity(root).unlink()
    tree = ("dataset=cityscapes", f"dataset.root={root}", "dataset.crop_size=[32,64]", "dataset.num_workers=0")
    assert call("train", *SHORT, *tree, "dataset.disparity=true", "model/head=depthseg") == 2
    error = capsys.readouterr().err.strip()
    assert "\n" not in error
    assert "set disparity=false" in error


def test_a_training_with_depth(root: Path, workplace: Path, call: Main) -> None:
    tree = ("dataset=cityscapes", f"dataset.root={root}", "dataset.crop_size=[32,64]", "dataset.num_workers=0")
    assert call("train", *SHORT, *tree, "dataset.disparity=true", "model/head=depthseg", "inference=sliding") == 0
    result = Result.read(Path("outputs/runs/depthseg/seed-0/result.json"))
    curves = result.curves
    assert {"train/main", "train/loop0", "train/loop1", "train/depth"} <= set(curves)
    assert all(value > 0 for _, value in curves["train/depth"])


def test_disparities_take_part_in_the_fingerprint(root: Path) -> None:
    before = data(root).fingerprints(["train", "val"])
    assert set(before) == {"train", "val", "train: disparity"}
    path = disparity(root)
    Image.fromarray(read_16_bit(path) + np.uint16(1)).save(path)
    after = data(root).fingerprints(["train", "val"])
    assert after["train"] == before["train"]
    changed = [a != b for a, b in zip(before["train: disparity"].keys, after["train: disparity"].keys, strict=True)]
    assert sum(changed) == 1
    assert set(data(root, disparity=False).fingerprints(["train"])) == {"train"}
