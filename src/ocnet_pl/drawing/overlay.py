"""Classes as colours, and colours over a photograph."""

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ocnet_pl.metrics import IGNORE

Picture = NDArray[np.uint8]
"""RGB (H, W, 3)."""


def colour_table(palette: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Colours of the classes -> of all values that a train id may have, (256, 3); what is no class is black."""
    table = np.zeros((IGNORE + 1, 3), np.uint8)
    table[: len(palette)] = palette
    return table


def colour(classes: NDArray[np.uint8], palette: NDArray[np.uint8]) -> Picture:
    """Train ids (H, W) -> RGB (H, W, 3); what is no class is black."""
    return colour_table(palette)[classes]


def paletted(ids: NDArray[np.uint8], colours: NDArray[np.uint8]) -> Image.Image:
    """Ids (H, W) as an image that holds them, and that is seen in their colours, (256, 3)."""
    image = Image.fromarray(ids)
    image.putpalette(colours.tobytes())
    return image


def overlay(photograph: Picture, colours: Picture, strength: float = 0.55) -> Picture:
    """A photograph under colours of its own size; `strength` is the colours' share, from 0 to 1."""
    return np.asarray(cv2.addWeighted(photograph, 1 - strength, colours, strength, 0), np.uint8)
