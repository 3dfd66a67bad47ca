"""Training and evaluation pipelines: albumentations, with the scale and the crop taken in one step."""

import os
from collections.abc import Sequence
from typing import Any

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # it asks the network for its own version on import

import albumentations as A
import cv2
import numpy as np
from numpy.typing import NDArray

from ocnet_pl.metrics import IGNORE

Bytes = NDArray[np.uint8]
MEAN_COLOUR = (124, 116, 104)
"""The mean of ImageNet: padding that the network's normalisation turns into zero."""


class RandomScaleCrop(A.DualTransform):
    """Random scale, then a random crop of fixed size, padded at the right and the bottom.

    Drawn as scale-then-crop does, computed the other way round: the window of the source that becomes the crop
    is cut out first and only that is resized. (H, W, C) -> (crop_height, crop_width, C).

    Args:
        crop_size: (height, width) of what comes out.
        scale: bounds of the uniform scale.
        label_fill: id that padding gets in the label, before decoding.
    """

    def __init__(self, crop_size: Sequence[int], scale: Sequence[float], label_fill: int = IGNORE) -> None:
        super().__init__(p=1.0)
        self.crop_size = tuple(crop_size)
        self.scale = tuple(scale)
        self.label_fill = label_fill

    def get_params_dependent_on_data(self, params: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
        scale = self.random_generator.uniform(*self.scale)
        window, target = [], []
        for side, crop in zip(params["shape"][:2], self.crop_size, strict=True):
            length = min(side, max(1, round(crop / scale)))
            start = int(self.random_generator.integers(side - length + 1))
            window.append((start, start + length))
            # A side shorter than its window is kept whole and padded; the other way the window fills the crop.
            target.append(crop if length < side or round(side * scale) >= crop else max(1, round(side * scale)))
        return {"window": tuple(window), "target": tuple(target)}

    def apply(self, img: Bytes, window: Any, target: Any, **params: Any) -> Bytes:
        return self._cut(img, window, target, cv2.INTER_LINEAR, MEAN_COLOUR)

    def apply_to_mask(self, mask: Bytes, window: Any, target: Any, **params: Any) -> Bytes:
        # INTER_NEAREST shifts masks by up to a pixel; the exact variant does not.
        return self._cut(mask, window, target, cv2.INTER_NEAREST_EXACT, self.label_fill)

    def _cut(self, array: Bytes, window: Any, target: Any, interpolation: int, fill: Any) -> Bytes:
        (top, bottom), (left, right) = window
        cut = cv2.resize(array[top:bottom, left:right], target[::-1], interpolation=interpolation)
        below, beside = self.crop_size[0] - target[0], self.crop_size[1] - target[1]
        if below or beside:
            cut = cv2.copyMakeBorder(cut, 0, below, 0, beside, cv2.BORDER_CONSTANT, value=fill)
        return np.asarray(cut, np.uint8)


def training_transform(
    crop_size: Sequence[int], scale: Sequence[float], extra: Sequence[A.BasicTransform] = ()
) -> A.Compose:
    """Scale, crop, flip (the paper's), and whatever else the dataset's YAML lists under `augment`.

    Call `set_random_seed` before every sample: from then on the draw depends on nothing else.
    """
    return A.Compose([RandomScaleCrop(crop_size, scale), A.HorizontalFlip(p=0.5), *extra])
