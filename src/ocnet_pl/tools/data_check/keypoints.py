"""Keypoints and limbs in pictures of samples."""

import cv2
import matplotlib as mpl
import numpy as np
from matplotlib.colors import to_rgb
from numpy.typing import NDArray

from ocnet_pl.dataset.targets import Target
from ocnet_pl.drawing.overlay import Picture

# In the order of LIP's joints: warm colours on the right side of the body, cold ones on the left.
_COLOURS = (
    "red", "orangered", "orange", "deepskyblue", "royalblue", "blue", "khaki", "silver",
    "gray", "yellow", "magenta", "hotpink", "lightpink", "aquamarine", "lime", "green",
)  # fmt: skip


def keypoint_colours(count: int) -> list[tuple[int, int, int]]:
    """RGB of each keypoint: named colours of matplotlib, or hues if there are more keypoints than names."""
    if count <= len(_COLOURS):
        shares = [to_rgb(name) for name in _COLOURS[:count]]
    else:
        shares = [mpl.colormaps["hsv"](index / count)[:3] for index in range(count)]
    return [(round(255 * r), round(255 * g), round(255 * b)) for r, g, b in shares]


def keypoint_name(name: str, target: Target, index: int) -> str:
    """Name of a keypoint for a legend: its own, or its target's with its index."""
    return target.names[index] if index < len(target.names) else f"{name} {index}"


def draw_keypoints(picture: Picture, points: NDArray[np.float32], target: Target) -> None:
    """Draw into a picture a disc on every visible keypoint, and a line for every limb with two visible ends.

    Args:
        picture: RGB (H, W, 3), changed in place.
        points: x, y and visibility (N, 3).
        target: their target; a limb has the colour of its first end.
    """
    radius = max(1, min(picture.shape[:2]) // 60)
    colours = keypoint_colours(len(points))
    places = {index: (round(x), round(y)) for index, (x, y, visible) in enumerate(points.tolist()) if visible}
    for first, second in target.limbs:
        if first in places and second in places:
            cv2.line(picture, places[first], places[second], colours[first], max(1, radius // 2), cv2.LINE_AA)
    for index, place in places.items():
        cv2.circle(picture, place, radius + 1, (0, 0, 0), cv2.FILLED)  # an edge that shows on every image
        cv2.circle(picture, place, radius, colours[index], cv2.FILLED)
