"""Attention maps of several networks on one image, ready to be drawn."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ocnet_pl.dataset.data_module import SegmentationDataModule
from ocnet_pl.dataset.reading import Bytes, read_image
from ocnet_pl.drawing.overlay import Picture, colour
from ocnet_pl.drawing.regions import inner_pixels
from ocnet_pl.errors import UserError
from ocnet_pl.metrics import IGNORE
from ocnet_pl.model.object_context import Points
from ocnet_pl.tools.explore.measuring import Shares, own_shares
from ocnet_pl.tools.explore.opening import OpenedCheckpoint, distinct_names, refuse_several_data_sets

MAX_POINTS = 6


@dataclass(frozen=True)
class MapColumn:
    """One map of one network for all marked pixels.

    Attributes:
        title: title of the column.
        prediction: RGB (H, W, 3); None if the column on the left is of the same network.
        maps: (pixels, H, W), relative to uniform attention.
        shares: shares of each pixel's map; None if its class is unknown.
    """

    title: str
    prediction: Picture | None
    maps: NDArray[np.float32]
    shares: Sequence[Shares | None]


@dataclass(frozen=True)
class MarkedPixel:
    """A pixel and the name of its class."""

    x: int
    y: int
    name: str


@dataclass(frozen=True)
class ContextMaps:
    """Content of a context figure.

    Attributes:
        image: RGB (H, W, 3).
        truth: RGB (H, W, 3); None if unknown.
        columns: one column for each map.
        pixels: marked pixels.
        legend: name and colour of each class.
    """

    image: Picture
    truth: Picture | None
    columns: Sequence[MapColumn]
    pixels: Sequence[MarkedPixel]
    legend: Sequence[tuple[str, NDArray[np.uint8]]]


def context_maps(
    checkpoints: Sequence[OpenedCheckpoint], image_path: Path, truth: Bytes | None, points: Points
) -> ContextMaps:
    """Compute the maps of some pixels (x, y); without any, of one pixel in every large class.

    Raises:
        UserError: points outside the image, a truth of another size, or networks of several data sets.
    """
    data = checkpoints[0].data
    refuse_several_data_sets(checkpoints)
    image = read_image(image_path)
    if truth is not None and truth.shape != image.shape[:2]:
        sizes = [f"{classes.shape[1]}x{classes.shape[0]}" for classes in (image, truth)]
        raise UserError(f"{image_path}: has {sizes[0]} pixels but its label {sizes[1]}; give the label of this image")
    predictions = [opened.predictor.predict(image) for opened in checkpoints]
    classes = predictions[0] if truth is None else truth
    points = points or pick_points(classes)
    columns: list[MapColumn] = []
    for name, opened, prediction in zip(distinct_names(checkpoints), checkpoints, predictions, strict=True):
        context = opened.predictor.attend(image)
        maps = context.maps(points).float().cpu().numpy()
        for index, map_name in enumerate(context.names):
            title = name if len(context.names) == 1 else f"{name}, {map_name}"
            shown = None if index else colour(prediction, data.palette)
            uniform = context.equal(index, points).numpy()
            relative = np.divide(maps[:, index], uniform, out=np.zeros_like(uniform), where=uniform > 0)
            columns.append(MapColumn(title, shown, relative, own_shares(context, index, truth, points)))
    occurring = np.unique(np.stack([classes, *predictions])).tolist()
    return ContextMaps(
        image=image,
        truth=None if truth is None else colour(truth, data.palette),
        columns=columns,
        pixels=[MarkedPixel(x, y, _class_name(data, int(classes[y, x]))) for x, y in points],
        legend=[(_class_name(data, id_), data.palette[id_]) for id_ in occurring if id_ != IGNORE],
    )


def pick_points(classes: Bytes) -> Points:
    """The pixel (x, y) of each large class that is furthest from other classes, largest classes first."""
    return [(x, y) for _, x, y in inner_pixels(classes, MAX_POINTS)]


def _class_name(data: SegmentationDataModule, train_id: int) -> str:
    return "not labelled" if train_id == IGNORE else data.classes[train_id]
