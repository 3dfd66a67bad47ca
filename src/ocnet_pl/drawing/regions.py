"""Places inside the regions of a label map."""

from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from ocnet_pl.metrics import IGNORE

MIN_SHARE = 0.01
"""Smallest share of the image that a class must cover to get a place."""


def inner_pixels(classes: NDArray[np.uint8], most: int) -> Iterator[tuple[int, int, int]]:
    """Train id, x and y of the pixel of each large class that is furthest from other classes, largest classes first."""
    ids, counts = np.unique(classes[classes != IGNORE], return_counts=True)
    large = [(count, id_) for id_, count in zip(ids, counts, strict=True) if count >= MIN_SHARE * classes.size]
    for _, id_ in sorted(large, reverse=True)[:most]:
        mask = np.pad((classes == id_).astype(np.uint8), 1)
        depth = cv2.distanceTransform(mask, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[1:-1, 1:-1]
        y, x = np.unravel_index(int(depth.argmax()), depth.shape)
        yield int(id_), int(x), int(y)
