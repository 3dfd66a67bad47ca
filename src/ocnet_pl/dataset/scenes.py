"""Drawn scenes in which a local patch does not determine the class: of the demo, and of tests."""

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from torchvision.datasets import Cityscapes as Official

from ocnet_pl.dataset.reading import Bytes

KINDS = ("needs_object", "needs_scene")
"""What decides the class of the puzzling pixels of a scene."""

_Pixels = NDArray[np.float32]
_Axis = NDArray[np.float64]
_Badge = tuple[Callable[[_Axis, _Axis], NDArray[np.bool_]], tuple[int, int, int]]

_IDS = {c.name: c.id for c in Official.classes}
_SKIES = {"road": (110, 170, 235), "terrain": (205, 180, 150)}
_GROUNDS = {"road": (60, 60, 70), "terrain": (80, 130, 60)}
_UNMARKED = (105, 105, 105)
_PLATE = (240, 240, 240)
_NOISE = 8
_BADGES: dict[str, _Badge] = {
    "car": (lambda y, x: np.hypot(y, x) < 0.8, (0, 60, 220)),  # disc
    "truck": (lambda y, x: np.floor((x + 1) * 2.5) % 2 + 0 * y == 0, (0, 0, 0)),  # stripes
    "bus": (lambda y, x: (abs(y) < 0.3) | (abs(x) < 0.3), (220, 0, 0)),  # cross
    "train": (lambda y, x: abs(np.hypot(y, x) - 0.75) < 0.22, (0, 140, 0)),  # ring
}
"""Shape of each badge for y and x from -1 to 1, and its colour; it stands on a plate."""


def draw_scene(rng: np.random.Generator, size: tuple[int, int], kind: str) -> tuple[Bytes, Bytes]:
    """One scene of a kind: RGB (H, W, 3) uint8 and Cityscapes label ids (H, W) uint8; `Demo` describes the kinds."""
    height, width = size
    horizon = round(height * rng.uniform(0.2, 0.3))
    ground = str(rng.choice(list(_SKIES)))
    image = np.empty((height, width, 3), np.float32)
    label = np.empty((height, width), np.uint8)
    image[horizon:], label[horizon:] = _UNMARKED if kind == "needs_scene" else _GROUNDS[ground], _IDS[ground]
    _draw_street_front(rng, image[:horizon], label[:horizon], ground)
    _draw_vehicles(rng, image, label, horizon, kind)
    image += rng.normal(0, _NOISE, image.shape)
    strip = max(2, height // 32)
    image[-strip:], label[-strip:] = (30, 30, 40), _IDS["ego vehicle"]
    return np.clip(image, 0, 255).astype(np.uint8), label


def _draw_street_front(rng: np.random.Generator, image: _Pixels, label: Bytes, ground: str) -> None:
    """Buildings with windows, side by side, and one gap, in which the sky is seen."""
    width = label.shape[1]
    label[:] = _IDS["building"]
    left = 0
    while left < width:
        right = min(width, left + int(rng.integers(16, 40)))
        image[:, left:right] = rng.uniform(60, 120) * np.array([1.0, 0.8, 0.7])
        image[2:-1:5, left + 2 : right - 1 : 4] = (240, 230, 150)
        left = right
    gap = round(width * rng.uniform(0.15, 0.2))
    left = int(rng.integers(0, width - gap + 1))
    image[:, left : left + gap], label[:, left : left + gap] = _SKIES[ground], _IDS["sky"]


def _draw_vehicles(rng: np.random.Generator, image: _Pixels, label: Bytes, horizon: int, kind: str) -> None:
    """Two long boxes with a badge, one in each lane; or a shorter box that is covered with it, in one of them."""
    height, width = label.shape
    covered = kind == "needs_scene"
    hue = rng.uniform(0, 180)
    hues = (hue, (hue + 90) % 180)  # far apart, so that colours identify objects
    lanes = [int(rng.integers(2))] if covered else [0, 1]
    lane_height = (height - horizon) / 2.2
    for lane, hue in zip(lanes, hues[: len(lanes)], strict=True):
        box_height = round(lane_height * rng.uniform(0.82, 0.9))
        box_width = round(width * (rng.uniform(0.3, 0.4) if covered else rng.uniform(0.6, 0.9)))
        top = horizon + round(lane_height * (0.1 + lane))
        left = int(rng.integers(2, width - box_width - 1))
        box = (slice(top, top + box_height), slice(left, left + box_width))
        image[box] = cv2.cvtColor(np.array([[[hue, 160, 180]]], np.uint8), cv2.COLOR_HSV2RGB)[0, 0]
        name = str(rng.choice(list(_BADGES)))
        label[box] = _IDS[name]
        side = min(box_height - 3, 14)
        y = int(rng.integers(1, box_height - side))
        places = range(1, box_width - side, side + 2) if covered else [int(rng.integers(2, box_width - side - 1))]
        for x in places:
            _draw_badge(image[top + y : top + y + side, left + x : left + x + side], _BADGES[name])


def _draw_badge(place: NDArray[Any], badge: _Badge) -> None:
    shape, paint = badge
    place[:] = _PLATE
    axis = (np.arange(len(place)) + 0.5) / len(place) * 2 - 1
    place[shape(axis[:, None], axis[None, :])] = paint
