"""Your own images and masks."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import matplotlib as mpl
import numpy as np
from pydantic import Field

from ocnet_pl.arguments import Byte, Name, checked, refuse
from ocnet_pl.dataset.data_module import SegmentationDataModule
from ocnet_pl.dataset.labels import UNKNOWN, decoding_table
from ocnet_pl.dataset.listing import files_below, is_file, read_list
from ocnet_pl.dataset.reading import IMAGE_SUFFIXES, Bytes, Pair
from ocnet_pl.errors import UserError
from ocnet_pl.metrics import IGNORE

Colour = Annotated[Sequence[Byte], Field(min_length=3, max_length=3)]
_MASK_SUFFIXES = (".png", ".bmp", ".tif", ".tiff")
"""Formats of masks; JPEG is not among them because it changes ids."""


class Folder(SegmentationDataModule):
    """A folder of images and a folder of masks with the same names; see "Your own images" in the README.

    A split is a sub-folder of both (`images/train` with `masks/train`), or a list file beside them (`train.txt`: names
    without suffix, one per line). If both exist, the list is used.

    Args:
        root: folder that contains both.
        classes: names, in the order of the train ids.
        images: folder of the images, below `root`.
        masks: folder of the masks, below `root`: one 8-bit channel, or a palette.
        palette: RGB of every class; None: matplotlib's `tab20`, beyond 20 classes `hsv`.
        ids: stored id of every class; None: 0, 1, ...
        ignore_id: stored id to ignore; 255 is always ignored, unless it is a class.
        mirror_pairs: pairs of class names that a horizontal flip exchanges, (left, right).
        class_tree: names of the classes in each group, by the group's name, for heads with a hierarchy of classes.
        body_parts: names of the classes that make each part of the body, by the part's name, for structure losses.
        settings: arguments of `SegmentationDataModule`.
    """

    @checked
    def __init__(
        self,
        root: Name,
        *,
        classes: Sequence[str],
        images: Name = "images",
        masks: Name = "masks",
        palette: Sequence[Colour] | None = None,
        ids: Sequence[Byte] | None = None,
        ignore_id: Byte | None = None,
        mirror_pairs: Sequence[Annotated[Sequence[str], Field(min_length=2, max_length=2)]] = (),
        class_tree: Mapping[str, Sequence[str]] | None = None,
        body_parts: Mapping[str, Sequence[str]] | None = None,
        **settings: Any,
    ) -> None:
        self.classes = tuple(classes)
        if not 0 < len(set(self.classes)) == len(self.classes) < UNKNOWN:
            raise refuse("classes", classes, f"1 to {UNKNOWN - 1} names, each once")
        stored = list(range(len(self.classes)) if ids is None else ids)
        if not len(set(stored)) == len(self.classes) == len(stored):
            raise refuse("ids", stored, f"one id for each of the {len(self.classes)} classes, each once")
        if ignore_id in stored:
            raise refuse("ignore_id", ignore_id, "an id that is not a class, or null")
        self.table = _table(stored, ignore_id)
        self.palette = _default_palette(len(self.classes)) if palette is None else _palette(palette, len(self.classes))
        self.mirror_pairs = _pairs(mirror_pairs, self.classes)
        self.class_tree = None if class_tree is None else _tree(class_tree, self.classes)
        self.body_parts = None if body_parts is None else _parts(body_parts, self.classes)
        super().__init__(root, **settings)
        self.images = images
        self.masks = masks

    @property
    def title(self) -> str:
        return self.root.resolve().name or super().title

    def candidates(self, split: str) -> list[Pair]:
        listed = self.root / f"{split}.txt"
        images, masks = self.root / self.images, self.root / self.masks
        if is_file(listed):
            return _listed_pairs(listed, images, masks)
        images, masks = images / split, masks / split
        if images.is_dir():
            image_files, mask_files = _files(images, IMAGE_SUFFIXES), _files(masks, _MASK_SUFFIXES)
            if not image_files:
                raise UserError(f"{images}: contains no images; expected names that end in {', '.join(IMAGE_SUFFIXES)}")
            return [(image, mask_files.get(name, masks / f"{name}.png")) for name, image in image_files.items()]
        raise UserError(
            f"{self.root}: no split {split!r}; expected images in {images} with masks in {masks}, "
            f"or their names in {listed}"
        )

    def has_image(self, label: Path) -> bool:
        # Masks of one folder may belong to lists other than those of training and validation.
        image = self.root / self.images / label.relative_to(self.root / self.masks)
        return any(is_file(image.with_suffix(end)) for suffix in IMAGE_SUFFIXES for end in (suffix, suffix.upper()))

    def submission_name(self, image: Path) -> str:
        # No test server; names of images are unique below `images` only.
        return image.relative_to(self.root / self.images).with_suffix(".png").as_posix()


def _listed_pairs(listed: Path, images: Path, masks: Path) -> list[Pair]:
    image_files, mask_files = _files(images, IMAGE_SUFFIXES), _files(masks, _MASK_SUFFIXES)
    names = read_list(listed)
    for name in names:
        if name not in image_files and is_file(images / name):
            short = Path(name).with_suffix("").as_posix()
            raise UserError(f"{listed}: {name!r} has a suffix; write {short!r}, and no suffix in any other line")
    return [(image_files.get(name, images / name), mask_files.get(name, masks / f"{name}.png")) for name in names]


def _files(folder: Path, suffixes: Sequence[str]) -> dict[str, Path]:
    """Sorted files below a folder, by name without suffix."""
    found: dict[str, Path] = {}
    for path in files_below(folder):
        if path.suffix.lower() in suffixes:
            name = path.relative_to(folder).with_suffix("").as_posix()
            if name in found:
                raise UserError(f"{path}: {found[name].name} has the same name; keep one of the two")
            found[name] = path
    return found


def _table(stored: Sequence[int], ignore_id: int | None) -> Bytes:
    train_ids = {stored_id: train_id for train_id, stored_id in enumerate(stored)}
    if ignore_id is not None:
        train_ids[ignore_id] = IGNORE
    if IGNORE in stored and ignore_id is None:
        # Padding needs an ignored stored id.
        train_ids[max(set(range(256)) - set(stored))] = IGNORE
    return decoding_table(train_ids)


def _default_palette(count: int) -> Bytes:
    # The last colour of hsv is its first again.
    name, length = ("tab20", 20) if count <= 20 else ("hsv", count + 1)
    colours = mpl.colormaps[name].resampled(length)
    return np.round(255 * colours(np.arange(count))[:, :3]).astype(np.uint8)


def _palette(palette: Sequence[Sequence[int]], count: int) -> Bytes:
    colours = np.array(palette, np.uint8)
    if len(palette) != count:
        raise refuse("palette", palette, f"{count} colours [red,green,blue], one for each class")
    if count > 1 and colours.max() <= 1:
        raise refuse("palette", palette, "numbers from 0 to 255, not from 0 to 1")
    return colours


def _pairs(named: Sequence[Sequence[str]], classes: Sequence[str]) -> tuple[tuple[int, int], ...]:
    names = [name for pair in named for name in pair]
    if not set(names) <= set(classes) or len(set(names)) < len(names):
        raise refuse(
            "mirror_pairs", named, "pairs of two different classes, [left,right], each class in one pair at most"
        )
    return tuple((classes.index(left), classes.index(right)) for left, right in named)


def _tree(named: Mapping[str, Sequence[str]], classes: Sequence[str]) -> dict[str, tuple[int, ...]]:
    names = [name for group in named.values() for name in group]
    if sorted(names) != sorted(classes) or not all(named.values()):
        odd = sorted({*names} ^ {*classes}) or sorted({name for name in names if names.count(name) > 1}) or ["none"]
        raise refuse("class_tree", dict(named), f"each class in one group, and no group empty; see {', '.join(odd)}")
    return _train_ids(named, classes)


def _parts(named: Mapping[str, Sequence[str]], classes: Sequence[str]) -> dict[str, tuple[int, ...]]:
    names = [name for part in named.values() for name in part]
    if not names or not set(names) <= set(classes) or len(set(names)) < len(names) or not all(named.values()):
        raise refuse("body_parts", dict(named), "parts of one class or more, each class in one part at most")
    return _train_ids(named, classes)


def _train_ids(named: Mapping[str, Sequence[str]], classes: Sequence[str]) -> dict[str, tuple[int, ...]]:
    return {group: tuple(classes.index(name) for name in members) for group, members in named.items()}
