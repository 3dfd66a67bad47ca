import json
from pathlib import Path

import numpy as np
import pytest
from conftest import SHORT, Main
from PIL import Image
from trees import files, folder_tree

from ocnet_pl.dataset.folder import Folder
from ocnet_pl.dataset.labels import UNKNOWN
from ocnet_pl.dataset.samples import SegmentationDataset
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
        ({"classes": ["a", "a"]}, r"classes=\[a,a\]: expected .* names, each once"),
        ({"classes": []}, r"classes=\[\]: expected"),
        ({"classes": "leaf"}, "classes=leaf: expected a list"),
        ({"classes": [False, True]}, "classes=.*: expected a word; write yes, no, on, off"),
        ({"classes": [1, 2]}, r"classes=\[1,2\]: expected a valid string; \[0\] is 1"),
        ({"ids": [1, 2]}, r"ids=\[1,2\]: expected one id for each of the 3 classes"),
        ({"ids": [1, 1, 2]}, r"ids=.*each once"),
        ({"ids": [1, 2, 256]}, r"ids=.*255; \[2\] is 256"),
        ({"ids": [-1, 2, 3]}, r"ids=.*0; \[0\] is -1"),
        ({"ids": ["0", "1", "2"]}, r"ids=\[0,1,2\]: expected a valid integer; \[0\] is '0'"),
        ({"ids": [0, 1, 2.0]}, r"ids=.*expected a valid integer; \[2\] is 2.0"),
        ({"ids": [True, 2, 3]}, r"ids=.*expected a valid integer; \[0\] is True"),
        ({"ids": [1, 2, 255], "ignore_id": 255}, "ignore_id=255: expected an id that is not a class"),
        ({"ignore_id": 300}, "ignore_id=300: expected less than or equal to 255"),
        ({"ignore_id": -1}, "ignore_id=-1: expected"),
        ({"ignore_id": "7"}, "ignore_id=7: expected a valid integer"),
        ({"palette": [[1, 2, 3]]}, r"palette=.*expected 3 colours"),
        ({"palette": [[0.5, 0, 0], [0, 0.2, 0], [0, 0, 1]]}, r"palette=.*expected a valid integer; \[0\]\[0\] is 0.5"),
        ({"palette": [[1, 0, 0], [0, 1, 0], [0, 0, 1]]}, r"palette=.*from 0 to 255, not from 0 to 1"),
        ({"palette": [[1, 2, 3], [4, 5, 300], [7, 8, 9]]}, r"palette=.*255; \[1\]\[2\] is 300"),
        ({"palette": [[1, 2, 3], [4, 5, -6], [7, 8, 9]]}, r"palette=.*\[1\]\[2\] is -6"),
        ({"palette": [[1, 2, 3], [4, 5], [7, 8, 9]]}, r"palette=.*at least 3 items"),
        ({"palette": ["red", "green", "blue"]}, r"palette=.*expected a list; \[0\] is 'red'"),
        ({"mirror_pairs": [["leaf", "root"]]}, r"mirror_pairs=\[\[leaf,root\]\]: expected pairs"),
        ({"mirror_pairs": [["leaf", "stem"], ["stem", "background"]]}, "mirror_pairs=.*in one pair at most"),
        ({"mirror_pairs": [["leaf", "stem"], ["stem", "leaf"]]}, "mirror_pairs=.*in one pair at most"),
        ({"mirror_pairs": [["leaf", "leaf"]]}, "mirror_pairs=.*two different classes"),
        ({"mirror_pairs": [["leaf", "stem", "background"]]}, r"mirror_pairs=.*at most 2 items"),
        ({"mirror_pairs": [["leaf"]]}, r"mirror_pairs=.*at least 2 items"),
        ({"mirror_pairs": ["leaf", "stem"]}, r"mirror_pairs=.*expected a list; \[0\] is 'leaf'"),
        ({"class_tree": {"a": ["leaf"], "b": ["stem"]}}, "class_tree=.*each class in one group.*see background"),
        ({"class_tree": {"a": ["leaf", "stem"], "b": ["stem", "background"]}}, "class_tree=.*see stem"),
        ({"class_tree": {"a": ["leaf", "root"], "b": ["stem", "background"]}}, "class_tree=.*see root"),
        ({"class_tree": {"a": ["leaf", "stem", "background"], "b": []}}, "class_tree=.*no group empty"),
        ({"class_tree": {"a": "leaf"}}, "class_tree.*expected a list"),
        ({"class_tree": ["leaf"]}, "class_tree=.*expected"),
        ({"body_parts": {"a": ["leaf"], "b": ["stem", "leaf"]}}, "body_parts=.*each class in one part at most"),
        ({"body_parts": {"a": ["root"]}}, "body_parts=.*parts of one class or more"),
        ({"body_parts": {"a": ["leaf"], "b": []}}, "body_parts=.*parts of one class or more"),
        ({"body_parts": {}}, "body_parts=.*parts of one class or more"),
        ({"body_parts": {"a": "leaf"}}, "body_parts.*expected a list"),
        ({"class_weights": [1, 2]}, r"class_weights=\[1.*,2.*\]: expected 3 numbers"),
        ({"class_weights": [1, 2, -3]}, r"class_weights=.*greater than or equal to 0; \[2\] is -3"),
        ({"class_weights": [0, 0, 0]}, r"class_weights=.*at least one number above 0"),
        ({"class_weights": [1, 2, float("nan")]}, r"class_weights=.*\[2\] is nan"),
        ({"class_weights": [1, 2, "x"]}, r"class_weights=.*expected a valid number; \[2\] is 'x'"),
        ({"val_split": True}, "val_split=true: expected a word"),
        ({"batch_size": 0}, "batch_size=0: expected"),
        ({"leaves": 3}, "leaves=3: unexpected"),
    ],
)
def test_wrong_settings_are_reported(settings: dict[str, object], words: str, tree: Path) -> None:
    with pytest.raises(UserError, match=f"^{words}") as caught:
        data(tree, **settings)
    assert "\n" not in str(caught.value)


