"""LIP's poses follow their images, take part in the fingerprint of a run, and wrong files are refused in one line."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import albumentations as A
import numpy as np
import pytest
from conftest import SHORT, Main
from numpy.typing import NDArray
from PIL import Image
from trees import lip_tree, standing, write_poses

from ocnet_pl.dataset.cautions import cautions
from ocnet_pl.dataset.labels import mirroring_table
from ocnet_pl.dataset.lip import LIP
from ocnet_pl.dataset.poses import JOINTS, LIMBS, MIRROR_PAIRS, PARTS, read_poses
from ocnet_pl.dataset.samples import SegmentationDataset
from ocnet_pl.dataset.transforms import HorizontalFlip, compose
from ocnet_pl.errors import UserError
from ocnet_pl.model.head.base_oc import BaseOC

SIZES = {"train": [(80, 40), (61, 33), (50, 50), (90, 62)], "val": [(80, 40), (33, 61)]}
CSV = "TrainVal_pose_annotations/lip_train_set.csv"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return lip_tree(tmp_path / "lip", poses=True, **SIZES)


def lip(root: Path, **settings: Any) -> LIP:
    given = {"size": (40, 40), "crop_size": (40, 40), "poses": True, "batch_size": 4, "num_workers": 0}
    return LIP(str(root), **{**given, **settings})


def sample(data: LIP, index: int, *transforms: Any) -> dict[str, NDArray[Any]]:
    transform = compose(transforms or [A.NoOp()], data.targets)
    of_split = SegmentationDataset(data.pairs("train"), data.table, transform, targets=data.targets)[index]
    return {name: tensor.numpy() for name, tensor in of_split.items()}


def flip(data: LIP) -> HorizontalFlip:
    return HorizontalFlip(
        mirroring_table(data.table, data.mirror_pairs), {"pose": data.targets["pose"].mirror_pairs}, p=1.0
    )


def test_sides_and_parts_agree_with_the_classes() -> None:
    assert [(JOINTS[a], JOINTS[b]) for a, b in MIRROR_PAIRS] == [
        (f"right {part}", f"left {part}") for part in ("ankle", "knee", "hip", "wrist", "elbow", "shoulder")
    ]
    sided = {index for pair in MIRROR_PAIRS for index in pair}
    assert all("right" not in JOINTS[i] and "left" not in JOINTS[i] for i in set(range(16)) - sided)
    for joint, classes in PARTS.items():
        side = JOINTS[joint].split()[0].capitalize()
        assert all(LIP.classes[class_id].startswith(f"{side}-") for class_id in classes)
        other = next({a, b} - {joint} for a, b in MIRROR_PAIRS if joint in (a, b)).pop()
        assert len(PARTS[other]) == len(classes)
    connected = {0}
    for _ in LIMBS:
        connected |= {end for limb in LIMBS if connected & set(limb) for end in limb}
    assert connected == set(range(16))
    assert len(LIMBS) == 15


@pytest.mark.parametrize("layout", ["official", "nested", "flat"])
def test_poses_are_found_in_every_layout(layout: str, tmp_path: Path) -> None:
    data = lip(lip_tree(tmp_path, layout, poses=True, **SIZES), size=(90, 62))
    pose = sample(data, 3)["pose"]
    assert pose.dtype == np.float32
    assert np.array_equal(pose, np.concatenate([standing((90, 62)), np.ones((16, 1))], 1))
    first = sample(data, 0)["pose"]
    assert np.isnan(first[0, :2]).all()
    assert first[0, 2] == 0
    assert np.isfinite(first[1:]).all()


def test_flipping_image_and_pose_twice_is_the_identity(tree: Path) -> None:
    data = lip(tree)
    for index in range(4):
        plain, twice = sample(data, index), sample(data, index, flip(data), flip(data))
        once = sample(data, index, flip(data))
        assert all(np.array_equal(plain[name], twice[name], equal_nan=name == "pose") for name in plain)
        width = plain["image"].shape[-1]
        for left, right in MIRROR_PAIRS:
            for one, other in ((left, right), (right, left)):
                assert once["pose"][one, 0] == width - 1 - plain["pose"][other, 0] or np.isnan(plain["pose"][other, 0])
                assert np.array_equal(once["pose"][one, 1:], plain["pose"][other, 1:], equal_nan=True)
        right_wrist, left_wrist = (once["pose"][JOINTS.index(f"{side} wrist"), 0] for side in ("right", "left"))
        assert right_wrist < left_wrist, "the person still faces the camera"


def test_joints_stay_on_their_dots(tmp_path: Path) -> None:
    """A soft dot on the only joint is found where the joint is, and on the other side where it is mirrored."""
    size, moved, mirrored, outside, exact = (120, 100), set(), 0, 0, 0
    wrist, other = JOINTS.index("right wrist"), JOINTS.index("left wrist")
    root = lip_tree(tmp_path, poses=True, train=[size] * 4, val=[size])
    places = [(20, 30), (70, 90), (50, 50), (85, 20)]
    poses = {}
    for (image, _), (x, y) in zip(lip(root).pairs("train"), places, strict=True):
        rows, columns = np.indices(size)
        dot = 255 * np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / 10)
        picture = np.repeat(dot.round().astype(np.uint8)[..., None], 3, -1)
        Image.fromarray(picture).save(image, format="PNG")  # exact; decoders go by content
        joints = np.full((16, 2), np.nan)
        joints[wrist] = x, y
        poses[image.stem] = joints
    write_poses(root / CSV, poses)
    data = lip(root, size=size, crop_size=(80, 70), scale=(0.7, 1.6))
    for batch in ({name: tensor.numpy() for name, tensor in b.items()} for b in data.training_dataloader(25)):
        for image, pose, index in zip(batch["image"][:, 0] / 255, batch["pose"], batch["index"], strict=True):
            shown = [joint for joint in (wrist, other) if pose[joint, 2]]
            assert np.isnan(pose[[joint for joint in range(16) if joint not in shown], :2]).all()
            rows, columns = np.nonzero(image)
            if not shown:
                outside += 1
                assert image.max() < 1, "the middle of the dot is not visible"
                continue
            ((x, y, _),) = pose[shown]
            moved.add((round(float(x)), round(float(y))))
            mirrored += shown == [other]
            if rows.min() > 0 and rows.max() < 79 and columns.min() > 0 and columns.max() < 69:
                weights = image[rows, columns]
                error = np.average(columns, weights=weights) - x, np.average(rows, weights=weights) - y
                assert np.abs(error).max() < 0.02, places[index]
                exact += 1
    assert exact > 25
    assert len(moved) > 25
    assert 10 < mirrored < 90 - outside
    assert outside > 5


def test_joints_outside_the_image_are_missing(tmp_path: Path) -> None:
    """Also in the padding of a crop. Numbers equal to the width or height belong to the last pixel."""
    root = lip_tree(tmp_path, poses=True, train=[(50, 40)], val=[(50, 40)])
    joints = standing((50, 40))
    joints[:4] = (40, 20), (41, 20), (-1, 5), (20, 50)
    write_poses(root / CSV, {"1_7": joints})
    pose = sample(lip(root), 0)["pose"]
    assert pose[:4, 2].tolist() == [1, 0, 0, 1]
    assert pose[[0, 3], :2].tolist() == [[39, 20], [20, 49]]
    assert np.isnan(pose[1:3, :2]).all()
    padded = lip(root, size=(50, 40), crop_size=(200, 200), scale=(1, 1), batch_size=1)
    for batch in padded.training_dataloader(4):
        assert sorted(batch["pose"][0, [0, 1, 2, 3, 4, 5], 2].tolist()) == [0, 0, 1, 1, 1, 1]


def test_training_warns_of_joints_outside_the_image(tree: Path) -> None:
    assert list(cautions(lip(tree))) == []
    poses = read_poses(tree / CSV)
    poses["2_14"][:3] = (33, 61), (34, 5), (5, 62)  # the first one belongs to the last pixel
    poses["4_28"][9] = -3, 5
    write_poses(tree / CSV, poses)
    (line,) = cautions(lip(tree))
    assert "2_14.jpg: 2 points of 'pose' lie outside" in line
    assert "2 images of train" in line
    assert list(cautions(lip(tree, poses=False))) == []


def test_without_poses_nothing_is_read(tree: Path) -> None:
    (tree / CSV).unlink()
    data = lip(tree, poses=False)
    assert set(next(iter(data.training_dataloader(1)))) == {"image", "label", "index"}
    assert set(data.fingerprints(["train", "val"])) == {"train", "val"}


def test_poses_do_not_change_the_images(tree: Path) -> None:
    settings = {"poses": True}, {"poses": False}, {"poses": True, "cache": str(tree / "cache")}
    for one, without, cached in zip(*(lip(tree, **of).training_dataloader(4) for of in settings), strict=True):
        assert all(np.array_equal(one[name], without[name]) for name in without)
        assert one["pose"].shape == (4, 16, 3)
        assert all(np.array_equal(one[name], cached[name], equal_nan=name == "pose") for name in one)


def test_poses_take_part_in_the_fingerprint(tree: Path) -> None:
    before = lip(tree).fingerprints(["train", "val"])
    assert set(before) == {"train", "val", "train: pose"}, "poses of images that nothing trains on are not used"
    assert before["train"] == lip(tree, poses=False).fingerprints(["train"])["train"], "runs with poses compare"
    assert len(before["train: pose"].keys) == 4
    text = (tree / CSV).read_text()
    (tree / CSV).write_text("\r\n".join(reversed(text.splitlines())))
    assert lip(tree).fingerprints(["train", "val"]) == before, "neither the order nor the ends of lines matter"
    (tree / CSV).write_text(text.replace("nan,nan,nan", "1,2,0"))
    after = lip(tree).fingerprints(["train", "val"])
    changed = [a == b for a, b in zip(before["train: pose"].keys, after["train: pose"].keys, strict=True)]
    assert changed == [False, True, True, True]
    assert set(lip(tree).fingerprints(["val"])) == {"val"}


def rewritten(change: Callable[[list[str]], None]) -> Callable[[Path], None]:
    """Change of the columns of the second line."""

    def rewrite(path: Path) -> None:
        lines = [line.split(",") for line in path.read_text().splitlines()]
        change(lines[1])
        path.write_text("".join(f"{','.join(line)}\n" for line in lines))

    return rewrite


WRONG: dict[str, tuple[Callable[[Path], object], str]] = {
    "no file": (lambda path: path.unlink(), r"lip_train_set\.csv: no such file; .*poses=false"),
    "a missing column": (rewritten(lambda row: row.pop()), r"line 2: has 48 columns \(15 joints and 2 more columns\)"),
    "fifteen joints": (rewritten(lambda row: row.__delitem__(slice(46, 49))), r"line 2: has 46 columns \(15 joints\)"),
    "another column": (rewritten(lambda row: row.append("0")), r"line 2: has 50 columns.*expected 49"),
    "text": (rewritten(lambda row: row.__setitem__(4, "left")), r"line 2, column 5: 'left' is not a number"),
    "infinity": (rewritten(lambda row: row.__setitem__(4, "-inf")), r"line 2, column 5: '-inf' is not a number"),
    "a huge number": (rewritten(lambda row: row.__setitem__(4, "1e300")), r"column 5: '1e300' is not a number"),
    "a long text": (rewritten(lambda row: row.__setitem__(4, "x" * 9999)), r"column 5: 'x{60}' is not a number"),
    "control characters": (rewritten(lambda row: row.__setitem__(4, "\x1b[31m")), r"'\\x1b\[31m' is not a number"),
    "nothing": (rewritten(lambda row: row.__setitem__(4, "")), r"line 2, column 5: '' is not a number"),
    "an underscore": (rewritten(lambda row: row.__setitem__(4, "1_0")), r"column 5: '1_0' is not a number"),
    "x without y": (rewritten(lambda row: row.__setitem__(2, "nan")), r"line 2: right ankle has only one of x and y"),
    "no name": (rewritten(lambda row: row.__setitem__(0, " ")), r"line 2: has no image name"),
    "an image twice": (rewritten(lambda row: row.__setitem__(0, "1_7.jpg")), r"line 2: contains '1_7' for the second"),
    "an image missing": (
        lambda path: path.write_text("\n".join(path.read_text().splitlines()[:2])),
        r"no line for 2 of 4 images of 'train', e\.g\. 3_21\.jpg",
    ),
    "an empty file": (lambda path: path.write_text("\n\n"), r"contains no poses"),
    "a header": (
        lambda path: path.write_text(",".join(["image", *["x", "y", "v"] * 16]) + "\n" + path.read_text()),
        r"line 1, column 2: 'x' is not a number",
    ),
    "another encoding": (lambda path: path.write_bytes(b"\xff\xfe1"), r"not a text file in UTF-8"),
    "a folder": (lambda path: (path.unlink(), path.mkdir()), r"lip_train_set\.csv: no such file"),
    "one huge field": (lambda path: path.write_text("1" * 200_000), r"not a file of comma-separated values"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_files_are_refused_in_one_line(name: str, tree: Path) -> None:
    damage, words = WRONG[name]
    damage(tree / CSV)
    with pytest.raises(UserError, match=words) as caught:
        lip(tree).fingerprints(["train"])
    assert "\n" not in str(caught.value)
    assert str(tree / CSV) in str(caught.value)
    with pytest.raises(UserError, match=words):
        lip(tree).training_set()


def test_numbers_are_read_as_they_stand(tmp_path: Path) -> None:
    row = ["a.b.jpg", *["1.5", " 2 ", "1"] * 15, "NaN", "nan", "nan"]
    (tmp_path / "x.csv").write_bytes(b"\xef\xbb\xbf" + f"{','.join(row)}\r\n\r\n".encode())
    (stem, joints), *others = read_poses(tmp_path / "x.csv").items()
    assert (stem, others) == ("a.b", [])
    assert joints[:15].tolist() == [[1.5, 2]] * 15
    assert np.isnan(joints[15]).all()


def test_a_split_without_poses_is_refused(tree: Path) -> None:
    with pytest.raises(UserError, match=r"no poses of the split 'test'; choose train or val"):
        lip(tree).pose_files.file("test")  # type: ignore[union-attr]


def training(tree: Path) -> list[str]:
    sizes = "dataset.size=[40,40]", "dataset.crop_size=[40,40]"
    return [*SHORT, "dataset=lip", f"dataset.root={tree}", *sizes, "dataset.num_workers=0"]


def test_a_head_that_needs_poses_says_so(
    tree: Path, workplace: Path, call: Main, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(BaseOC, "needed_targets", {"pose": (16, 3)}, raising=False)
    assert call("train", *training(tree)) == 2
    error = capsys.readouterr().err.strip()
    assert "\n" not in error
    assert "BaseOC learns from the target 'pose'" in error
    assert "dataset.poses=true" in error
    (tree / CSV).unlink()
    assert call("train", *training(tree), "dataset.poses=true") == 2
    error = capsys.readouterr().err.strip()
    assert f"{tree / CSV}: no such file" in error
    assert "\n" not in error


def test_a_run_records_its_poses(tree: Path, workplace: Path, call: Main, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [*training(tree), "dataset.poses=true", "dataset.num_workers=2"]
    text = (tree / CSV).read_text()
    (tree / CSV).write_text(text.replace("nan,nan", "nan,pelvis", 1))
    assert call("train", *arguments) == 2
    error = capsys.readouterr().err.strip()
    assert "\n" not in error
    assert "column 3: 'pelvis' is not a number" in error
    (tree / CSV).write_text(text)
    assert call("train", *arguments) == 0, capsys.readouterr().err
    folder = workplace / "outputs/runs/base_oc/seed-0"
    assert json.loads((folder / "result.json").read_text())["data"]["train: pose"]["images"] == 4
    (tree / CSV).write_text(text.replace("nan,nan,nan", "1,2,0"))
    assert call("train", *arguments) == 2
    assert "train: pose" in capsys.readouterr().err
