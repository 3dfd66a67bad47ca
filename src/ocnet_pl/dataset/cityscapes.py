"""Cityscapes (Cordts et al. 2016), in the official folders."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torchvision.datasets import Cityscapes as Official

from ocnet_pl.arguments import Name, checked
from ocnet_pl.dataset.data_module import SegmentationDataModule
from ocnet_pl.dataset.fingerprint import file_hash
from ocnet_pl.dataset.labels import decoding_table, grouped
from ocnet_pl.dataset.listing import files_below, is_file
from ocnet_pl.dataset.reading import Bytes, Pair, read_16_bit
from ocnet_pl.dataset.samples import SegmentationDataset
from ocnet_pl.dataset.targets import Target
from ocnet_pl.errors import UserError
from ocnet_pl.metrics import IGNORE

_TRAINED = sorted((c for c in Official.classes if not c.ignore_in_eval), key=lambda c: c.train_id)


class Cityscapes(SegmentationDataModule):
    """19 classes, `leftImg8bit/<split>/<city>/*_leftImg8bit.png` with `gtFine/.../*_gtFine_labelIds.png`.

    Splits: train, val, trainval, test (its labels are all ignored), and train_extra, whose labels are coarse:
    `gtCoarse/.../*_gtCoarse_labelIds.png`.

    Args:
        root: folder that contains `leftImg8bit` and `gtFine`.
        disparity: give training samples the target `disparity`, the values (H, W) of the official 16-bit files
            `disparity/<split>/<city>/*_disparity.png`; 0 is unknown. A value p > 0 is a disparity of (p - 1) / 256
            pixels of the image file, also in a scaled crop.
        settings: arguments of `SegmentationDataModule`.
    """

    classes: tuple[str, ...] = tuple(c.name for c in _TRAINED)
    palette: Bytes = np.array([c.color for c in _TRAINED], np.uint8)
    # The authors' class-balance weights (utils/criterion.py), in the order of the train ids.
    class_weights: tuple[float, ...] | None = (
        0.8373, 0.9180, 0.8660, 1.0345, 1.0166, 0.9969, 0.9754, 1.0489, 0.8786, 1.0023,
        0.9539, 0.9843, 1.1116, 0.9037, 1.0865, 1.0955, 1.0865, 1.1529, 1.0507,
    )  # fmt: skip
    table: Bytes = decoding_table({c.id % 256: IGNORE if c.ignore_in_eval else c.train_id for c in Official.classes})
    class_tree: Mapping[str, Sequence[int]] | None = MappingProxyType(grouped([c.category for c in _TRAINED]))
    published_counts: Mapping[str, int] = MappingProxyType(
        {"train": 2975, "val": 500, "test": 1525, "train_extra": 19998}
    )

    splits: Mapping[str, Sequence[str]] = MappingProxyType(
        {
            "train": ("train",),
            "val": ("val",),
            "trainval": ("train", "val"),
            "test": ("test",),
            "train_extra": ("train_extra",),
        }
    )
    """Folders of every split."""

    @checked
    def __init__(self, root: Name, *, disparity: bool = False, **settings: Any) -> None:
        super().__init__(root, **settings)
        self.disparity = disparity
        if disparity:
            self.targets = MappingProxyType(
                {**self.targets, "disparity": Target("mask", read_disparity, source=disparity_source)}
            )

    def training_set(self) -> SegmentationDataset:
        """Training split as the network gets it.

        Raises:
            UserError: missing files, also of a disparity.
        """
        dataset = super().training_set()
        if self.disparity:
            for image, _ in dataset.pairs:
                disparity_file(image)
        return dataset

    def candidates(self, split: str) -> list[Pair]:
        if split not in self.splits:
            raise UserError(f"{self.title} has no split {split!r}; choose one of {', '.join(self.splits)}")
        return [pair for part in self.splits[split] for pair in self._candidates_of_folder(part)]

    def submission_name(self, image: Path) -> str:
        return image.name.replace("_leftImg8bit", "_pred_labelIds")

    def _candidates_of_folder(self, part: str) -> list[Pair]:
        folder = self.root / "leftImg8bit" / part
        images = [
            path
            for path in files_below(folder)
            if path.parent.parent == folder and path.name.endswith("_leftImg8bit.png")
        ]
        if not images:
            raise UserError(
                f"{self.root}: no images in {folder}; expected the official tree "
                "leftImg8bit/<split>/<city>/<city>_<seq>_<frame>_leftImg8bit.png with "
                f"{_quality(part)}/<split>/<city>/<city>_<seq>_<frame>_{_quality(part)}_labelIds.png"
            )
        return [(image, self._label(image, part)) for image in images]

    def _label(self, image: Path, part: str) -> Path:
        name = image.name.replace("_leftImg8bit", f"_{_quality(part)}_labelIds")
        return self.root / _quality(part) / part / image.parent.name / name


def disparity_file(image: Path) -> Path:
    """Disparity file of an image.

    Raises:
        UserError: there is no such file.
    """
    # leftImg8bit/<split>/<city>/<name>
    tree, name = image.parents[3], image.name.replace("_leftImg8bit", "_disparity")
    path = tree / "disparity" / image.parent.relative_to(tree / "leftImg8bit") / name
    if not is_file(path):
        raise UserError(
            f"{image}: image without its disparity; expected {path}: unpack disparity_trainvaltest.zip in {tree}, "
            "or set disparity=false"
        )
    return path


def read_disparity(pair: Pair) -> NDArray[np.uint16]:
    """Values (H, W) of the disparity file of an image."""
    return read_16_bit(disparity_file(pair[0]))


def _quality(part: str) -> str:
    return "gtCoarse" if part == "train_extra" else "gtFine"


def disparity_source(pair: Pair) -> bytes:
    """Hash of the disparity file of an image, for the fingerprint of a run."""
    return file_hash(disparity_file(pair[0])).encode()
