import json
from pathlib import Path

import numpy as np
import pytest
from conftest import SHORT, Main
from PIL import Image
from trees import files, folder_tree

from ocnet_pl.dataset.folder import Folder
from ocnet_pl.dataset.labels import UNKNOWN
from ocnet_pl.dataset.segmentation_dataset import SegmentationDataset
from ocnet_pl.errors import UserError

SIZES = {"train": [(40, 60), (50, 44), (48, 48), (70, 41)], "val": [(40, 60), (44, 50)]}
CLASSES = ("background", "leaf", "stem")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return folder_tree(tmp_path / "mine", **SIZES)


def data(root: Path, **settings: object) -> Folder:
    return Folder(str(root), **({"classes": CLASSES, "crop_size": (32, 32), "num_workers": 0} | settings))


def test_splits_are_sub_folders(tree: Path) -> None:
    assert [len(data(tree).pairs(split)) for split in SIZES] == [4, 2]
    assert data(tree).pairs("val")[1] == (tree / "images/val/001.jpg", tree / "masks/val/001.png")


def test_splits_are_list_files(tree: Path) -> None:
    (tree / "few.txt").write_text("train/002\n\nval/000\n")
    assert [image.relative_to(tree).as_posix() for image, _ in data(tree).pairs("few")] == [
        "images/train/002.jpg",
        "images/val/000.jpg",
    ]


def test_names_may_lie_deeper(tree: Path) -> None:
    for kind in ("images", "masks"):
        (tree / kind / "val/roof").mkdir()
        for path in (tree / kind / "val").glob("001.*"):
            path.rename(path.parent / "roof" / path.name)
    assert data(tree).pairs("val")[1][1] == tree / "masks/val/roof/001.png"


def test_stored_ids_are_the_masks_own(tmp_path: Path) -> None:
    module = data(folder_tree(tmp_path, (10, 20, 30, 0), **SIZES), ids=(10, 20, 30), ignore_id=0)
    sample = SegmentationDataset(module.pairs("val"), module.table)[0]
    assert set(np.unique(sample["label"])) == {0, 1, 2, 255}
    assert module.encode(np.array([0, 1, 2, 255])).tolist() == [10, 20, 30, 0]


def test_black_and_white_masks(tmp_path: Path) -> None:
    """255 is a class here, and padding must not become one."""
    module = data(folder_tree(tmp_path, (0, 255), **SIZES), classes=("no", "yes"), ids=(0, 255), crop_size=(100, 100))
    assert module.table[[0, 255, 7]].tolist() == [0, 1, UNKNOWN]
    (batch,) = module.training_dataloader(1)
    assert set(np.unique(batch["label"])) == {0, 1, 255}
    assert (batch["label"][:, -1] == 255).any()


@pytest.mark.parametrize("count", [3, 20, 21, 150])
def test_every_class_has_a_colour_of_its_own(count: int, tree: Path) -> None:
    palette = data(tree, classes=[f"class {number}" for number in range(count)]).palette
    assert len(np.unique(palette, axis=0)) == count


def test_colours_can_be_given(tree: Path) -> None:
    assert data(tree, palette=[[1, 2, 3], [4, 5, 6], [7, 8, 9]]).palette[1].tolist() == [4, 5, 6]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"classes": ["a", "a"]}, "dataset.classes: expected names, each once"),
        ({"classes": []}, "dataset.classes: expected names"),
        ({"classes": "leaf"}, "dataset.classes: expected a list"),
        ({"classes": [False, True]}, "no, yes, on, off are names in quotes only"),
        ({"ids": [1, 2]}, "dataset.ids: expected one id for each class"),
        ({"ids": [1, 2, 256]}, "dataset.ids: expected ids from 0 to 255"),
        ({"ids": [1, 2, 255], "ignore_id": 255}, "dataset.ignore_id: expected an id that is no class's"),
        ({"palette": [[1, 2, 3]]}, "dataset.palette: expected"),
        ({"mirror_pairs": [["leaf", "root"]]}, "dataset.mirror_pairs: expected"),
    ],
)
def test_wrong_settings_are_told(settings: dict[str, object], words: str, tree: Path) -> None:
    with pytest.raises(UserError, match=words):
        data(tree, **settings)


def test_what_is_missing_is_told(tree: Path) -> None:
    (tree / "masks/val/000.png").unlink()
    with pytest.raises(UserError, match=r"000.jpg: image without its label; expected .*masks/val/000.png"):
        data(tree).pairs("val")
    (tree / "list.txt").write_text("train/9\n")
    with pytest.raises(UserError, match=r"images/train/9: no such file; .* off the list of 'list'"):
        data(tree).pairs("list")
    with pytest.raises(UserError, match=r"no split 'test'; expected images in .*images/test"):
        data(tree).pairs("test")
    (tree / "empty.txt").write_text("\n")
    with pytest.raises(UserError, match=r"empty.txt: contains no names"):
        data(tree).pairs("empty")
    (tree / "images/train/000.png").write_bytes((tree / "images/train/000.jpg").read_bytes())
    with pytest.raises(UserError, match="same name"):
        data(tree).pairs("train")


def test_training_and_testing(tree: Path, workplace: Path, call: Main, capsys: pytest.CaptureFixture[str]) -> None:
    before = list(files(tree))
    arguments = [
        *SHORT,
        "dataset=folder",
        f"dataset.root={tree}",
        "dataset.classes=[background,leaf,stem]",
        "dataset.crop_size=[32,32]",
        "dataset.num_workers=0",
    ]
    assert call("train", *arguments) == 0
    left = json.loads((workplace / "outputs/runs/base_oc/seed-0/result.json").read_text())
    assert left["evaluations"]["last/val/whole"]["images"] == 2
    assert set(left["evaluations"]["last/val/whole"]["iou"]) == {"background", "leaf", "stem"}
    assert list(files(tree)) == before
    capsys.readouterr()
    assert call("train", *arguments, "name=wrong", "dataset.val_batch_size=2") == 2
    assert "set dataset.val_batch_size=1" in capsys.readouterr().err
    assert call("train", *SHORT, "dataset=folder", "name=classless") == 2
    assert "dataset.classes" in capsys.readouterr().err
    Image.new("L", (60, 40), 9).save(tree / "masks/val/000.png")
    assert call("train", *arguments, "name=other") == 2
    assert "masks/val/000.png: label ids [9]" in capsys.readouterr().err
