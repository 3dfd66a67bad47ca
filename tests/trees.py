"""Miniature trees of the official layouts, random pictures in them."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Sizes = Sequence[tuple[int, int]]
"""(height, width) of every image."""


def write_pair(rng: np.random.Generator, image: Path, label: Path, size: tuple[int, int], ids: Sequence[int]) -> None:
    """A picture of coarse random colours with a label of coarse random ids."""
    for path in (image, label):
        path.parent.mkdir(parents=True, exist_ok=True)
    colours = Image.fromarray(rng.integers(0, 256, (4, 4, 3), dtype=np.uint8))
    colours.resize(size[::-1], Image.Resampling.BILINEAR).save(image)
    classes = Image.fromarray(rng.choice(np.array(ids, np.uint8), (4, 4)))
    classes.resize(size[::-1], Image.Resampling.NEAREST).save(label)


def cityscapes_tree(root: Path, **sizes: Sizes) -> Path:
    """Labels hold all ids of the official table, the ignored ones too."""
    rng = np.random.default_rng(0)
    for split, of_split in sizes.items():
        for number, size in enumerate(of_split):
            stem = f"{split}/town/town_{number:06d}_000019"
            image, label = (root / "leftImg8bit", "leftImg8bit"), (root / "gtFine", "gtFine_labelIds")
            write_pair(rng, *(folder / f"{stem}_{kind}.png" for folder, kind in (image, label)), size, range(34))
    return root


def add_disparities(root: Path) -> None:
    """Official disparity files for all images of a tree of Cityscapes; a third of the values is unknown."""
    rng = np.random.default_rng(0)
    for image in sorted((root / "leftImg8bit").rglob("*_leftImg8bit.png")):
        path = root / "disparity" / image.relative_to(root / "leftImg8bit")
        path = path.with_name(path.name.replace("leftImg8bit", "disparity"))
        path.parent.mkdir(parents=True, exist_ok=True)
        with Image.open(image) as picture:
            values = rng.integers(1, 30000, picture.size[::-1]) * (rng.random(picture.size[::-1]) > 1 / 3)
        Image.fromarray(values.astype(np.uint16)).save(path)


def ade20k_tree(root: Path, **sizes: Sizes) -> Path:
    """`ade20k_tree(root, train=[(30, 40), ...], val=[...])`."""
    rng = np.random.default_rng(0)
    for split, folder in (("train", "training"), ("val", "validation")):
        for number, size in enumerate(sizes[split], 1):
            stem = f"ADE_{split}_{number:08d}"
            image = root / "images" / folder / f"{stem}.jpg"
            write_pair(rng, image, root / "annotations" / folder / f"{stem}.png", size, (0, 1, 2, 150))
    return root


# x and y of LIP's sixteen joints in shares of the image: a person who faces the camera, the right side on the left.
_STANDING = np.array([
    (0.35, 0.95), (0.35, 0.75), (0.4, 0.55), (0.6, 0.55), (0.65, 0.75), (0.65, 0.95), (0.5, 0.55), (0.5, 0.3),
    (0.5, 0.2), (0.5, 0.05), (0.15, 0.5), (0.2, 0.38), (0.3, 0.25), (0.7, 0.25), (0.8, 0.38), (0.85, 0.5),
])  # fmt: skip


def standing(size: tuple[int, int]) -> NDArray[np.float64]:
    """Joints (16, 2) of a person in an image of (height, width), whole numbers."""
    return np.floor(_STANDING * np.array(size[::-1]))


def write_poses(path: Path, poses: Mapping[str, NDArray[np.float64]]) -> None:
    """A file as LIP has it: no header, flag 0, and nan for missing joints."""
    lines = []
    for stem, joints in poses.items():
        numbers = [("nan",) * 3 if np.isnan(x) else (f"{x:g}", f"{y:g}", "0") for x, y in joints]
        lines.append(",".join([f"{stem}.jpg", *(number for joint in numbers for number in joint)]))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines))


def lip_tree(root: Path, layout: str = "official", *, poses: bool = False, **sizes: Sizes) -> Path:
    """Layouts: official, nested (one folder deeper), flat (CE2P's). The first image of each split is grey.

    With poses, every image shows a person; the right ankle of the first image of each split is missing.
    """
    rng = np.random.default_rng(0)
    images, labels, joints = root, root, root
    if layout != "flat":
        images, labels = root / "TrainVal_images", root / "TrainVal_parsing_annotations"
        joints = root / "TrainVal_pose_annotations"
    if layout == "nested":
        images, labels, joints = images / images.name, labels / labels.name, joints / joints.name
    for split in ("train", "val"):
        stems = [f"{number}_{number * 7}" for number in range(1, len(sizes[split]) + 1)]
        for stem, size in zip(stems, sizes[split], strict=True):
            image = images / f"{split}_images" / f"{stem}.jpg"
            write_pair(rng, image, labels / f"{split}_segmentations" / f"{stem}.png", size, (0, 2, 13, 14, 15, 18, 255))
        grey = images / f"{split}_images" / f"{stems[0]}.jpg"
        with Image.open(grey) as picture:
            picture.convert("L").save(grey)
        (images / f"{split}_id.txt").write_text("".join(f"{stem}\n" for stem in stems))
        if poses:
            of_split = {stem: standing(size) for stem, size in zip(stems, sizes[split], strict=True)}
            of_split[stems[0]][0] = np.nan
            write_poses(joints / f"lip_{split}_set.csv", of_split)
    return root


def folder_tree(root: Path, ids: Sequence[int] = (0, 1, 2), **sizes: Sizes) -> Path:
    """Splits as sub-folders."""
    rng = np.random.default_rng(0)
    for split, of_split in sizes.items():
        for number, size in enumerate(of_split):
            name = f"{split}/{number:03d}"
            write_pair(rng, root / f"images/{name}.jpg", root / f"masks/{name}.png", size, ids)
    return root


def files(root: Path) -> Iterator[str]:
    """Every file below, by its path."""
    return (path.relative_to(root).as_posix() for path in sorted(root.rglob("*")) if path.is_file())
