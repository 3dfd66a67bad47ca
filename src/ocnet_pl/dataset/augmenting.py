"""Augmentation of the user: checks of what it does to images, labels and targets."""

import copy
from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

import albumentations as A
import cv2
import numpy as np

from ocnet_pl.dataset.labels import UNKNOWN, ignored_id
from ocnet_pl.dataset.reading import Bytes
from ocnet_pl.dataset.targets import Targets, albumentations_kinds
from ocnet_pl.dataset.transforms import compose
from ocnet_pl.errors import UserError
from ocnet_pl.metrics import IGNORE

Transform: TypeAlias = "A.BasicTransform | A.core.composition.BaseCompose"

_FILLS = ("fill_mask", "mask_drop_value")
"""Attributes of transforms that hold the id of pixels without a source; None: pixels keep their id."""
_NEAREST = (cv2.INTER_NEAREST, cv2.INTER_NEAREST_EXACT)
_MIRRORING = (A.HorizontalFlip, A.VerticalFlip, A.Transpose, A.D4, A.SquareSymmetry, A.TimeReverse)
_TRIALS = 4
_SIZE = (512, 512)


def safe_augment(
    augment: Sequence[Transform], table: Bytes, size: Sequence[int], sided: bool, targets: Targets | None = None
) -> list[Transform]:
    """Copies of transforms that keep images uint8 and give no class to pixels without a source.

    Pixels of a label without a source, e.g. the corners of a rotated image, get an id that is ignored. Each transform
    is tried on a small sample, so that an unsuitable one is refused before the training.

    Args:
        augment: albumentations transforms and compositions of them.
        table: stored id -> train id, (256,).
        size: (height, width) of the images, empty if they differ.
        sided: left and right are classes, or keypoints, of their own.
        targets: targets of the samples by name.

    Raises:
        UserError: a transform that does something else to images, labels or targets.
    """
    safe = copy.deepcopy(list(augment))
    for transform in _leaves(safe):
        if sided and isinstance(transform, _MIRRORING):
            raise _refusal(transform, "mirrors images without exchanging left and right in labels", "leave it out")
        if getattr(transform, "mask_interpolation", cv2.INTER_NEAREST) not in _NEAREST:
            raise _refusal(transform, "interpolates between ids of labels", "leave mask_interpolation out")
        for fill in _FILLS:
            if getattr(transform, fill, None) is not None and not _is_ignored(getattr(transform, fill), table):
                setattr(transform, fill, ignored_id(table))
        _try(transform, table, tuple(size) or _SIZE, targets or {})
    return safe


def fault_of_sample(image: Any, label: Any) -> str | None:
    """Reason why a sample is not an RGB image of bytes with a label of its size; None: it is."""
    for name, array, shape in (("image", image, "(H, W, 3)"), ("label", label, "(H, W)")):
        if not isinstance(array, np.ndarray) or array.dtype != np.uint8:
            kind = array.dtype if isinstance(array, np.ndarray) else type(array).__name__
            return f"gives {name}s of {kind}, expected uint8: the network normalises images itself"
        if array.shape[2:] != ((3,) if name == "image" else ()) or array.ndim < 2:
            return f"gives {name}s of shape {array.shape}, expected {shape}"
    return None if image.shape[:2] == label.shape else f"gives images of {image.shape} with labels of {label.shape}"


def _leaves(transforms: Sequence[Any]) -> Iterator[A.BasicTransform]:
    for transform in transforms:
        if isinstance(transform, A.BasicTransform):
            yield transform
        elif isinstance(transform, A.core.composition.BaseCompose):
            yield from _leaves(transform.transforms)
        else:
            raise UserError(
                f"augment: {transform!r} is not a transform of albumentations; give e.g. "
                "{_target_: albumentations.HueSaturationValue}"
            )


def _is_ignored(fill: Any, table: Bytes) -> bool:
    ids = np.atleast_1d(np.asarray(fill))
    return bool(np.isin(ids, np.flatnonzero(table == IGNORE)).all())


def _try(transform: A.BasicTransform, table: Bytes, size: tuple[int, ...], targets: Targets) -> None:
    """Apply a copy that always acts to a sample of one class beside ignored pixels: no third id may appear."""
    class_id, ignored = int(np.flatnonzero((table != UNKNOWN) & (table != IGNORE))[-1]), ignored_id(table)
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    label = np.full(size, class_id, np.uint8)
    label[size[0] // 2 :, size[1] // 2 :] = ignored
    more = {
        name: np.zeros(size, np.float32) if kind == "mask" else np.ones((1, 3), np.float32)
        for name, kind in albumentations_kinds(targets).items()
    }
    always = copy.deepcopy(transform)
    always.p = 1.0
    alone = compose([always], targets)
    for seed in range(_TRIALS):
        alone.set_random_seed(seed)
        try:
            sample = alone(image=image.copy(), mask=label.copy(), batch=0, **more)
        except Exception as error:  # e.g. images that are too small, or data that the transform lacks
            why = f"fails on an image of {size[1]}x{size[0]} ({' '.join(str(error).split())})"
            raise _refusal(transform, why, "change it or leave it out") from error
        if fault := fault_of_sample(sample["image"], sample["mask"]):
            raise _refusal(transform, fault, "leave it out")
        ids = np.unique(sample["mask"])
        if wrong := ids[(ids != class_id) & (table[ids] != IGNORE)].tolist():
            raise _refusal(transform, f"gives labels the ids {wrong}, which their images do not show", "leave it out")


def _refusal(transform: A.BasicTransform, why: str, remedy: str) -> UserError:
    return UserError(f"augment: {type(transform).__name__} {why}; {remedy}")
