"""Named targets follow the label through every transform, and wrong ones are refused in one line."""

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import albumentations as A
import cv2
import numpy as np
import pytest
from conftest import SHORT, Main
from numpy.typing import NDArray
from PIL import Image

from ocnet_pl.dataset.ade20k import ADE20K
from ocnet_pl.dataset.folder import Folder
from ocnet_pl.dataset.lip import LIP
from ocnet_pl.dataset.reading import Pair
from ocnet_pl.dataset.targets import Target, Targets
from ocnet_pl.dataset.transforms import Resize, ResizeShortSide
from ocnet_pl.errors import UserError
from ocnet_pl.tools.data_check.preview import preview, sample_pictures

SIZES = [(48, 64), (64, 48), (40, 90), (56, 56)]
COLOURS = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255]])
LEFT, RIGHT, MIDDLE = range(3)
"""Keypoints, each in the middle of a square of its own colour."""


def stored(pair: Pair) -> NDArray[np.uint8]:
    return np.asarray(Image.open(pair[1]))


def depth(pair: Pair) -> NDArray[np.float32]:
    """Label plus a half, so that no other value can be mistaken for it."""
    return stored(pair).astype(np.float32) + 0.5


def wide(pair: Pair) -> NDArray[np.uint16]:
    return stored(pair).astype(np.uint16) + 1000


def pose(pair: Pair) -> NDArray[Any]:
    return np.loadtxt(pair[1].with_suffix(".txt"))


