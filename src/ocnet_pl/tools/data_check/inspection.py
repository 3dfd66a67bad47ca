"""Facts about one image file and its label file. Imports no torch, so that a process starts quickly."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from ocnet_pl.dataset.headers import open_image, orientation_of, refuse_wrong_rows
from ocnet_pl.dataset.labels import UNKNOWN
from ocnet_pl.dataset.reading import (
    Bytes,
    Pair,
    content,
    decode_image,
    decode_label,
    read_label,
    refuse_missing_label,
    refuse_other_size,
)
from ocnet_pl.dataset.targets import Targets, read_target
from ocnet_pl.errors import UserError
from ocnet_pl.tools.data_check.points import PointFacts, Points, Sides, inspect_points

_EXACT = 1 << 24
"""Limit of exact integers in OpenCV's histograms, which are float32."""


@dataclass
class Facts:
    """Content of one pair of files.

    Attributes:
        size: (width, height) of the image.
        image_mode: Pillow's mode of the image.
        label_mode: Pillow's mode of the label.
        counts: pixels of each stored id, (256,) int64; None if the label cannot be read.
        right_of: for each mirror pair, whether its left part lies right of its right part; None unless both appear.
        points: facts about the keypoints of the image, by name of the target.
        rotated: (file, EXIF orientation) of files whose orientation is not 1 (upright); reading ignores it.
        problems: (kind, file, message).
    """

    size: tuple[int, int] | None = None
    image_mode: str | None = None
    label_mode: str | None = None
    counts: NDArray[np.int64] | None = None
    right_of: list[bool | None] = field(default_factory=list)
    points: dict[str, PointFacts] = field(default_factory=dict)
    rotated: list[tuple[str, int]] = field(default_factory=list)
    problems: list[tuple[str, str, str]] = field(default_factory=list)

    def add_problem(self, kind: str, file: Path, message: object) -> None:
        """Note a problem of a file."""
        self.problems.append((kind, str(file), str(message)))


def inspect_pair(
    item: tuple[Pair, Points], table: Bytes, mirror_pairs: Sequence[tuple[int, int]], sides: Mapping[str, Sides]
) -> Facts:
    """Facts of one pair.

    Args:
        item: files of image and label, which need not exist; and the keypoints of the image.
        table: stored id -> train id, (256,).
        mirror_pairs: train ids of left and right parts.
        sides: parts of the label on which keypoints lie, by name of the target.
    """
    pair, points = item
    facts = Facts()
    encoded = image = None
    try:
        encoded = content(pair[0])
        header = open_image(pair[0], io.BytesIO(encoded))
        facts.image_mode, facts.size = header.mode, header.size
        image = decode_image(pair[0], encoded)
        refuse_wrong_rows(pair[0], encoded)
        _note_orientation(pair[0], encoded, facts)
    except UserError as error:
        facts.add_problem("image cannot be read", pair[0], error)
    label = _label(pair, facts, table)
    classes = None if label is None else np.asarray(cv2.LUT(label, table), np.uint8)
    if facts.size is not None:
        facts.points = {name: inspect_points(of, facts.size, classes, sides[name]) for name, of in points.items()}
    if label is None:
        return facts
    if encoded is not None and image is not None:
        try:
            refuse_other_size(pair, encoded, image.shape, label.shape)
        except UserError as error:
            facts.add_problem("image and label of two sizes", pair[1], error)
    facts.counts = _histogram(label)
    unknown = np.flatnonzero((facts.counts > 0) & (table == UNKNOWN))
    if unknown.size:
        share = facts.counts[unknown].sum() / label.size
        message = f"{pair[1]}: label ids {unknown.tolist()}, {share:.2%} of its pixels"
        facts.add_problem("ids outside the table", pair[1], message)
    if mirror_pairs and classes is not None:
        facts.right_of = [_lies_right(classes == left, classes == right) for left, right in mirror_pairs]
    return facts


def inspect_targets(pair: Pair, facts: Facts, targets: Targets) -> None:
    """Note targets of a pair that cannot be read or do not fit its image; pairs without image or label are skipped."""
    if facts.size is None or facts.counts is None:
        return
    for name, target in targets.items():
        try:
            read_target(name, target, pair, facts.size[::-1])
        except UserError as error:
            facts.add_problem("target that cannot be used", pair[0], error)


def count_ids(label: Path, table: Bytes) -> NDArray[np.int64]:
    """Pixels of each stored id in a label, (256,)."""
    return _histogram(read_label(label, table))


def _label(pair: Pair, facts: Facts, table: Bytes) -> Bytes | None:
    try:
        refuse_missing_label(pair)
    except UserError as error:
        facts.add_problem("image without its label", pair[0], error)
        return None
    try:
        encoded = content(pair[1])
        facts.label_mode = open_image(pair[1], io.BytesIO(encoded)).mode
        label = decode_label(pair[1], encoded, table)
        refuse_wrong_rows(pair[1], encoded)
        _note_orientation(pair[1], encoded, facts)
    except UserError as error:
        facts.add_problem("label cannot be read", pair[1], error)
        return None
    return label


def _note_orientation(path: Path, encoded: bytes, facts: Facts) -> None:
    if (orientation := orientation_of(path, io.BytesIO(encoded))) != 1:
        facts.rotated.append((str(path), orientation))


def _histogram(label: Bytes) -> NDArray[np.int64]:
    rows = max(1, _EXACT // max(1, label.shape[1]))
    parts = [label[top : top + rows] for top in range(0, len(label), rows)]
    counts = [cv2.calcHist([part], [0], None, [256], [0, 256]).astype(np.int64).ravel() for part in parts]
    return np.asarray(np.sum(counts, 0))


def _lies_right(left: NDArray[np.bool_], right: NDArray[np.bool_]) -> bool | None:
    """Test whether the mean column of the left part is greater than that of the right part."""
    columns = np.arange(left.shape[1])
    of_left, of_right = left.sum(0), right.sum(0)
    if not (of_left.any() and of_right.any()):
        return None
    return bool(of_left @ columns / of_left.sum() > of_right @ columns / of_right.sum())
