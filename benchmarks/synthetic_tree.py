"""Synthetic images that take as long to decode as photographs."""

from pathlib import Path

import numpy as np

from ocnet_pl.dataset.demo import write_png
from ocnet_pl.dataset.reading import Bytes

_LABEL_IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
_NOISE = 2.6
"""Standard deviation of the noise; a PNG of 2048x1024 then has about 3 MB."""


def write_synthetic_tree(root: Path, count: int, size: tuple[int, int] = (1024, 2048)) -> None:
    """Write a Cityscapes tree whose training split is noise over smooth shapes.

    Args:
        root: folder for `leftImg8bit` and `gtFine`.
        count: number of images.
        size: (height, width).
    """
    photos, labels = root / "leftImg8bit" / "train" / "synthetic", root / "gtFine" / "train" / "synthetic"
    photos.mkdir(parents=True)
    labels.mkdir(parents=True)
    for index in range(count):
        image, label = _draw(np.random.default_rng(index), size)
        stem = f"synthetic_{index:06d}_000019"
        write_png(photos / f"{stem}_leftImg8bit.png", image)
        write_png(labels / f"{stem}_gtFine_labelIds.png", label)


def _draw(rng: np.random.Generator, size: tuple[int, int]) -> tuple[Bytes, Bytes]:
    height, width = size
    y, x = np.mgrid[:height, :width].astype(np.float32) / height
    waves = [np.sin(rng.uniform(3, 8) * x + 6 * rng.random()) + np.cos(rng.uniform(3, 8) * y) for _ in range(3)]
    image = 128 + 40 * np.stack(waves, -1)
    label = np.full(size, _LABEL_IDS[0], np.uint8)
    for _ in range(60):
        top, left = int(rng.integers(height)), int(rng.integers(width))
        window = slice(top, top + int(rng.integers(height // 3))), slice(left, left + int(rng.integers(height // 3)))
        image[window] += rng.uniform(-60, 60, 3)
        label[window] = rng.choice(_LABEL_IDS)
    image += rng.normal(0, _NOISE, image.shape)
    return np.clip(image, 0, 255).astype(np.uint8), label
