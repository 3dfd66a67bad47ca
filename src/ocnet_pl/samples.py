"""Pictures of what a finished run predicts, small enough to keep beside every result."""

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ocnet_pl.dataset.base import SegmentationDataModule
from ocnet_pl.dataset.reading import read_image, read_label
from ocnet_pl.metrics import IGNORE
from ocnet_pl.model.ocnet import OCNet

MAX_WIDTH = 512


def colour(classes: NDArray[np.uint8], palette: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Train ids (H, W) -> RGB (H, W, 3); ignored pixels are black."""
    return _colours(palette)[classes]


def write_samples(network: OCNet, data: SegmentationDataModule, folder: Path, count: int = 1) -> list[str]:
    """Draws the first `count` validation images: `<name>-{input,truth,prediction}.png`. Returns the names.

    Truth and prediction hold train ids under a palette, in which ignored pixels are black.
    """
    folder.mkdir(parents=True, exist_ok=True)
    names = []
    for image_path, label_path in data.pairs(data.val_split)[:count]:
        image = read_image(image_path)
        pictures = {
            "input": Image.fromarray(_shrink(image, smooth=True)),
            "truth": _coloured(data.decode(read_label(label_path)), data.palette),
            "prediction": _coloured(network.predict(image), data.palette),
        }
        for kind, picture in pictures.items():
            picture.save(folder / f"{image_path.stem}-{kind}.png")
        names.append(image_path.stem)
    return names


def _coloured(classes: NDArray[np.uint8], palette: NDArray[np.uint8]) -> Image.Image:
    picture = Image.fromarray(_shrink(classes, smooth=False))
    picture.putpalette(_colours(palette).tobytes())
    return picture


def _colours(palette: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Of all values that a picture may hold, (256, 3)."""
    table = np.zeros((IGNORE + 1, 3), np.uint8)
    table[: len(palette)] = palette
    return table


def _shrink(picture: NDArray[np.uint8], smooth: bool) -> NDArray[np.uint8]:
    height, width = picture.shape[:2]
    if width <= MAX_WIDTH:
        return picture
    size = (MAX_WIDTH, round(height * MAX_WIDTH / width))
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA if smooth else cv2.INTER_NEAREST_EXACT))
