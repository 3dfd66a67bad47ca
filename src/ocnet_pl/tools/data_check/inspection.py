"""One image file and its label file, looked at closely. Imports no torch, so that a process starts quickly."""

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from ocnet_pl.dataset.headers import open_image, orientation_of
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
from ocnet_pl.errors import UserError

_EXACT = 1 << 24
"""OpenCV gives histograms as float32, which counts to here."""


@dataclass
class Facts:
    """Content of one pair of files.

    Attributes:
        size: (width, height) of the image.
        image_mode: Pillow's name of how the image stores pixels.
        label_mode: the same of the label.
        counts: pixels of each stored id, (256,) int64; None when the label cannot be read.
        right_of: for each mirror pair, its left part lies right of its right part; None unless both are there.
        turned: (file, EXIF orientation) of those whose orientation is not 1 (upright), which reading ignores.
        problems: (what is wrong, file, message).
    """

    size: tuple[int, int] | None = None
    image_mode: str | None = None
    label_mode: str | None = None
    counts: NDArray[np.int64] | None = None
    right_of: list[bool | None] = field(default_factory=list)
    turned: list[tuple[str, int]] = field(default_factory=list)
    problems: list[tuple[str, str, str]] = field(default_factory=list)


def inspect_pairs(pairs: Sequence[Pair], table: Bytes, mirror_pairs: Sequence[tuple[int, int]]) -> list[Facts]:
    """Facts of some pairs.

    Args:
        pairs: files of image and label; they need not exist.
        table: stored id -> train id, (256,).
        mirror_pairs: train ids of left and right parts.
    """
    cv2.setNumThreads(0)
    return [_inspect(pair, table, mirror_pairs) for pair in pairs]


def count_ids(labels: Sequence[Path], table: Bytes) -> NDArray[np.int64]:
    """Pixels of each stored id in some labels together, (256,)."""
    cv2.setNumThreads(0)
    return np.asarray(np.sum([_histogram(read_label(path, table)) for path in labels], 0))


def _inspect(pair: Pair, table: Bytes, mirror_pairs: Sequence[tuple[int, int]]) -> Facts:
    facts = Facts()
    found = _content(pair[0], facts)
    image = None if found is None else _image(pair[0], found, facts)
    label = _label(pair, facts, table)
    if label is None:
        return facts
    if found is not None and image is not None:
        try:
            refuse_other_size(pair, found, image.shape, label.shape)
        except UserError as error:
            facts.problems.append(("image and label of two sizes", str(pair[1]), str(error)))
    facts.counts = _histogram(label)
    strange = np.flatnonzero((facts.counts > 0) & (table == UNKNOWN))
    if strange.size:
        share = facts.counts[strange].sum() / label.size
        facts.problems.append(
            (
                "ids outside the table",
                str(pair[1]),
                f"{pair[1]}: label ids {strange.tolist()}, {share:.2%} of its pixels",
            )
        )
    facts.right_of = list(_sides(label, table, mirror_pairs))
    return facts


def _content(path: Path, facts: Facts) -> bytes | None:
    try:
        return content(path)
    except UserError as error:
        facts.problems.append(("image cannot be read", str(path), str(error)))
        return None


def _image(path: Path, found: bytes, facts: Facts) -> Bytes | None:
    try:
        image = open_image(path, io.BytesIO(found))
        facts.image_mode, facts.size = image.mode, image.size
        decoded = decode_image(path, found)
        _note_orientation(path, found, facts)
        return decoded
    except UserError as error:
        facts.problems.append(("image cannot be read", str(path), str(error)))
        return None


def _label(pair: Pair, facts: Facts, table: Bytes) -> Bytes | None:
    try:
        refuse_missing_label(pair)
    except UserError as error:
        facts.problems.append(("image without its label", str(pair[0]), str(error)))
        return None
    try:
        found = content(pair[1])
        facts.label_mode = open_image(pair[1], io.BytesIO(found)).mode
        decoded = decode_label(pair[1], found, table)
        _note_orientation(pair[1], found, facts)
        return decoded
    except UserError as error:
        facts.problems.append(("label cannot be read", str(pair[1]), str(error)))
        return None


def _note_orientation(path: Path, found: bytes, facts: Facts) -> None:
    if (orientation := orientation_of(path, io.BytesIO(found))) != 1:
        facts.turned.append((str(path), orientation))


def _histogram(label: Bytes) -> NDArray[np.int64]:
    rows = max(1, _EXACT // max(1, label.shape[1]))
    parts = [label[top : top + rows] for top in range(0, len(label), rows)]
    counts = [cv2.calcHist([part], [0], None, [256], [0, 256]).astype(np.int64).ravel() for part in parts]
    return np.asarray(np.sum(counts, 0))


def _sides(label: Bytes, table: Bytes, mirror_pairs: Sequence[tuple[int, int]]) -> Iterator[bool | None]:
    if not mirror_pairs:
        return
    classes, columns = cv2.LUT(label, table), np.arange(label.shape[1])
    for pair in mirror_pairs:
        left, right = ((classes == part).sum(0) for part in pair)
        both = left.any() and right.any()
        yield bool((left @ columns) / left.sum() > (right @ columns) / right.sum()) if both else None
