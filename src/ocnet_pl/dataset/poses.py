"""Files of LIP's poses: a line for each person, with the name of the image, then x, y and flag of 16 joints.

Format and order of the joints: the data set's `TrainVal_pose_annotations`, as JPPNet (LIP_JPPNet f274c9b) reads it.
"""

import csv
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ocnet_pl.dataset.listing import is_file
from ocnet_pl.dataset.reading import Pair, read_size
from ocnet_pl.dataset.targets import Target, TargetFault
from ocnet_pl.errors import UserError, readable_os_errors

JOINTS = (
    "right ankle", "right knee", "right hip", "left hip", "left knee", "left ankle", "pelvis", "thorax",
    "neck", "head top", "right wrist", "right elbow", "right shoulder", "left shoulder", "left elbow", "left wrist",
)  # fmt: skip
MIRROR_PAIRS = ((0, 5), (1, 4), (2, 3), (10, 15), (11, 14), (12, 13))
"""Joints that a horizontal flip exchanges."""
LIMBS = (
    (0, 1), (1, 2), (2, 6), (5, 4), (4, 3), (3, 6), (6, 7), (7, 8),
    (8, 9), (10, 11), (11, 12), (12, 8), (15, 14), (14, 13), (13, 8),
)  # fmt: skip
"""Joints that are neighbours in the body."""
PARTS = {0: (17, 19), 1: (17,), 4: (16,), 5: (16, 18), 10: (15,), 11: (15,), 14: (14,), 15: (14,)}
"""Train ids of arms, legs and shoes on which a joint lies. Hips and shoulders lie on clothes, which have no side."""
FILES = {"train": "lip_train_set.csv", "val": "lip_val_set.csv"}
"""Name of the file of each split."""
_COLUMNS = 1 + 3 * len(JOINTS)
_LARGEST = 1 << 24
"""Whole numbers up to this one are exact in float32."""
_LONGEST = 60
"""Characters of a file's text in a message."""

Joints = NDArray[np.float32]
"""(16, 2): x and y in pixels of the image file, NaN where a joint is missing."""


class PoseFiles:
    """Poses of the images of both splits; a file is read when it is first needed.

    Args:
        folders: folders that may contain the files, the first one first.
    """

    def __init__(self, folders: Sequence[Path]) -> None:
        self.folders = tuple(folders)
        self._read: dict[str, dict[str, Joints]] = {}

    def target(self) -> Target:
        """Target of training samples."""
        return Target(
            "keypoints",
            self.read,
            mirror_pairs=MIRROR_PAIRS,
            names=JOINTS,
            limbs=LIMBS,
            parts=PARTS,
            source=self.source,
        )

    def read(self, pair: Pair) -> Joints:
        """Joints (16, 3) of an image: x and y in its pixels, and 1; NaN, NaN and 0 where a joint is missing.

        Numbers are taken as counted from 0, as JPPNet and MuLA do. Those equal to the width or height are moved to the
        last column or row, as JPPNet does with all joints outside the image.

        Raises:
            UserError: the image has no line, or cannot be read.
        """
        joints, (height, width) = self._joints(pair), read_size(pair[0])
        size = np.array([width, height], np.float32)
        joints = np.where(joints == size, size - 1, joints)
        return np.concatenate([joints, np.isfinite(joints[:, :1])], 1, dtype=np.float32)

    def source(self, pair: Pair) -> bytes:
        """Joints of an image as the file has them, for the fingerprint of a run."""
        return self._joints(pair).tobytes()

    def file(self, split: str) -> Path:
        """File of a split.

        Raises:
            UserError: the split has no poses, or its file is missing.
        """
        if split not in FILES:
            raise UserError(f"LIP has no poses of the split {split!r}; choose {' or '.join(FILES)}, or poses=false")
        for folder in self.folders:
            if is_file(path := folder / FILES[split]):
                return path
        expected = self.folders[0] / FILES[split]
        raise UserError(f"{expected}: no such file; copy it from LIP's archive of poses, or set poses=false")

    def poses(self, split: str) -> Mapping[str, Joints]:
        """Poses of a split by the stem of the image file.

        Raises:
            UserError: see `read_poses`.
        """
        if split not in self._read:
            self._read[split] = read_poses(self.file(split))
        return self._read[split]

    def has(self, split: str) -> bool:
        """Test for a file of the split."""
        return split in FILES and any(is_file(folder / FILES[split]) for folder in self.folders)

    def faults(self, split: str, images: Sequence[Path]) -> Iterator[TargetFault]:
        """Faults of the file of a split: it cannot be read, lacks images, or holds others."""
        try:
            file, poses = self.file(split), self.poses(split)
        except UserError as error:
            yield TargetFault("poses that cannot be read", str(error), fatal=True)
            return
        if missing := [image.name for image in images if image.stem not in poses]:
            lacks = f"{file}: has no line for {len(missing)} of {len(images)} images of {split!r}, e.g. {missing[0]}"
            yield TargetFault("images without a pose", lacks, fatal=True)
        if more := sorted(poses.keys() - {image.stem for image in images}):
            holds = f"{file}: {len(more)} lines belong to no image of {split!r}, e.g. {more[0][:_LONGEST]!r}"
            yield TargetFault("poses without an image", holds, fatal=False)

    def refuse_missing(self, split: str, images: Sequence[Path]) -> None:
        """Check that the file of a split has a line for each of its images.

        Raises:
            UserError: it cannot be read, or images have no line.
        """
        poses = self.poses(split)  # with its own line if it cannot be read
        if not all(image.stem in poses for image in images):
            fault = next(self.faults(split, images))
            raise UserError(f"{fault.message}; copy the file again, or set poses=false")

    def _joints(self, pair: Pair) -> Joints:
        split = pair[0].parent.name.removesuffix("_images")
        if (joints := self.poses(split).get(pair[0].stem)) is None:
            raise UserError(f"{self.file(split)}: has no line for {pair[0].name}; copy the file again")
        return joints