class Toy(Folder):
    """A data set of the user: the label again as three masks, and keypoints from a text file beside the label."""

    targets: Targets = MappingProxyType(
        {
            "copy": Target("mask", stored, fill=77),
            "depth": Target("mask", depth, fill=-1.0),
            "wide": Target("mask", wide, fill=9),
            "pose": Target("keypoints", pose, mirror_pairs=[(LEFT, RIGHT)]),
        }
    )


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Grey images with three coloured squares of 8x8 pixels, labels of random squares, keypoints in the squares."""
    rng = np.random.default_rng(0)
    for index, (height, width) in enumerate(SIZES):
        image = np.full((height, width, 3), 128, np.uint8)
        label = np.kron(rng.integers(0, 3, (height // 8 + 1, width // 8 + 1)), np.ones((8, 8))).astype(np.uint8)
        centres = [(12, 12), (width - 14, 14), (width // 2, height - 12)]
        for (x, y), rgb in zip(centres, COLOURS, strict=True):
            image[y - 4 : y + 4, x - 4 : x + 4] = rgb
        for kind, pixels in (("images", image), ("masks", label[:height, :width])):
            path = tmp_path / kind / "train" / f"{index:03d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)
        points = np.array([(x - 0.5, y - 0.5, 1) for x, y in centres])  # the centre of eight pixels
        np.savetxt(path.with_suffix(".txt"), points)
    return tmp_path


def toy(root: Path, **settings: Any) -> Toy:
    return Toy(str(root), **{"classes": ("a", "b", "c"), "num_workers": 0, "batch_size": 4, **settings})


def with_targets(data: Any, targets: Mapping[str, Target]) -> Any:
    data.targets = targets
    return data


class WholeToy(Toy):
    """The same, resized without a crop."""

    resize: Callable[[], A.BasicTransform] = staticmethod(lambda: Resize((50, 70)))

    def geometry(self) -> list[A.BasicTransform]:
        return [self.resize()]


class ShortSideToy(WholeToy):
    """The same, in sizes that differ, so that batches are padded."""

    pad_multiple = 8
    resize = staticmethod(lambda: ResizeShortSide((30, 40), 80, 0))


def batches(data: Toy, steps: int = 12) -> list[dict[str, NDArray[Any]]]:
    return [{name: tensor.numpy() for name, tensor in batch.items()} for batch in data.training_dataloader(steps)]


MAKE: dict[str, Callable[[Path], Toy]] = {
    "crop": lambda root: toy(root, crop_size=(40, 48), scale=(0.5, 2.0)),
    "crop that pads": lambda root: toy(root, crop_size=(80, 100), scale=(0.7, 1.3)),
    "flip alone": lambda root: toy(root, batch_size=1),
    "fixed size": lambda root: WholeToy(str(root), classes=("a", "b", "c"), num_workers=0, batch_size=4),
    "padded batches": lambda root: ShortSideToy(str(root), classes=("a", "b", "c"), num_workers=0, batch_size=4),
    "cache": lambda root: toy(root, crop_size=(40, 48), cache=str(root / "cache")),
    "augmented": lambda root: toy(
        root, crop_size=(48, 48), augment=[A.Rotate((30, 30), p=0.5), A.CoarseDropout(fill_mask=0, p=0.5)]
    ),
    "255 is a class": lambda root: toy(root, crop_size=(80, 100), ids=(1, 2, 255), ignore_id=0),
}


@pytest.mark.parametrize("name", MAKE)
def test_masks_agree_with_the_label(name: str, root: Path) -> None:
    padded = 0
    data = MAKE[name](root)
    for batch in batches(data):
        label = batch["label"].astype(int)
        if name == "255 is a class":  # train ids are stored ids less 1; id 0 is ignored in files too
            inside = batch["copy"] != 77
            assert (label == np.where(batch["copy"] == 0, 255, batch["copy"] - 1.0))[inside].all()
        else:
            inside = label != 255
            assert (batch["copy"] == np.where(inside, label, 77)).all()
        assert batch["copy"].dtype == np.uint8
        assert batch["depth"].dtype == np.float32
        assert batch["wide"].dtype == np.uint16
        assert (batch["depth"] == np.where(inside, batch["copy"] + 0.5, -1)).all()
        assert (batch["wide"] == np.where(inside, batch["copy"] + 1000.0, 9)).all()
        padded += int((~inside).sum())
    if name in ("crop that pads", "padded batches", "augmented"):
        assert padded > 0, "the test must pad"


@pytest.mark.parametrize("name", [name for name in MAKE if name != "augmented"])
def test_keypoints_stay_on_their_colours(name: str, root: Path) -> None:
    """Left and right, red and green, change places in a mirrored image."""
    visible, mirrored = 0, 0
    for batch in batches(MAKE[name](root)):
        assert batch["pose"].shape == (len(batch["label"]), 3, 3)
        assert batch["pose"].dtype == np.float32
        for image, points in zip(batch["image"].transpose(0, 2, 3, 1).astype(int), batch["pose"], strict=True):
            flipped = points[LEFT, 0] > points[RIGHT, 0]
            mirrored += flipped
            assert not flipped, "the left point is on the left in every image, mirrored or not"
            for index, (x, y, seen) in enumerate(points):
                inside = -0.5 <= x < image.shape[1] - 0.5 and -0.5 <= y < image.shape[0] - 0.5
                assert bool(seen) == inside
                if not seen:
                    assert np.isnan([x, y]).all(), "no number that could pass for a place"
                    continue
                visible += 1
                pixel = image[round(float(y)), round(float(x))]
                nearest = int(np.abs(COLOURS - pixel).sum(1).argmin())
                assert np.abs(COLOURS[nearest] - pixel).max() < 80, "a keypoint on the background"
                assert {nearest, index} in ({LEFT}, {RIGHT}, {MIDDLE}, {LEFT, RIGHT})
    assert visible > 20


@pytest.mark.parametrize("name", ["crop", "fixed size", "flip alone"])
def test_keypoints_are_exact_to_half_a_pixel(name: str, root: Path) -> None:
    """The centre of a coloured square that lies inside the image is the keypoint."""
    compared = exchanged = 0
    for batch in batches(MAKE[name](root)):
        for image, points in zip(batch["image"].transpose(0, 2, 3, 1).astype(int), batch["pose"], strict=True):
            for index, rgb in enumerate(COLOURS):
                weight = np.clip(1 - np.abs(image - rgb).max(-1) / 127.0, 0, 1)
                rows, columns = np.nonzero(weight > 0.1)
                if not len(rows) or min(rows.min(), columns.min()) == 0:
                    continue
                if rows.max() == image.shape[0] - 1 or columns.max() == image.shape[1] - 1:
                    continue  # cut off
                centre = [np.average(axis, weights=weight[rows, columns]) for axis in (columns, rows)]
                distances = [np.abs(point[:2] - centre).max() for point in np.nan_to_num(points, nan=1e6)]
                compared += 1
                exchanged += int(np.argmin(distances)) != index
                assert min(distances) < 0.5
    assert compared > 10
    assert exchanged > 0, "some images are mirrored, and their points exchanged"


def test_evaluation_has_no_targets(root: Path) -> None:
    (batch, *_) = toy(root).evaluation_dataloader("train")
    assert set(batch) == {"image", "label", "index"}


def test_samples_without_targets_are_the_same(root: Path) -> None:
    """Targets do not change the random draws."""
    arguments: dict[str, Any] = {"classes": ("a", "b", "c"), "crop_size": (40, 48), "num_workers": 0, "batch_size": 4}
    plain = Folder(str(root), **arguments)
    for one, other in zip(
        plain.training_dataloader(4), toy(root, crop_size=(40, 48)).training_dataloader(4), strict=True
    ):
        assert all((one[name] == other[name]).all() for name in one)


def test_workers_carry_targets(root: Path) -> None:
    one, two = (batches(toy(root, crop_size=(40, 48), num_workers=workers), 3) for workers in (0, 2))
    for a, b in zip(one, two, strict=True):
        assert all(np.array_equal(a[name], b[name], equal_nan=name == "pose") for name in a)


@pytest.mark.parametrize("kind", [ADE20K, LIP])
def test_transforms_of_other_data_sets(kind: type, tmp_path: Path) -> None:
    from trees import ade20k_tree, lip_tree

    if kind is ADE20K:
        tree = ade20k_tree(tmp_path, train=SIZES, val=SIZES[:1])
        data = ADE20K(str(tree), short_sides=(24, 32), max_long_side=60, batch_size=2, num_workers=0)
    else:
        tree = lip_tree(tmp_path, train=SIZES, val=SIZES[:1])
        data = LIP(str(tree), size=(30, 34), crop_size=(32, 32), batch_size=2, num_workers=0)
    with_targets(data, {"copy": Target("mask", stored, fill=77)})
    for batch in data.training_dataloader(8):
        copy, label = batch["copy"].numpy(), batch["label"].numpy()
        expected = np.where(copy == 77, 255, data.table[copy])
        if kind is LIP:  # a mask of its own is mirrored, and its ids are not exchanged
            expected, label = np.where(expected == 15, 14, expected), np.where(label == 15, 14, label)
            expected, label = np.where(expected == 19, 18, expected), np.where(label == 19, 18, label)
        assert np.array_equal(expected, label)


def fail(pair: Pair) -> NDArray[Any]:
    raise KeyError("no\nsuch person")


@pytest.mark.parametrize(
    ("target", "words"),
    [
        (Target("mask", lambda pair: np.load(pair[0].with_suffix(".npy"))), r"depth.*FileNotFoundError.*\d\.npy"),
        (Target("mask", fail), r"depth.*cannot be read \(KeyError"),
        (Target("mask", lambda pair: stored(pair)[1:]), r"depth.*shape \(\d+, \d+\); expected"),
        (Target("mask", lambda pair: stored(pair).astype(int)), r"depth.*int64; expected uint8, uint16, float32"),
        (Target("mask", lambda pair: depth(pair) * np.nan), r"depth.*NaN"),
        (Target("mask", stored, fill=-1), r"depth.*uint8, which cannot hold its fill -1"),
        (Target("mask", depth, fill=float("nan")), r"depth.*cannot hold its fill nan"),
        (Target("keypoints", lambda pair: pose(pair)[:, :2]), r"depth.*shape \(3, 2\); expected keypoints"),
        (Target("keypoints", lambda pair: pose(pair) * np.inf), r"depth.*infinity"),
    ],
)
def test_wrong_targets_are_refused(target: Target, words: str, root: Path) -> None:
    with pytest.raises(UserError, match=rf"\.png: target '{words}") as caught:
        batches(with_targets(toy(root, crop_size=(40, 48)), {"depth": target}), 1)
    assert "\n" not in str(caught.value)


def test_keypoints_must_agree_in_number(root: Path) -> None:
    def some(pair: Pair) -> NDArray[Any]:
        return pose(pair)[: 1 + int(pair[0].stem) % 2]

    with pytest.raises(UserError, match=r"target 'pose' has shapes \[\(1, 3\), \(2, 3\)\]"):
        batches(with_targets(toy(root, crop_size=(40, 48)), {"pose": Target("keypoints", some)}), 1)


def test_names_of_a_sample_are_reserved(root: Path) -> None:
    with pytest.raises(UserError, match=r"target 'label': this name is reserved"):
        with_targets(toy(root), {"label": Target("mask", stored)}).training_set()


@pytest.mark.parametrize("flip", [A.HorizontalFlip, A.D4])
def test_mirrors_are_refused_with_sided_keypoints(flip: type[A.DualTransform], root: Path) -> None:
    with pytest.raises(UserError, match="mirrors images"):
        toy(root, augment=[flip()]).training_set()


class Distorted(A.DualTransform):
    """A transform of the user that does not support keypoints."""

    def apply(self, img: Any, **params: Any) -> Any:
        return cv2.blur(img, (3, 3))

    def apply_to_mask(self, mask: Any, **params: Any) -> Any:
        return mask


def test_a_transform_without_keypoints_is_refused(root: Path) -> None:
    with pytest.raises(UserError, match=r"augment: Distorted fails .*keypoints"):
        toy(root, crop_size=(40, 48), augment=[Distorted()]).training_set()


def test_the_preview_shows_targets(root: Path, tmp_path: Path) -> None:
    samples, legend = sample_pictures(toy(root, crop_size=(60, 80), scale=(1, 1)), 3)
    sample = samples[0]
    assert list(sample.pictures) == ["input", "label", "copy", "depth", "wide"]
    plain, _ = sample_pictures(with_targets(toy(root, crop_size=(60, 80), scale=(1, 1)), {}), 3)
    assert not np.array_equal(sample.pictures["input"], plain[0].pictures["input"]), "keypoints are drawn"
    assert all(picture.shape == (60, 80, 3) for picture in sample.pictures.values())
    preview("title", samples, legend).savefig(tmp_path / "figure.png")


MODULE = """
import numpy as np
from PIL import Image
from ocnet_pl.dataset.folder import Folder
from ocnet_pl.dataset.targets import Target

class Depth(Folder):
    targets = {"depth": Target("mask", lambda pair: np.asarray(Image.open(pair[1])).astype(np.float32))}
"""


def test_a_data_set_outside_the_package(
    root: Path, workplace: Path, call: Main, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One file and one YAML outside the package."""
    (workplace / "code").mkdir()
    (workplace / "code/depth_data.py").write_text(MODULE)
    (workplace / "own/dataset").mkdir(parents=True)
    (workplace / "own/dataset/depth.yaml").write_text(
        f"defaults: [folder]\n_target_: depth_data.Depth\nroot: {root}\nclasses: [a, b, c]\ncrop_size: [32, 32]\n"
    )
    monkeypatch.syspath_prepend(str(workplace / "code"))
    monkeypatch.setenv("OCNET_CONF", str(workplace / "own"))
    assert call("data", "show", "dataset=depth", "--count", "2", "--out", "show.png") == 0, capsys.readouterr().err
    assert Path("show.png").is_file()
    training = (*SHORT, "dataset=depth", "dataset.val_split=train", "evaluate_on=[train]", "dataset.num_workers=0")
    assert call("train", *training) == 0, capsys.readouterr().err
    assert Path("outputs/runs/base_oc/seed-0/result.json").is_file()
