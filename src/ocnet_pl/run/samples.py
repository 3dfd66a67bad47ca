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
MAX_SAMPLES = 24
"""Six megabytes of a run on Cityscapes; its checkpoints have hundreds."""


def write_samples(
    predictor: Predictor, data: SegmentationDataModule, folder: Path, count: int = MAX_SAMPLES
) -> list[str]:
    """Write up to `count` validation images as `<name>-{input,truth,prediction}.png`, and return their names.

    The images are spread evenly over the split, the same ones for every run: a table shows those among them in which
    rows differ most.

    Truth and prediction hold train ids with a palette, in which ignored pixels are black.
    """
    folder.mkdir(parents=True, exist_ok=True)
    names, colours = [], colour_table(data.palette)
    pairs = data.pairs(data.val_split)
    chosen = np.unique(np.linspace(0, len(pairs) - 1, min(count, len(pairs))).round().astype(int))
    for image_path, label_path in (pairs[place] for place in chosen):
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