def read_poses(path: Path) -> dict[str, Joints]:
    """Read a file of poses: stem of the image file -> joints.

    The third number of a joint, its flag, is not kept: neither JPPNet nor MuLA uses it, and MuLA calls it inaccurate.

    Raises:
        UserError: a file that cannot be read, is not UTF-8, is empty, holds an image twice, or has a line without 49
            columns, or one with something else than numbers and `nan`.
    """
    poses: dict[str, Joints] = {}
    for line, row in _rows(path):
        stem = Path(row[0].strip()).stem
        if not stem:
            raise UserError(f"{path}, line {line}: has no image name; write it in the first column")
        if stem in poses:
            name = repr(stem[:_LONGEST])
            raise UserError(f"{path}, line {line}: contains {name} for the second time; keep one line per image")
        poses[stem] = _parsed(path, line, row)
    if not poses:
        raise UserError(f"{path}: contains no poses; copy it again")
    return poses


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Number and content of every line that is not empty."""
    try:
        with readable_os_errors(path), path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file)
            for row in reader:
                if any(column.strip() for column in row):
                    yield reader.line_num, row
    except UnicodeDecodeError:
        raise UserError(f"{path}: is not a text file in UTF-8; save it in that encoding") from None
    except csv.Error as error:
        raise UserError(f"{path}: is not a file of comma-separated values ({error}); copy it again") from None


def _parsed(path: Path, line: int, row: Sequence[str]) -> Joints:
    if len(row) != _COLUMNS:
        count, more = divmod(len(row) - 1, 3)
        found = f"{count} joints" + (f" and {more} more columns" if more else "")
        raise UserError(
            f"{path}, line {line}: has {len(row)} columns ({found}); expected {_COLUMNS}: the image, then x, y and "
            f"flag of {len(JOINTS)} joints"
        )
    numbers = [_number(path, line, column, text) for column, text in enumerate(row[1:], 2)]
    joints: Joints = np.array(numbers, np.float32).reshape(-1, 3)[:, :2]
    if (half := np.isnan(joints).sum(1) == 1).any():
        name = JOINTS[int(half.argmax())]
        raise UserError(f"{path}, line {line}: {name} has only one of x and y; write both, or nan for both")
    return joints


def _number(path: Path, line: int, column: int, text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.inf
    if abs(number) > _LARGEST or "_" in text:  # false for nan
        shown = repr(text[:_LONGEST])
        raise UserError(f"{path}, line {line}, column {column}: {shown} is not a number of pixels; write one, or nan")
    return number
