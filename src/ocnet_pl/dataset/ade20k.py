"""ADE20K, the scene parsing benchmark (Zhou et al. 2017), in the original folder `ADEChallengeData2016`."""

import csv
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any

import albumentations as A
import numpy as np
from pydantic import Field

from ocnet_pl.arguments import Name, Positive, checked
from ocnet_pl.dataset.data_module import SegmentationDataModule
from ocnet_pl.dataset.labels import decoding_table, grouped
from ocnet_pl.dataset.listing import files_below
from ocnet_pl.dataset.reading import Bytes, Pair, read_size
from ocnet_pl.dataset.transforms import ResizeShortSide
from ocnet_pl.errors import UserError
from ocnet_pl.metrics import IGNORE, Absent
from ocnet_pl.resizing import Size, round_up, short_side_size

_FOLDERS = {"train": "training", "val": "validation", "test": "testing"}
_CLASSES = list(csv.DictReader(Path(__file__).with_name("ade20k_classes.csv").read_text("utf-8").splitlines()))


class ADE20K(SegmentationDataModule):
    """150 classes, `images/<split>/ADE_*.jpg` with `annotations/<split>/ADE_*.png`; stored id 0 is ignored.

    Splits: train, val, and test, which has no labels: the folder `release_test`, in `root` or beside it. The protocol
    is that of CSAIL's code, which the paper used: whole images, the short side drawn once for each batch of a process,
    all images of a global batch in one orientation.

    Args:
        root: the folder `ADEChallengeData2016`.
        short_sides: lengths that the short side of training images is drawn from, in pixels.
        max_long_side: upper bound of the long side, in training and testing.
        test_short_side: short side in testing; the sides are then rounded up to a multiple of 8.
        settings: arguments of `SegmentationDataModule`.
    """

    classes: tuple[str, ...] = tuple(row["name"] for row in _CLASSES)
    palette: Bytes = np.array([[row[channel] for channel in ("red", "green", "blue")] for row in _CLASSES], np.uint8)
    table: Bytes = decoding_table({0: IGNORE, **{int(row["id"]): int(row["id"]) - 1 for row in _CLASSES}})
    # The benchmark has no groups: those of ade20k_classes.csv are ours, made by meaning.
    class_tree: Mapping[str, Sequence[int]] | None = MappingProxyType(grouped([row["group"] for row in _CLASSES]))
    published_counts: Mapping[str, int] = MappingProxyType({"train": 20210, "val": 2000, "test": 3352})
    pad_multiple = 8
    absent_classes: Absent = "zero"  # the benchmark's utils_eval.py

    @checked
    def __init__(
        self,
        root: Name,
        *,
        short_sides: Annotated[Sequence[Positive], Field(min_length=1)] = (300, 375, 450, 525, 600),
        max_long_side: Positive = 1000,
        test_short_side: Positive = 450,
        **settings: Any,
    ) -> None:
        super().__init__(root, **settings)
        self.short_sides = tuple(short_sides)
        self.max_long_side = max_long_side
        self.test_short_side = test_short_side

    def candidates(self, split: str) -> list[Pair]:
        if split not in _FOLDERS:
            raise UserError(f"ADE20K has no split {split!r}; choose one of {', '.join(_FOLDERS)}")
        folder = self._released() if split == "test" else self.root / "images" / _FOLDERS[split]
        images = [path for path in files_below(folder) if path.parent == folder and path.match("ADE_*.jpg")]
        if not images:
            raise UserError(
                f"{self.root}: no images in {folder}; expected the tree ADEChallengeData2016 with "
                "images/{training,validation}/ADE_*.jpg and annotations/{training,validation}/ADE_*.png, and for the "
                "split test release_test/testing/ADE_*.jpg"
            )
        labels = self.root / "annotations" / folder.name
        return [(image, labels / f"{image.stem}.png") for image in images]

    def _released(self) -> Path:
        """Folder of the test images, whose own archive unpacks to `release_test`."""
        inside = self.root / "release_test" / _FOLDERS["test"]
        return inside if inside.is_dir() else self.root.parent / "release_test" / _FOLDERS["test"]

    def geometry(self) -> list[A.BasicTransform]:
        return [ResizeShortSide(self.short_sides, self.max_long_side, self.seed)]

    def groups(self, pairs: Sequence[Pair]) -> Sequence[int]:
        with ThreadPoolExecutor() as pool:
            sizes = pool.map(read_size, [image for image, _ in pairs])
            return [int(height > width) for height, width in sizes]

    def test_size(self, height: int, width: int) -> Size:
        return round_up(short_side_size(height, width, self.test_short_side, self.max_long_side), self.pad_multiple)
