"""Training transforms: albumentations, with the scale and the crop taken in one step."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # it asks the network for its own version on import

import albumentations as A
import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from ocnet_pl.dataset.targets import Array, Targets, albumentations_kinds
from ocnet_pl.metrics import IGNORE
from ocnet_pl.randomness import derive_seed
from ocnet_pl.resizing import Size, resize_image, short_side_size

Bytes = NDArray[np.uint8]
MEAN_COLOUR = (124, 116, 104)
"""The mean of ImageNet: padding that the network's normalisation turns into zero."""


class RandomScaleCrop(A.DualTransform):
    """Random scale, then a random crop of fixed size, padded at the right and the bottom.

    Drawn as scale-then-crop does, computed the other way round: the window of the source that becomes the crop
    is cut out first and only that is resized. (H, W, C) -> (crop_height, crop_width, C).

    Args:
        crop_size: (height, width) of the result.
        scale: bounds of the uniform scale.
        scale_step: draw one of lower bound, lower bound + step, ..., upper bound; None: any scale between the bounds.
        label_fill: id of padding in the label, before decoding.
    """

    def __init__(
        self,
        crop_size: Sequence[int],
        scale: Sequence[float],
        scale_step: float | None = None,
        label_fill: int = IGNORE,
    ) -> None:
        super().__init__(p=1.0)
        self.crop_size = tuple(crop_size)
        self.scale = tuple(scale)
        self.scale_step = scale_step
        self.label_fill = label_fill

    def get_params_dependent_on_data(self, params: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
        scale = self._draw_scale()
        window, target = [], []
        for side, crop in zip(params["shape"][:2], self.crop_size, strict=True):
            length = min(side, max(1, round(crop / scale)))
            start = int(self.random_generator.integers(side - length + 1))
            window.append((start, start + length))
            # A side shorter than its window is kept whole and padded; the other way the window fills the crop.
            target.append(crop if length < side or round(side * scale) >= crop else max(1, round(side * scale)))
        return {"window": tuple(window), "target": tuple(target)}

    def _draw_scale(self) -> float:
        low, high = self.scale
        if self.scale_step is None:
            return float(self.random_generator.uniform(low, high))
        steps = round((high - low) / self.scale_step)
        return float(low + self.scale_step * self.random_generator.integers(steps + 1))

    def apply(self, img: Bytes, window: Any, target: Any, **params: Any) -> Bytes:
        return self._cut(img, window, target, cv2.INTER_LINEAR, MEAN_COLOUR)

    def apply_to_mask(self, mask: Array, window: Any, target: Any, **params: Any) -> Array:
        # INTER_NEAREST shifts masks by up to a pixel; the exact variant does not.
        return self._cut(mask, window, target, cv2.INTER_NEAREST_EXACT, self.label_fill)

    def apply_to_keypoints(self, keypoints: Array, window: Any, target: Any, **params: Any) -> Array:
        (top, bottom), (left, right) = window
        return _moved(keypoints, (left, top), (target[1] / (right - left), target[0] / (bottom - top)))

    def _cut(self, array: Array, window: Any, target: Any, interpolation: int, fill: Any) -> Array:
        (top, bottom), (left, right) = window
        cut = cv2.resize(array[top:bottom, left:right], target[::-1], interpolation=interpolation)
        below, beside = self.crop_size[0] - target[0], self.crop_size[1] - target[1]
        if below or beside:
            cut = cv2.copyMakeBorder(cut, 0, below, 0, beside, cv2.BORDER_CONSTANT, value=fill)
        return np.asarray(cut)


class Resize(A.DualTransform):
    """Resize to a fixed size, without keeping the aspect ratio, as in testing. (H, W, C) -> (height, width, C).

    Args:
        size: (height, width) of the result.
    """

    def __init__(self, size: Sequence[int]) -> None:
        super().__init__(p=1.0)
        self.size = tuple(size)

    def get_params_dependent_on_data(self, params: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
        return {"size": self.size}

    def apply(self, img: Bytes, size: Size, **params: Any) -> Bytes:
        pixels = resize_image(torch.tensor(img).permute(2, 0, 1).unsqueeze(0), size)[0]
        return np.asarray(pixels.permute(1, 2, 0).numpy())

    def apply_to_mask(self, mask: Array, size: Size, **params: Any) -> Array:
        return np.asarray(cv2.resize(mask, size[::-1], interpolation=cv2.INTER_NEAREST_EXACT))

    def apply_to_keypoints(self, keypoints: Array, size: Size, **params: Any) -> Array:
        height, width = params["shape"][:2]
        return _moved(keypoints, (0, 0), (size[1] / width, size[0] / height))


class ResizeShortSide(Resize):
    """Resize the short side to one of a few lengths, the same for all images of a batch (CSAIL's ADE20K loader).

    Args:
        short_sides: lengths to draw from, in pixels.
        max_long_side: upper bound of the long side.
        seed: seed of the run; the draw depends on it and on the index of the batch.
    """

    def __init__(self, short_sides: Sequence[int], max_long_side: int, seed: int) -> None:
        super().__init__(())
        self.short_sides = tuple(short_sides)
        self.max_long_side = max_long_side
        self.run_seed = seed  # `seed` is albumentations', and changes with every sample

    @property
    def targets_as_params(self) -> list[str]:
        """Arguments of a call beside image and mask."""
        return ["batch"]

    def get_params_dependent_on_data(self, params: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
        height, width = params["shape"][:2]
        drawn = derive_seed(self.run_seed, "short side", data["batch"]) % len(self.short_sides)
        return {"size": short_side_size(height, width, self.short_sides[drawn], self.max_long_side)}


class HorizontalFlip(A.HorizontalFlip):
    """Mirror half of the images, and exchange left and right in labels and keypoints.

    Args:
        mirroring: stored id -> stored id in the mirrored image, (256,) uint8; None: no class has a side.
        mirror_pairs: pairs of keypoints to exchange, by name of the target.
        p: probability.
    """

    def __init__(
        self,
        mirroring: Bytes | None = None,
        mirror_pairs: Mapping[str, Sequence[tuple[int, int]]] | None = None,
        p: float = 0.5,
    ) -> None:
        super().__init__(p=p)
        self.mirroring = mirroring
        self.mirror_pairs = mirror_pairs or {}

    def apply_with_params(self, params: dict[str, Any], *args: Any, **data: Any) -> dict[str, Any]:
        """Sample that is mirrored, as albumentations calls it when the flip was drawn."""
        mirrored: dict[str, Any] = super().apply_with_params(params, *args, **data)
        if self.mirroring is not None and "mask" in mirrored:
            mirrored["mask"] = cv2.LUT(mirrored["mask"], self.mirroring)
        for name, pairs in self.mirror_pairs.items():
            order = np.arange(len(mirrored[name]))
            for left, right in pairs:
                order[[left, right]] = right, left
            mirrored[name] = mirrored[name][order]
        return mirrored


def training_transform(
    geometry: Sequence[A.BasicTransform],
    augment: Sequence[Any] = (),
    mirroring: Bytes | None = None,
    targets: Targets | None = None,
) -> A.Compose:
    """Compose the training transform: resize or crop to the training size, flip, and the user's augmentation.

    Call `set_random_seed` before every sample: from then on the draw depends on nothing else.

    Args:
        geometry: transforms to the training size.
        augment: transforms of the user.
        mirroring: stored id -> stored id in the mirrored image, (256,); None: no class has a side.
        targets: targets of the samples by name.
    """
    targets = targets or {}
    pairs = {name: target.mirror_pairs for name, target in targets.items() if target.kind == "keypoints"}
    return compose([*geometry, HorizontalFlip(mirroring, pairs), *augment], targets)


def compose(transforms: Sequence[Any], targets: Targets) -> A.Compose:
    """Compose transforms that the targets follow. Keypoints outside the image stay in their arrays."""
    kinds = albumentations_kinds(targets)
    points = A.KeypointParams(format="xy", remove_invisible=False) if "keypoints" in kinds.values() else None
    return A.Compose(list(transforms), additional_targets=kinds, keypoint_params=points)


def _moved(keypoints: Array, corner: tuple[int, int], factor: tuple[float, float]) -> Array:
    """Keypoints after a crop at (left, top) and a resize by (horizontal, vertical) factors, by pixel centres."""
    moved = keypoints.copy()
    moved[:, :2] = (keypoints[:, :2] + 0.5 - corner) * factor - 0.5
    return moved
