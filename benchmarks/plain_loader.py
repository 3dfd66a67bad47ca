"""Naive loader of training samples, the baseline of the benchmark."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from ocnet_pl.dataset.reading import Bytes, Pair
from ocnet_pl.dataset.sampler import Draw
from ocnet_pl.dataset.transforms import MEAN_COLOUR
from ocnet_pl.metrics import IGNORE
from ocnet_pl.randomness import derive_seed

_MEAN = np.array([0.485, 0.456, 0.406], np.float32)
_SD = np.array([0.229, 0.224, 0.225], np.float32)


class PlainLoader:
    """Decode, look up the whole label, resize all of both, pad, crop, flip and normalise to float32.

    Args:
        pairs: files of image and label.
        table: stored id -> train id, (256,).
        crop_size: (height, width).
        scales: scale of each sample by its position, so that few samples cover the whole range.
        seed: seed of the crops and flips.
    """

    def __init__(
        self, pairs: Sequence[Pair], table: Bytes, crop_size: Sequence[int], scales: Sequence[float], seed: int
    ) -> None:
        self.pairs = pairs
        self.table = table
        self.crop_size = tuple(crop_size)
        self.scales = scales
        self.seed = seed

    def __getitem__(self, draw: Draw) -> dict[str, Tensor]:
        rng = np.random.default_rng(derive_seed(self.seed, "plain", draw.position))
        image_path, label_path = self.pairs[draw.image]
        image = cv2.cvtColor(decoded(image_path, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
        label = self.table[decoded(label_path, cv2.IMREAD_UNCHANGED)]
        scale = self.scales[draw.position]
        size = round(image.shape[1] * scale), round(image.shape[0] * scale)
        image = cv2.resize(image, size, interpolation=cv2.INTER_LINEAR)
        label = np.asarray(cv2.resize(label, size, interpolation=cv2.INTER_NEAREST), np.uint8)
        height, width = self.crop_size
        below, beside = max(0, height - size[1]), max(0, width - size[0])
        if below or beside:
            image = cv2.copyMakeBorder(image, 0, below, 0, beside, cv2.BORDER_CONSTANT, value=MEAN_COLOUR)
            padded = cv2.copyMakeBorder(label, 0, below, 0, beside, cv2.BORDER_CONSTANT, value=[IGNORE])
            label = np.asarray(padded, np.uint8)
        top, left = (int(rng.integers(side - crop + 1)) for side, crop in zip(label.shape, self.crop_size, strict=True))
        window = slice(top, top + height), slice(left, left + width)
        image, label = image[window], label[window]
        if rng.random() < 0.5:
            image, label = image[:, ::-1], label[:, ::-1]
        pixels = (image.astype(np.float32) / 255 - _MEAN) / _SD
        return {
            "image": torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1))),
            "label": torch.from_numpy(np.ascontiguousarray(label)),
        }


def decoded(path: Path, flags: int) -> Bytes:
    """Pixels of a file as OpenCV decodes them."""
    pixels = cv2.imdecode(np.fromfile(path, np.uint8), flags)
    assert pixels is not None, path
    return np.asarray(pixels, np.uint8)
