"""Cityscapes (Cordts et al. 2016), in the official folders."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np
from torchvision.datasets import Cityscapes as Official

from ocnet_pl.dataset.data_module import SegmentationDataModule
from ocnet_pl.dataset.labels import decoding_table
from ocnet_pl.dataset.listing import files_below
from ocnet_pl.dataset.reading import Bytes, Pair
from ocnet_pl.errors import UserError
from ocnet_pl.metrics import IGNORE

_TRAINED = sorted((c for c in Official.classes if not c.ignore_in_eval), key=lambda c: c.train_id)
_SPLITS = {
    "train": ("train",),
    "val": ("val",),
    "trainval": ("train", "val"),
    "test": ("test",),
    "train_extra": ("train_extra",),
}


class Cityscapes(SegmentationDataModule):
    """19 classes, `leftImg8bit/<split>/<city>/*_leftImg8bit.png` with `gtFine/.../*_gtFine_labelIds.png`.

    Splits: train, val, trainval, test (its labels are all ignored), and train_extra, whose labels are coarse:
    `gtCoarse/.../*_gtCoarse_labelIds.png`.
    """

    classes: tuple[str, ...] = tuple(c.name for c in _TRAINED)
    palette: Bytes = np.array([c.color for c in _TRAINED], np.uint8)
    # The authors' class-balance weights (utils/criterion.py), in the order of the train ids.
    class_weights: tuple[float, ...] = (
        0.8373, 0.9180, 0.8660, 1.0345, 1.0166, 0.9969, 0.9754, 1.0489, 0.8786, 1.0023,
        0.9539, 0.9843, 1.1116, 0.9037, 1.0865, 1.0955, 1.0865, 1.1529, 1.0507,
    )  # fmt: skip
    table: Bytes = decoding_table({c.id % 256: IGNORE if c.ignore_in_eval else c.train_id for c in Official.classes})
    published_counts: Mapping[str, int] = MappingProxyType(
        {"train": 2975, "val": 500, "test": 1525, "train_extra": 19998}
    )

    def candidates(self, split: str) -> list[Pair]:
        if split not in _SPLITS:
            raise UserError(f"Cityscapes has no split {split!r}; choose one of {', '.join(_SPLITS)}")
        return [pair for part in _SPLITS[split] for pair in self._candidates_of_folder(part)]

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


def _quality(part: str) -> str:
    return "gtCoarse" if part == "train_extra" else "gtFine"
