"""Colours of classes, and overlays on photographs."""

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ocnet_pl.metrics import IGNORE

Picture = NDArray[np.uint8]
"""RGB (H, W, 3)."""


def colour_table(palette: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Extend the colours of the classes to all 256 train ids, (256, 3); ids without a class are black."""
    table = np.zeros((IGNORE + 1, 3), np.uint8)
    table[: len(palette)] = palette
    return table


def colour(classes: NDArray[np.uint8], palette: NDArray[np.uint8]) -> Picture:
    """Colour train ids (H, W) -> RGB (H, W, 3); ids without a class are black."""
    return colour_table(palette)[classes]


def paletted(ids: NDArray[np.uint8], colours: NDArray[np.uint8]) -> Image.Image:
    """Make a palette image of ids (H, W), which viewers show in the given colours (256, 3)."""
    image = Image.fromarray(ids)
    image.putpalette(colours.tobytes())
    return image


def overlay(photograph: Picture, colours: Picture, strength: float = 0.55) -> Picture:
    """Blend colours into a photograph of the same size; `strength` is the share of the colours, 0 to 1."""
    return np.asarray(cv2.addWeighted(photograph, 1 - strength, colours, strength, 0), np.uint8)
