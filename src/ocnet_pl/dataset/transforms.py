"""Training transforms: albumentations, with the scale and the crop taken in one step."""

import os
from collections.abc import Sequence
from typing import Any

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # it asks the network for its own version on import

import albumentations as A
import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from ocnet_pl.dataset.reading import Wanted, Window
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
        crop_size: (height, width) of what comes out.
        scale: bounds of the uniform scale.
        scale_step: draw one of lower bound, lower bound + step, ..., upper bound in place of any between.
        label_fill: id that padding gets in the label, before decoding.
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


class Resize(A.DualTransform):
    """To a fixed size, the aspect not kept, resampled as in testing. (H, W, C) -> (height, width, C).

    Args:
        size: (height, width) of what comes out.
    """

    def __init__(self, size: Sequence[int]) -> None:
        super().__init__(p=1.0)
        self.size = tuple(size)

    def get_params_dependent_on_data(self, params: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
        return {"size": self.size}

    def apply(self, img: Bytes, size: Size, **params: Any) -> Bytes:
        pixels = resize_image(torch.tensor(img).permute(2, 0, 1).unsqueeze(0), size)[0]
        return np.asarray(pixels.permute(1, 2, 0).numpy())

    def apply_to_mask(self, mask: Bytes, size: Size, **params: Any) -> Bytes:
        return np.asarray(cv2.resize(mask, size[::-1], interpolation=cv2.INTER_NEAREST_EXACT), np.uint8)


class ResizeShortSide(Resize):
    """The short side to one of a few lengths, the same for all images of a batch (CSAIL's ADE20K loader).

    Args:
        short_sides: lengths to draw from, in pixels.
        max_long_side: the long side becomes no longer.
        seed: seed of the run; the draw depends on it and on the number of the batch.
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
    """Half of the images mirrored, and in their labels left and right exchanged.

    Args:
        mirroring: stored id -> stored id in the mirrored image, (256,) uint8; None: nothing has a side.
        p: probability.
    """

    def __init__(self, mirroring: Bytes | None = None, p: float = 0.5) -> None:
        super().__init__(p=p)
        self.mirroring = mirroring

    def apply_to_mask(self, mask: Bytes, **params: Any) -> Bytes:
        mirrored: Bytes = self.apply(mask, **params)
        return mirrored if self.mirroring is None else np.asarray(cv2.LUT(mirrored, self.mirroring), np.uint8)


def window_of(transform: A.Compose, seed: int) -> Wanted | None:
    """The part of an image that a training transform of this seed looks at, so that no more is decoded; None: all."""
    first = transform.transforms[0]
    if not isinstance(first, RandomScaleCrop):
        return None

    def wanted(height: int, width: int) -> Window:
        transform.set_random_seed(seed)
        drawn: Window = first.get_params_dependent_on_data({"shape": (height, width)}, {})["window"]
        return drawn

    return wanted


def training_transform(
    geometry: Sequence[A.BasicTransform], augment: Sequence[Any] = (), mirroring: Bytes | None = None
) -> A.Compose:
    """Transform of training: to the training size, flip, and the user's augmentation.

    Call `set_random_seed` before every sample: from then on the draw depends on nothing else.
    """
    return A.Compose([*geometry, HorizontalFlip(mirroring), *augment])
