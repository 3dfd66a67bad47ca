"""The preview of training samples, and the class weights."""

from pathlib import Path

import numpy as np
import pytest
from conftest import Main
from PIL import Image
from trees import ade20k_tree, lip_tree

from ocnet_pl.dataset.ade20k import ADE20K
from ocnet_pl.dataset.cityscapes import Cityscapes
from ocnet_pl.dataset.lip import LIP
from ocnet_pl.dataset.poses import JOINTS, LIMBS
from ocnet_pl.drawing.overlay import overlay
from ocnet_pl.tools.data_check.class_weights import log_weights, training_pixels
from ocnet_pl.tools.data_check.preview import preview, sample_pictures


def test_inputs_are_the_batches_of_the_training(cityscapes_tree: Path) -> None:
    data = Cityscapes(str(cityscapes_tree), crop_size=(32, 32), batch_size=4)
    samples, legend = sample_pictures(data, 6)
    first = next(iter(data.training_dataloader(stop=1)))
    assert len(samples) == 6
    for sample, image in zip(samples, first["image"], strict=False):
        assert list(sample.pictures) == ["input", "label"]
        assert np.array_equal(sample.pictures["input"], image.permute(1, 2, 0))
        assert sample.name.startswith("demo_")
        assert sample.regions
    (axes,) = [axes for axes in preview("title", samples[:1], legend).axes if axes.get_title() == "label"]
    assert [(text.get_text(), *text.get_position()) for text in axes.texts] == list(samples[0].regions)
    for sample, label in zip(samples, first["label"].numpy(), strict=False):
        assert all(data.classes[label[y, x]] == name for name, x, y in sample.regions)
    assert ("sky", (70, 130, 180)) in legend
    assert {name for name, _ in legend} <= {*Cityscapes.classes, "ignored"}


def test_samples_of_several_sizes_make_one_figure(tmp_path: Path) -> None:
    root = ade20k_tree(tmp_path, train=[(40, 60), (60, 40), (32, 32), (30, 90)], val=[(40, 60)])
    data = ADE20K(str(root), short_sides=(24, 32), max_long_side=60, batch_size=2)
    samples, legend = sample_pictures(data, 5)
    preview("title", samples, legend).savefig(tmp_path / "figure.png")
    with Image.open(tmp_path / "figure.png") as image:
        figure = np.asarray(image.convert("RGB"))
    assert all((figure == rgb).all(-1).any() for _, rgb in legend)


def test_joints_and_limbs_are_drawn(tmp_path: Path, call: Main) -> None:
    sizes = [(240, 160)] * 2
    root = lip_tree(tmp_path, poses=True, train=sizes, val=sizes)
    settings = {"size": (240, 160), "crop_size": (240, 160), "scale": (1.0, 1.0), "batch_size": 2, "num_workers": 0}
    data = LIP(str(root), poses=True, **settings)
    samples, legend = sample_pictures(data, 2)
    plain, _ = sample_pictures(LIP(str(root), **settings), 2)
    colours = dict(legend)
    assert list(colours)[:16] == list(JOINTS)
    assert len({colours[joint] for joint in JOINTS}) == 16
    assert set(colours) >= {"Hair", "Left-arm"}
    (batch,) = data.training_dataloader(1)
    for sample, without, points in zip(samples, plain, batch["pose"].tolist(), strict=True):
        picture, before = sample.pictures["input"], without.pictures["input"]
        for joint, (x, y, visible) in zip(JOINTS, points, strict=True):
            if visible:
                assert tuple(picture[round(y), round(x)]) == colours[joint]
        changed = (picture != before).any(-1)
        for first, second in LIMBS:
            middle = [(a + b) / 2 for a, b in zip(points[first][:2], points[second][:2], strict=True)]
            if points[first][2] and points[second][2]:
                assert changed[round(middle[1]), round(middle[0])]
        assert changed.mean() < 0.2
    assert [all(point[2] for point in points) for points in batch["pose"].tolist()].count(False) == 1
    arguments = "dataset=lip", f"dataset.root={root}", "dataset.poses=true", "--count", "2"
    assert call("data", "show", *arguments, "--out", str(tmp_path / "show.png")) == 0


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
    assert str(out) in capsys.readouterr().err


# Pixels of Cityscapes' training split in the order of its classes, as counted and published by its users.
CITYSCAPES_PIXELS = (
    2036416525, 336090793, 1260636120, 36199498, 48454166, 67789506, 11477088, 30448193, 879783988, 63949536,
    221979646, 67326424, 7463162, 386328286, 14772328, 12990290, 12863955, 5449152, 22861233,
)  # fmt: skip


def test_weights_agree_with_the_published_ones() -> None:
    difference = np.abs(np.subtract(log_weights(CITYSCAPES_PIXELS), Cityscapes.class_weights))
    assert Cityscapes.classes[difference.argmax()] == "traffic light"  # the published weight that deviates
    assert np.sort(difference)[-2] < 0.027


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


@pytest.mark.parametrize(("strength", "expected"), [(0.0, 100), (0.5, 150), (1.0, 200)])
def test_an_overlay_is_a_mixture(strength: float, expected: int) -> None:
    photograph, colours = (np.full((4, 6, 3), value, np.uint8) for value in (100, 200))
    assert (overlay(photograph, colours, strength) == expected).all()
