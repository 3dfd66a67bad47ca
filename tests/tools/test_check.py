"""`ocnet-data check` reports each kind of damage, and passes a sound tree."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
from conftest import SHORT, Main, spawn
from numpy.typing import NDArray
from PIL import Image
from trees import ade20k_tree, folder_tree, lip_tree, standing, write_poses

from ocnet_pl.dataset.ade20k import ADE20K
from ocnet_pl.dataset.cityscapes import Cityscapes
from ocnet_pl.dataset.data_module import SegmentationDataModule
from ocnet_pl.dataset.demo import draw_tree
from ocnet_pl.dataset.folder import Folder
from ocnet_pl.dataset.lip import LIP
from ocnet_pl.dataset.poses import MIRROR_PAIRS, PARTS, read_poses
from ocnet_pl.dataset.targets import Target, Targets
from ocnet_pl.tools.data_check.check import check
from ocnet_pl.tools.data_check.report import Finding, Report

SIZES = {"train": [(40, 60), (64, 48), (32, 32)], "val": [(40, 60), (33, 32)]}


@pytest.fixture
def root(cityscapes_tree: Path, tmp_path: Path) -> Path:
    """A sound tree to damage."""
    return Path(shutil.copytree(cityscapes_tree, tmp_path / "tree"))


def report_of(data: SegmentationDataModule, workers: int = 1) -> Report:
    return check(data, workers, lambda more, total: None)


def cityscapes(root: Path, **settings: Any) -> Report:
    return report_of(Cityscapes(str(root), crop_size=(32, 64), **settings))


def of(report: Report, severity: str) -> list[Finding]:
    return [finding for finding in report.findings if finding.severity == severity]


def photo(root: Path, number: int = 0, split: str = "train") -> Path:
    return sorted((root / "leftImg8bit" / split / "demo").iterdir())[number]


def label(root: Path, number: int = 0, split: str = "train") -> Path:
    return sorted((root / "gtFine" / split / "demo").iterdir())[number]


def damage(root: Path, what: str) -> Path:
    """Damages one file and returns the one that must be named."""
    match what:
        case "truncated image":
            photo(root).write_bytes(photo(root).read_bytes()[:700])
        case "empty image":
            photo(root).write_bytes(b"")
        case "text named .png":
            photo(root).write_text("hello")
        case "CMYK image":
            Image.new("CMYK", (64, 32)).save(photo(root), "JPEG")
        case "16-bit label":
            Image.fromarray(np.full((32, 64), 7, np.uint16)).save(label(root))
        case "RGB label":
            Image.new("RGB", (64, 32)).save(label(root))
        case "swapped size":
            with Image.open(label(root)) as image:
                image.transpose(Image.Transpose.ROTATE_90).save(label(root))
        case "id 200":
            Image.new("L", (64, 32), 200).save(label(root))
        case "missing label":
            label(root).unlink()
            return photo(root)
        case "train image in val":
            shutil.copy(photo(root), photo(root, split="val"))
            return photo(root, split="val")
        case "truncated label":
            label(root).write_bytes(label(root).read_bytes()[:90])
        case "folder for a label":
            label(root).unlink()
            label(root).with_name("x").mkdir()
            return photo(root)
    return label(root) if "label" in what or what in ("swapped size", "id 200") else photo(root)


DAMAGE = pytest.mark.parametrize(
    ("what", "kind", "words"),
    [
        ("truncated image", "image cannot be read", "truncated"),
        ("empty image", "image cannot be read", "empty"),
        ("text named .png", "image cannot be read", "not an image"),
        ("CMYK image", "image cannot be read", "CMYK"),
        ("16-bit label", "label cannot be read", "I;16"),
        ("RGB label", "label cannot be read", "RGB"),
        ("truncated label", "label cannot be read", "truncated"),
        ("swapped size", "image and label of two sizes", "32x64"),
        ("id 200", "ids outside the table", "[200]"),
        ("missing label", "image without its label", "expected"),
        ("train image in val", "image in two splits", "the same image as"),
    ],
)


@DAMAGE
def test_damage_is_found_and_reported(root: Path, what: str, kind: str, words: str) -> None:
    named = damage(root, what)
    report = cityscapes(root)
    (error,) = of(report, "error")
    assert not report.sound
    assert (error.kind, error.file) == (kind, str(named))
    assert str(named) in error.message
    assert words in error.message


@DAMAGE
def test_training_reports_damage_in_one_line(
    root: Path, what: str, kind: str, words: str, workplace: Path, call: Main, capsys: pytest.CaptureFixture[str]
) -> None:
    named = damage(root, what)
    tree = ("dataset=cityscapes", f"dataset.root={root}", "dataset.crop_size=[32,64]", "dataset.num_workers=0")
    code = call("train", *SHORT, *tree)
    error = capsys.readouterr().err.strip()
    assert "\n" not in error
    assert str(named) in error
    assert words in error
    # An image in two splits breaks nothing: official data sets have some.
    assert (code, error.split(":")[1]) == ((0, " warning") if what == "train image in val" else (2, " error"))


def test_all_damage_at_once(root: Path) -> None:
    for number in range(3):
        label(root, 0).unlink()
        photo(root, number + 1).write_bytes(b"")
    report = cityscapes(root)
    kinds = [finding.kind for finding in of(report, "error")]
    assert kinds.count("image without its label") == 3
    assert kinds.count("image cannot be read") == 3


def test_a_sound_tree(cityscapes_tree: Path) -> None:
    report = cityscapes(cityscapes_tree)
    assert report.sound
    assert {finding.kind for finding in of(report, "note")} == {"other number of images than published"}
    train = report.splits["train"]
    assert (train.pairs, train.published) == (8, 2975)
    assert train.sizes == {"64x32": 8}
    assert train.image_modes == {"RGB": 8}
    assert train.label_modes == {"L": 8}
    assert train.images["sky"] == 8
    assert train.total == 8 * 32 * 64
    assert sum(train.pixels.values()) + train.ignored == train.total
    assert "wall" in of(report, "warning")[0].message


def test_findings_do_not_depend_on_the_number_of_processes(root: Path) -> None:
    damage(root, "missing label")
    damage(root, "train image in val")
    one, two = (report_of(Cityscapes(str(root), crop_size=(32, 64)), workers) for workers in (1, 2))
    assert one.findings == two.findings
    assert one.splits == two.splits


def test_counts_are_those_of_the_labels(cityscapes_tree: Path) -> None:
    data = Cityscapes(str(cityscapes_tree), crop_size=(32, 64))
    labels = np.stack([data.decode(np.asarray(Image.open(path))) for _, path in data.pairs("val")])
    val = report_of(data).splits["val"]
    for number, name in enumerate(data.classes):
        assert val.pixels[name] == (labels == number).sum()
        assert val.images[name] == (labels == number).any((1, 2)).sum()
    assert val.ignored == (labels == 255).sum()


def test_unused_splits_give_warnings_only(root: Path) -> None:
    draw_tree(root / "more", (32, 64), {"test": 2}, seed=7)
    for kind in ("leftImg8bit", "gtFine"):
        shutil.move(root / "more" / kind / "test", root / kind / "test")
    label(root, 0, "test").unlink()
    report = cityscapes(root)
    assert report.sound
    assert "image without its label" in {finding.kind for finding in of(report, "warning")}
    label(root, 0, "test").unlink()
    assert "split without labels" in {finding.kind for finding in of(cityscapes(root), "note")}


def test_a_split_of_other_splits_is_not_read_twice(root: Path) -> None:
    report = cityscapes(root, train_split="trainval")
    assert list(report.splits) == ["train", "val"]
    damage(root, "id 200")
    assert not cityscapes(root, train_split="trainval").sound


def test_training_on_validation_images_is_reported(root: Path) -> None:
    report = cityscapes(root, train_split="trainval")
    assert report.sound
    told = [finding for finding in of(report, "warning") if finding.kind == "validation on training images"]
    assert "5 images of val" in told[0].message


def test_labels_without_an_image_and_duplicates(root: Path) -> None:
    photo(root).unlink()
    shutil.copy(photo(root, 0), photo(root, 1))
    report = cityscapes(root)
    assert report.sound
    assert "label without its image" in {finding.kind for finding in of(report, "warning")}
    assert "duplicate image" in {finding.kind for finding in of(report, "note")}


def test_a_label_without_a_class(root: Path) -> None:
    Image.new("L", (64, 32), 255).save(label(root))
    assert "label without a class" in {finding.kind for finding in of(cityscapes(root), "warning")}


def test_a_missing_split(root: Path) -> None:
    shutil.rmtree(root / "leftImg8bit" / "val")
    (error,) = of(cityscapes(root), "error")
    assert error.kind == "split that cannot be listed"


def test_sizes_that_cannot_be_batched(tmp_path: Path) -> None:
    root = folder_tree(tmp_path, **SIZES)
    data = Folder(str(root), classes=("a", "b", "c"), crop_size=(32, 32), val_batch_size=2)
    (error,) = of(report_of(data), "error")
    assert error.kind == "images of several sizes"


def test_ade20k(tmp_path: Path) -> None:
    data = ADE20K(str(ade20k_tree(tmp_path, **SIZES)))
    assert report_of(data).sound
    sorted((tmp_path / "annotations" / "validation").iterdir())[0].unlink()
    (error,) = of(report_of(data), "error")
    assert error.kind == "image without its label"


def test_lip_checks_left_and_right(tmp_path: Path) -> None:
    def draw(left_is_on_the_right: bool) -> list[Finding]:
        shutil.rmtree(tmp_path, ignore_errors=True)
        root = lip_tree(tmp_path, **SIZES)
        for path in (root / "TrainVal_parsing_annotations" / "train_segmentations").iterdir():
            with Image.open(path) as image:
                classes = np.zeros(image.size[::-1], np.uint8)
            half = classes.shape[1] // 2
            classes[:8, :half], classes[:8, half:] = (15, 14) if left_is_on_the_right else (14, 15)
            classes[8:10, :], classes[20:, :] = 16, 17
            Image.fromarray(classes).save(path)
        report = report_of(LIP(str(root)))
        assert report.sound
        return report.findings

    kinds = [(finding.severity, finding.kind) for finding in draw(left_is_on_the_right=True)]
    assert ("note", "sides of left and right") in kinds
    assert ("warning", "left and right out of balance") in kinds  # legs
    told = [finding for finding in draw(left_is_on_the_right=False) if "Left-arm lies" in finding.message]
    assert told[0].severity == "warning"
    assert "in 0 of 3" in told[0].message


POSES = Path("TrainVal_pose_annotations")
PEOPLE = {"train": [(120, 100)] * 4, "val": [(120, 100)] * 2}


@pytest.fixture
def people(tmp_path: Path) -> Path:
    """Each joint of arms and legs lies on the part of its own side."""
    root = lip_tree(tmp_path / "lip", poses=True, **PEOPLE)
    for split, sizes in PEOPLE.items():
        for path in (root / "TrainVal_parsing_annotations" / f"{split}_segmentations").iterdir():
            classes = np.zeros(sizes[0], np.uint8)
            for (x, y), part in zip(standing(sizes[0]).astype(int), range(16), strict=True):
                classes[y - 2 : y + 3, x - 2 : x + 3] = PARTS.get(part, (5,))[-1]
            Image.fromarray(classes).save(path)
    return root


def of_poses(root: Path, **settings: Any) -> dict[str, Finding]:
    """The findings about poses by their kind, of which there is one for each."""
    findings = report_of(LIP(str(root), poses=True, **settings)).findings
    named = [finding for finding in findings if "pose" in finding.message]
    assert len({(finding.kind, finding.split) for finding in named}) == len(named)
    return {f"{finding.split}: {finding.kind}": finding for finding in named}


def change_poses(root: Path, split: str, change: Callable[[dict[str, NDArray[np.float32]]], None]) -> None:
    path = root / POSES / f"lip_{split}_set.csv"
    poses = read_poses(path)
    change(poses)
    write_poses(path, poses)


def test_sound_poses(people: Path) -> None:
    assert of_poses(people) == {}
    shutil.rmtree(people / POSES)
    assert report_of(LIP(str(people))).sound, "poses are not checked unless they are used"


def test_missing_and_surplus_rows(people: Path) -> None:
    for split in ("train", "val"):
        change_poses(people, split, lambda poses: poses.update(other=poses.pop("1_7")))
    found = of_poses(people)
    assert [(kind, finding.severity) for kind, finding in found.items()] == [
        ("train: images without a pose", "error"),  # training would end
        ("val: images without a pose", "warning"),
        ("train: poses without an image", "warning"),
        ("val: poses without an image", "warning"),
    ]
    assert "no line for 1 of 4 images of 'train', e.g. 1_7.jpg" in found["train: images without a pose"].message
    assert "1 lines belong to no image of 'val', e.g. 'other'" in found["val: poses without an image"].message
    assert str(people / POSES / "lip_train_set.csv") in found["train: images without a pose"].message


@pytest.mark.parametrize("content", [None, "1_7.jpg,1,2\n"])
def test_files_of_poses_that_cannot_be_read(content: str | None, people: Path) -> None:
    for split in ("train", "val"):
        path = people / POSES / f"lip_{split}_set.csv"
        path.unlink() if content is None else path.write_text(content)
    found = of_poses(people)
    assert found["train: poses that cannot be read"].severity == "error"
    if content is None:
        assert list(found) == ["train: poses that cannot be read"], "nothing reads the poses of val"
    else:
        assert found["val: poses that cannot be read"].severity == "warning"


def test_joints_outside_the_image(people: Path) -> None:
    def move(poses: dict[str, NDArray[np.float32]]) -> None:
        poses["2_14"][:3] = (101, 5), (50, -1), (100, 120)  # the last one belongs to the last pixel
        poses["3_21"][9] = 3, 500

    change_poses(people, "train", move)
    (finding,) = of_poses(people).values()
    assert (finding.severity, finding.kind) == ("warning", "keypoints outside the image")
    assert "3 points of 'pose' in 2 of 4 images" in finding.message
    assert "right ankle of " in finding.message
    assert finding.file.endswith("2_14.jpg")


def test_exchanged_joints(people: Path) -> None:
    order = np.arange(16)
    for left, right in MIRROR_PAIRS:
        order[[left, right]] = right, left
    change_poses(people, "val", lambda poses: poses.update({"2_14": poses["2_14"][order]}))
    change_poses(people, "train", lambda poses: poses["1_7"].__setitem__([10, 11], poses["1_7"][[15, 11]]))
    (finding,) = of_poses(people).values()
    assert (finding.split, finding.kind) == ("val", "left and right keypoints exchanged")
    assert "in 1 of 2 images" in finding.message
    assert finding.file.endswith("2_14.jpg")
    one, two = (report_of(LIP(str(people), poses=True), workers) for workers in (1, 2))
    assert one.findings == two.findings


def test_poses_beside_broken_images(people: Path) -> None:
    (people / "TrainVal_images/train_images/1_7.jpg").write_bytes(b"")
    (people / "TrainVal_parsing_annotations/train_segmentations/2_14.png").write_bytes(b"")
    report = report_of(LIP(str(people), poses=True))
    assert {finding.kind for finding in of(report, "error")} == {"image cannot be read", "label cannot be read"}


def test_keypoints_that_cannot_be_read(tmp_path: Path) -> None:
    class Posed(Folder):
        targets: Targets = MappingProxyType({"pose": Target("keypoints", lambda pair: np.loadtxt(pair[0].stem))})

    root = folder_tree(tmp_path, **SIZES)
    report = report_of(Posed(str(root), classes=("a", "b", "c"), crop_size=(32, 32)))
    told = [finding for finding in of(report, "error") if finding.kind == "keypoints cannot be read"]
    assert len(told) == 3, "of the training split only"
    assert told[0].file in told[0].message


def test_a_listed_image_is_missing_in_lip(tmp_path: Path) -> None:
    root = lip_tree(tmp_path, **SIZES)
    gone = root / "TrainVal_images" / "train_images" / "2_14.jpg"
    gone.unlink()
    (error,) = of(report_of(LIP(str(root))), "error")
    assert error.file == str(gone)
    assert "No such file" in error.message


def test_the_command(root: Path, call: Main, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("check", "dataset=cityscapes", "--workers", "1", f"dataset.root={root}")
    assert call("data", *arguments) == 0
    assert "no errors found" in capsys.readouterr().out
    for number in range(8):
        photo(root, number).write_bytes(b"")
    assert call("data", *arguments, "--json") == 1
    content = json.loads(capsys.readouterr().out)
    assert content["sound"] is False
    assert content["splits"]["val"]["classes"]["sky"]["images"] == 5
    assert sum(finding["kind"] == "image cannot be read" for finding in content["findings"]) == 8
    assert call("data", *arguments) == 1
    assert str(photo(root, 7)) in capsys.readouterr().out.replace("\n", "")


def test_wrong_usage(tmp_path: Path, call: Main, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("data", "check", "dataset=cityscapes", f"dataset.root={tmp_path}") == 2
    assert "no images in" in capsys.readouterr().err
    assert call("data", "check", "dataset=folder", "dataset.root=x") == 2
    assert "dataset.classes: has no value" in capsys.readouterr().err
    assert call("data", "check", "dataset=folder", "dataset.classes=road,sky") == 2
    assert capsys.readouterr().err.endswith("write 'dataset.classes=[road,sky]' for a list\n")
    assert call("data", "check", "dataset=citiscapes") == 2
    assert "did you mean dataset=cityscapes" in capsys.readouterr().err
    assert call("data", "check", "--jsno") == 2


def test_stdout_is_only_json(root: Path, tmp_path: Path) -> None:
    arguments = "check", "--json", "dataset=cityscapes", f"dataset.root={root}"
    process = spawn("data", *arguments, "--workers", "2", cwd=tmp_path)
    assert process.returncode == 0, process.stderr
    assert json.loads(process.stdout)["workers"] == 2
