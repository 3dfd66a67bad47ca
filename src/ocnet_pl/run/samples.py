"""Small images of a finished run's predictions, stored beside its result."""

from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from ocnet_pl.dataset.data_module import SegmentationDataModule
from ocnet_pl.dataset.reading import Bytes, read_image
from ocnet_pl.drawing.overlay import colour_table, paletted
from ocnet_pl.predictor import Predictor

MAX_WIDTH = 512


def write_samples(predictor: Predictor, data: SegmentationDataModule, folder: Path, count: int = 1) -> list[str]:
    """Write the first `count` validation images as `<name>-{input,truth,prediction}.png`, and return the names.

    Truth and prediction hold train ids with a palette, in which ignored pixels are black.
    """
    folder.mkdir(parents=True, exist_ok=True)
    names, colours = [], colour_table(data.palette)
    for image_path, label_path in data.pairs(data.val_split)[:count]:
        image = read_image(image_path)
        pictures = {
            "input": Image.fromarray(_shrink(image, smooth=True)),
            "truth": paletted(_shrink(data.truth(label_path), smooth=False), colours),
            "prediction": paletted(_shrink(predictor.predict(image), smooth=False), colours),
        }
        for kind, picture in pictures.items():
            picture.save(folder / f"{image_path.stem}-{kind}.png")
        names.append(image_path.stem)
    return names


def _shrink(picture: Bytes, smooth: bool) -> Bytes:
    height, width = picture.shape[:2]
    if width <= MAX_WIDTH:
        return picture
    size = (MAX_WIDTH, round(height * MAX_WIDTH / width))
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA if smooth else cv2.INTER_NEAREST_EXACT))
