from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ocnet_pl.dataset.cityscapes import Cityscapes
from ocnet_pl.dataset.demo import draw_tree
from ocnet_pl.dataset.labels import UNKNOWN
from ocnet_pl.dataset.samples import SegmentationDataset
from ocnet_pl.errors import UserError


def data(root: Path) -> Cityscapes:
    return Cityscapes(str(root), crop_size=(32, 64))


def test_the_official_table() -> None:
    assert Cityscapes.classes[:3] == ("road", "sidewalk", "building")
    assert Cityscapes.classes[18] == "bicycle"
    assert len(Cityscapes.classes) == len(Cityscapes.palette) == len(Cityscapes.class_weights) == 19
    assert {stored: int(Cityscapes.table[stored]) for stored in (0, 7, 8, 11, 26, 33, 29, 30, 255)} == {
        0: 255, 7: 0, 8: 1, 11: 2, 26: 13, 33: 18, 29: 255, 30: 255, 255: 255,
    }  # fmt: skip
    assert Cityscapes.table[200] == UNKNOWN
    assert tuple(Cityscapes.palette[13]) == (0, 0, 142)


def test_splits(cityscapes_tree: Path) -> None:
    module = data(cityscapes_tree)
    assert [len(module.pairs(split)) for split in ("train", "val", "trainval")] == [8, 5, 13]
    image, label = module.pairs("val")[0]
    assert image.name.endswith("_leftImg8bit.png")
    assert label.name.endswith("_gtFine_labelIds.png")


def test_coarse_labels(cityscapes_tree: Path, tmp_path: Path) -> None:
    for folder, kind in (("leftImg8bit", "leftImg8bit"), ("gtFine", "gtCoarse")):
        for path in (cityscapes_tree / folder / "train" / "demo").iterdir():
            name = path.name.replace("gtFine", "gtCoarse")
            target = tmp_path / kind / "train_extra" / "demo" / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    pairs = data(tmp_path).pairs("train_extra")
    assert len(pairs) == 8
    assert pairs[0][1].name == "demo_000000_000019_gtCoarse_labelIds.png"
    with pytest.raises(UserError, match="gtCoarse/<split>"):
        data(tmp_path / "elsewhere").pairs("train_extra")


def test_a_sample_is_bytes(cityscapes_tree: Path) -> None:
    module = data(cityscapes_tree)
    sample = SegmentationDataset(module.pairs("val"), module.table)[2]
    assert sample["image"].shape == (3, 32, 64)
    assert sample["label"].shape == (32, 64)
    assert sample["image"].dtype == sample["label"].dtype
    assert set(np.unique(sample["label"])) <= {0, 2, 9, 10, 13, 14, 15, 16, 255}
    assert sample["index"] == 2


def test_the_demo_is_a_function_of_its_seed(tmp_path: Path) -> None:
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        draw_tree(tmp_path / name, (32, 64), {"train": 2}, seed)
    contents = [[p.read_bytes() for p in sorted((tmp_path / n).rglob("*.png"))] for n in "abc"]
    assert len(contents[0]) == 4
    assert contents[0] == contents[1]
    assert contents[0] != contents[2]


def wrong(tmp_path: Path, what: str) -> str:
    """Draws a tree, damages its first training pair, and gives the message that reading it ends in."""
    draw_tree(tmp_path, (32, 64), {"train": 2}, 0)
    module = data(tmp_path)
    image, label = module.pairs("train")[0]
    match what:
        case "truncated":
            image.write_bytes(image.read_bytes()[:700])
        case "empty":
            image.write_bytes(b"")
        case "text":
            image.write_text("hello")
        case "missing label":
            label.unlink()
        case "other size":
            Image.new("L", (60, 32), 7).save(label)
        case "strange id":
            Image.new("L", (64, 32), 200).save(label)
        case "colour label":
            Image.new("RGB", (64, 32)).save(label)
        case "16-bit label":
            Image.fromarray(np.full((32, 64), 7, np.uint16)).save(label)
        case "truncated label":
            label.write_bytes(label.read_bytes()[:90])
    with pytest.raises(UserError) as caught:
        SegmentationDataset(module.pairs("train"), module.table)[0]
    message = str(caught.value)
    assert (label if "label" in what or what in ("other size", "strange id") else image).name in message
    return message


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("truncated", "truncated"),
        ("empty", "empty"),
        ("text", "not an image"),
        ("missing label", "without its label"),
        ("other size", "60x32"),
        ("strange id", "[200]"),
        ("colour label", "RGB"),
        ("16-bit label", "I;16"),
        ("truncated label", "truncated"),
    ],
)
def test_damage_is_reported(tmp_path: Path, what: str, words: str) -> None:
    assert words in wrong(tmp_path, what)


def test_a_missing_root_is_reported_with_the_expected_tree(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"leftImg8bit/<split>/<city>"):
        data(tmp_path).pairs("train")


def test_an_unknown_split_is_reported_with_the_known_splits(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="train, val, trainval, test"):
        data(tmp_path).pairs("valid")