def test_groups_of_classes(tree: Path) -> None:
    grouped = data(tree, class_tree={"plant": ["stem", "leaf"], "rest": ["background"]})
    named = {name: [grouped.classes[i] for i in group] for name, group in (grouped.class_tree or {}).items()}
    assert named == {"plant": ["stem", "leaf"], "rest": ["background"]}
    assert grouped.body_parts is None
    assert data(tree, body_parts={"top": ["stem", "leaf"]}).body_parts == {
        "top": (grouped.classes.index("stem"), grouped.classes.index("leaf"))
    }


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("dataset.ignore_id=300", "dataset.ignore_id=300: expected"),
        ('dataset.ids=["0","1","2"]', "dataset.ids=[0,1,2]: expected a valid integer; [0] is '0'"),
        ("dataset.mirror_pairs=[[a,b],[b,c]]", "dataset.mirror_pairs=[[a,b],[b,c]]: expected pairs"),
        ("dataset.palette=[[0.5,0,0],[0,0.2,0],[0,0,1]]", "dataset.palette=[[0.5,0,0],[0,0.2,0],[0,0,1]]: expected"),
        ("+dataset.leaves=3", "dataset.leaves=3: unexpected"),
    ],
)
def test_a_command_names_the_setting(
    setting: str, words: str, tree: Path, call: Main, workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("train", *SHORT, "dataset=folder", f"dataset.root={tree}", "dataset.classes=[a,b,c]", setting) == 2
    error = capsys.readouterr().err.strip()
    assert error.startswith(f"ocnet-train: error: {words}")
    assert "\n" not in error


def test_a_split_name_may_be_a_number(tree: Path) -> None:
    for kind in ("images", "masks"):
        (tree / kind / "val").rename(tree / kind / "1")
    module = data(tree, val_split=1)
    assert module.val_split == "1"
    assert len(module.pairs(module.val_split)) == 2
    assert len(list(module.val_dataloader())) == 2


def test_missing_files_are_reported(tree: Path) -> None:
    (tree / "masks/val/000.png").unlink()
    with pytest.raises(UserError, match=r"000.jpg: image without its label; expected .*masks/val/000.png"):
        data(tree).pairs("val")
    (tree / "list.txt").write_text("train/9\n")
    with pytest.raises(UserError, match=r"images/train/9: no such file; .* from the list of 'list'"):
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
    assert "set val_batch_size=1" in capsys.readouterr().err
    assert call("train", *SHORT, "dataset=folder", "name=classless") == 2
    assert "dataset.classes" in capsys.readouterr().err
    Image.new("L", (60, 40), 9).save(tree / "masks/val/000.png")
    assert call("train", *arguments, "name=other") == 2
    assert "masks/val/000.png: label ids [9]" in capsys.readouterr().err
