"""The contact sheet, and the class weights."""

from pathlib import Path

import numpy as np
import pytest
from conftest import Main
from PIL import Image
from trees import ade20k_tree

from ocnet_pl.dataset.ade20k import ADE20K
from ocnet_pl.dataset.cityscapes import Cityscapes
from ocnet_pl.dataset.class_weights import log_weights, training_pixels
from ocnet_pl.dataset.preview import training_tiles
from ocnet_pl.rendering.contact_sheet import contact_sheet


def test_tiles_are_the_batches_of_the_training(cityscapes_tree: Path) -> None:
    data = Cityscapes(str(cityscapes_tree), crop_size=(32, 32), batch_size=4)
    tiles, legend = training_tiles(data, 6)
    first = next(iter(data.training_dataloader(stop=1)))
    assert len(tiles) == 6
    for tile, image in zip(tiles, first["image"], strict=False):
        assert np.array_equal(tile.photograph, image.permute(1, 2, 0))
        assert tile.caption.startswith("demo_")
    assert ("sky", (70, 130, 180)) in legend
    assert {name for name, _ in legend} <= {*Cityscapes.classes, "ignored"}


def test_batches_of_other_sizes_make_a_sheet(tmp_path: Path) -> None:
    root = ade20k_tree(tmp_path, train=[(40, 60), (60, 40), (32, 32), (30, 90)], val=[(40, 60)])
    data = ADE20K(str(root), short_sides=(24, 32), max_long_side=60, batch_size=2)
    tiles, legend = training_tiles(data, 5)
    sheet = np.asarray(contact_sheet("title", tiles, legend))
    assert all((sheet == rgb).all(-1).any() for _, rgb in legend)


def test_the_command(cityscapes_tree: Path, tmp_path: Path, call: Main, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "new" / "sheet.png"
    arguments = "dataset=cityscapes", f"dataset.root={cityscapes_tree}", "dataset.crop_size=[32,32]"
    assert call("data", "show", *arguments, "--count", "5", "--out", str(out)) == 0
    assert str(out) in capsys.readouterr().out
    with Image.open(out) as image:
        assert min(image.size) > 200
    out.unlink()
    out.mkdir()
    assert call("data", "show", *arguments, "--count", "1", "--out", str(out)) == 2
    assert "cannot be written" in capsys.readouterr().err


def test_weights_are_near_those_that_the_authors_publish() -> None:
    # Pixels of the training split in millions, read off the chart of the Cityscapes paper's pixel counts.
    millions = {
        "road": 2036.0, "sidewalk": 336.0, "building": 1260.0, "wall": 36.2, "fence": 48.5, "pole": 67.8,
        "traffic sign": 30.5, "vegetation": 879.8, "terrain": 64.0, "sky": 221.5, "person": 67.3, "rider": 7.5,
        "car": 386.3, "truck": 14.8, "bus": 13.0, "train": 12.9, "motorcycle": 5.5, "bicycle": 22.9,
    }  # fmt: skip
    ours = log_weights([round(1e6 * count) for count in millions.values()])
    published = [Cityscapes.class_weights[Cityscapes.classes.index(name)] for name in millions]
    # Without traffic light, whose published weight is of another size, both are scaled to a mean of one.
    assert np.allclose(ours, np.array(published) / np.mean(published), atol=0.025)


def test_weights_of_a_tree(cityscapes_tree: Path, call: Main, capsys: pytest.CaptureFixture[str]) -> None:
    data = Cityscapes(str(cityscapes_tree), crop_size=(32, 64))
    pixels = training_pixels(data, 1, lambda more, total: None)
    labels = np.stack([data.decode(np.asarray(Image.open(label))) for _, label in data.pairs("train")])
    assert pixels == [int((labels == number).sum()) for number in range(19)]
    weights = np.array(log_weights(pixels))
    there = np.array(pixels) > 0
    assert np.isclose(weights[there].mean(), 1)
    assert (weights[~there] == 1).all()
    assert (np.argsort(weights[there]) == np.argsort(-np.array(pixels)[there])).all()
    assert call("data", "weights", "dataset=cityscapes", f"dataset.root={cityscapes_tree}", "--workers", "1") == 0
    out = capsys.readouterr().out
    override = next(line for line in out.splitlines() if "dataset.class_weights=" in line)
    assert len(override.split(",")) == 19
    assert f"- {weights[0]:.4f}  # road" in out
