"""Look Into Person (Gong et al. 2017), in the folders of its archives."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import albumentations as A
import numpy as np

from ocnet_pl import resizing
from ocnet_pl.arguments import Name, Size, checked
from ocnet_pl.dataset.data_module import SegmentationDataModule
from ocnet_pl.dataset.labels import decoding_table, grouped
from ocnet_pl.dataset.listing import read_list
from ocnet_pl.dataset.poses import PoseFiles
from ocnet_pl.dataset.reading import Bytes, Pair
from ocnet_pl.dataset.targets import TargetFault, Targets
from ocnet_pl.dataset.transforms import Resize
from ocnet_pl.errors import UserError

_IMAGES, _LABELS, _TEST = "TrainVal_images", "TrainVal_parsing_annotations", "Testing_images"
_POSES = "TrainVal_pose_annotations"

# Names and colours of CE2P (utils/miou.py) and JPPNet (utils/utils.py).
_CLASSES = {
    "Background": (0, 0, 0), "Hat": (128, 0, 0), "Hair": (255, 0, 0), "Glove": (0, 85, 0),
    "Sunglasses": (170, 0, 51), "Upper-clothes": (255, 85, 0), "Dress": (0, 0, 85), "Coat": (0, 119, 221),
    "Socks": (85, 85, 0), "Pants": (0, 85, 85), "Jumpsuits": (85, 51, 0), "Scarf": (52, 86, 128),
    "Skirt": (0, 128, 0), "Face": (0, 0, 255), "Left-arm": (51, 170, 221), "Right-arm": (0, 255, 255),
    "Left-leg": (85, 255, 170), "Right-leg": (170, 255, 85), "Left-shoe": (255, 255, 0), "Right-shoe": (255, 170, 0),
}  # fmt: skip


# Ours, by part of the body: LIP has no groups.
_GROUPS = {
    "background": ("Background",),
    "head": ("Hat", "Hair", "Sunglasses", "Face"),
    "upper body": ("Upper-clothes", "Dress", "Coat", "Jumpsuits", "Scarf"),
    "lower body": ("Pants", "Skirt"),
    "arm": ("Glove", "Left-arm", "Right-arm"),
    "leg": ("Left-leg", "Right-leg"),
    "foot": ("Socks", "Left-shoe", "Right-shoe"),
}
_GROUP_OF = {name: group for group, names in _GROUPS.items() for name in names}

# Merged classes of Attention+SSL, whose centres stand for joints; SS-NAN uses the same.
_BODY_PARTS = {
    "head": ("Hat", "Hair", "Sunglasses", "Face"),
    "upper clothes": ("Upper-clothes", "Coat", "Scarf"),
    "lower clothes": ("Pants", "Skirt"),
    **{
        name.lower().replace("-", " "): (name,)
        for name in ("Left-arm", "Right-arm", "Left-leg", "Right-leg", "Left-shoe", "Right-shoe")
    },
}


class LIP(SegmentationDataModule):
    """20 classes, including the background; left and right limbs are different classes.

    Splits: train, val, and test, which has no labels. Images are resized to one size, without keeping the aspect ratio,
    in training and testing.

    Args:
        root: folder of the archives `TrainVal_images` and `TrainVal_parsing_annotations`, and for the split test
            `Testing_images`. Each may lie one folder deeper, in a folder of the same name; or `root` contains their
            content directly, as CE2P expects it.
        size: (height, width) of every image, before scale and crop.
        poses: training samples carry the target "pose", (16, 3) float32: x, y and visibility of the joints; NaN,
            NaN and 0 where one is missing or outside the sample. They are read from `lip_train_set.csv` or
            `lip_val_set.csv` in `TrainVal_pose_annotations` or `root`.
        settings: arguments of `SegmentationDataModule`.
    """

    classes: tuple[str, ...] = tuple(_CLASSES)
    palette: Bytes = np.array(list(_CLASSES.values()), np.uint8)
    mirror_pairs: tuple[tuple[int, int], ...] = ((14, 15), (16, 17), (18, 19))
    class_tree: Mapping[str, Sequence[int]] | None = MappingProxyType(grouped([_GROUP_OF[name] for name in _CLASSES]))
    body_parts: Mapping[str, Sequence[int]] | None = MappingProxyType(
        {part: tuple(list(_CLASSES).index(name) for name in names) for part, names in _BODY_PARTS.items()}
    )
    table: Bytes = decoding_table({train_id: train_id for train_id in range(len(_CLASSES))})
    published_counts: Mapping[str, int] = MappingProxyType({"train": 30462, "val": 10000, "test": 10000})

    @checked
    def __init__(self, root: Name, *, size: Size = (473, 473), poses: bool = False, **settings: Any) -> None:
        super().__init__(root, **settings)
        self.size = (size[0], size[1])
        self.pose_files = PoseFiles(self._folders(_POSES)) if poses else None
        if self.pose_files is not None:
            self.targets = {"pose": self.pose_files.target()}

    def candidates(self, split: str) -> list[Pair]:
        if split not in self.published_counts:
            raise UserError(f"LIP has no split {split!r}; choose one of {', '.join(self.published_counts)}")
        archive = _TEST if split == "test" else _IMAGES
        listed = self._find(archive, f"{split}_id.txt")
        if split == "test":
            images, labels = self._find(archive, "testing_images", "test_images"), self.root / _LABELS / split
        else:
            images, labels = self._find(archive, f"{split}_images"), self._find(_LABELS, f"{split}_segmentations")
        names = read_list(listed)
        return [(images / f"{name}.jpg", labels / f"{name}.png") for name in names]

    def pairs(self, split: str) -> list[Pair]:
        pairs = super().pairs(split)
        if self.pose_files is not None and split == self.train_split:
            self.pose_files.refuse_missing(split, [image for image, _ in pairs])
        return pairs

    def targets_of(self, split: str) -> Targets:
        has_poses = self.pose_files is not None and (split == self.train_split or self.pose_files.has(split))
        return self.targets if has_poses else {}

    def target_faults(self, split: str, images: Sequence[Path]) -> Iterator[TargetFault]:
        if self.pose_files is not None and self.targets_of(split):
            yield from self.pose_files.faults(split, images)

    def _folders(self, archive: str) -> tuple[Path, Path, Path]:
        return self.root / archive, self.root / archive / archive, self.root

    def _find(self, archive: str, *names: str) -> Path:
        for folder in self._folders(archive):
            for name in names:
                if (folder / name).exists():
                    return folder / name
        raise UserError(
            f"{self.root}: no {names[0]} in {archive}; expected the official archives, "
            f"{_IMAGES}/{{train_images,val_images,train_id.txt,val_id.txt}}, "
            f"{_LABELS}/{{train_segmentations,val_segmentations}} and, for the split test, "
            f"{_TEST}/{{testing_images,test_id.txt}}"
        )

    def geometry(self) -> list[A.BasicTransform]:
        return [Resize(self.size), *super().geometry()]

    def test_size(self, height: int, width: int) -> resizing.Size:
        return self.size
