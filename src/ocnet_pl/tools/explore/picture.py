"""One image as several networks see it: their predictions, and what they look at from chosen pixels."""

import math
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch

from ocnet_pl.dataset.data_module import SegmentationDataModule
from ocnet_pl.dataset.reading import Bytes, read_image
from ocnet_pl.drawing.overlay import colour
from ocnet_pl.errors import UserError
from ocnet_pl.metrics import IGNORE
from ocnet_pl.model.object_context import ObjectContext, Points
from ocnet_pl.tools.explore.context_figure import Column, Picture, Pixel, Shares
from ocnet_pl.tools.explore.measuring import share_on_own_class
from ocnet_pl.tools.explore.opening import Explored, names, refuse_several_data_sets

MOST_POINTS = 6
LEAST_SHARE = 0.01
"""Of the image, that a class must cover for a point to be picked in it."""


def first_images(data: SegmentationDataModule, count: int) -> list[Path]:
    """Of the validation set.

    Raises:
        UserError: the data set is not there.
    """
    data.prepare_data()
    return [image for image, _ in data.pairs(data.val_split)[:count]]


def find_truth(data: SegmentationDataModule, image: Path, label: Path | None) -> Bytes | None:
    """Train ids of an image, from a file of stored ids or else from the data set; None where neither has them.

    Raises:
        UserError: a file that cannot be read.
    """
    if label is None:
        label = _label_of(data, image)
    return None if label is None else data.truth(label)


def _label_of(data: SegmentationDataModule, image: Path) -> Path | None:
    for split in (data.val_split, data.train_split):
        try:
            pairs = data.candidates(split)
        except UserError:  # the data set is not on this machine
            continue
        for one, label in pairs:
            if one.resolve() == image.resolve() and label.is_file():
                return label
    return None


def pick_points(classes: Bytes) -> Points:
    """One pixel (x, y) a class, largest classes first: that which lies furthest from other classes."""
    numbers, counts = np.unique(classes[classes != IGNORE], return_counts=True)
    large = [
        (count, number) for number, count in zip(numbers, counts, strict=True) if count >= LEAST_SHARE * classes.size
    ]
    points = []
    for _, number in sorted(large, reverse=True)[:MOST_POINTS]:
        mask = np.pad((classes == number).astype(np.uint8), 1)
        depth = cv2.distanceTransform(mask, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[1:-1, 1:-1]
        y, x = np.unravel_index(int(depth.argmax()), depth.shape)
        points.append((int(x), int(y)))
    return points


def context_picture(explored: Sequence[Explored], image_path: Path, truth: Bytes | None, points: Points) -> Picture:
    """All that the figure shows.

    Args:
        explored: the networks, of one data set.
        image_path: of a photograph.
        truth: its train ids; None: not known.
        points: pixels (x, y); none: one is picked in every large class of the truth, or else of the first prediction.

    Raises:
        UserError: points outside the image, a truth of another size, or networks of several data sets.
    """
    data = explored[0].data
    refuse_several_data_sets(explored)
    image = read_image(image_path)
    if truth is not None and truth.shape != image.shape[:2]:
        raise UserError(
            f"{image_path}: is of {image.shape[1]}x{image.shape[0]} pixels and its label of "
            f"{truth.shape[1]}x{truth.shape[0]}; give the label of this image"
        )
    predictions = [one.predictor.predict(image) for one in explored]
    decided = predictions[0] if truth is None else truth
    points = points or pick_points(decided)
    columns: list[Column] = []
    for name, one, prediction in zip(names(explored), explored, predictions, strict=True):
        context = one.predictor.attend(image)
        maps = context.maps(points).float().cpu().numpy()
        for number, which in enumerate(one.maps):
            title = name if len(one.maps) == 1 else f"{name}, {which}"
            shown = None if number else colour(prediction, data.palette)
            equal = context.equal(number, points).numpy()
            relative = np.divide(maps[:, number], equal, out=np.zeros_like(equal), where=equal > 0)
            columns.append(Column(title, shown, relative, own_shares(context, number, truth, points)))
    occurring = np.unique(np.stack([decided, *predictions])).tolist()
    return Picture(
        image=image,
        truth=None if truth is None else colour(truth, data.palette),
        columns=columns,
        pixels=[Pixel(x, y, _name(data, int(decided[y, x]))) for x, y in points],
        legend=[(_name(data, number), data.palette[number]) for number in occurring if number != IGNORE],
    )


def own_shares(context: ObjectContext, number: int, truth: Bytes | None, points: Points) -> list[Shares | None]:
    """Of each point's map the share on the point's own class, and that of equal weights; None where it is not known."""
    if truth is None:
        return [None] * len(points)
    rows = torch.cat([context.rows(number, points).cpu(), context.uniform(number, points)])
    own, equal = share_on_own_class(rows, context.positions(number), truth, [*points, *points])[0].chunk(2)
    return [None if math.isnan(pair[0]) else pair for pair in zip(own.tolist(), equal.tolist(), strict=True)]


def _name(data: SegmentationDataModule, train_id: int) -> str:
    return "not labelled" if train_id == IGNORE else data.classes[train_id]
