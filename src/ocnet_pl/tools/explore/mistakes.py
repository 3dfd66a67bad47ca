"""Where predictions are wrong, painted on a faded photograph."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ocnet_pl.drawing.overlay import Picture
from ocnet_pl.metrics import IGNORE

Colour = tuple[int, int, int]

WRONG: Colour = (213, 42, 42)
FIRST: Colour = (0, 114, 178)
SECOND: Colour = (230, 159, 0)
NEITHER: Colour = (110, 40, 100)
NOT_LABELLED: Colour = (0, 0, 0)
_GREY = np.array([0.299, 0.587, 0.114])
_FADED = (150, 0.4)
"""Where nothing is painted: this much light, and this share of the photograph's."""


def mistakes(photograph: Picture, truth: NDArray[np.uint8], prediction: NDArray[np.uint8]) -> Picture:
    """`WRONG` where a prediction is, black where nothing is labelled.

    Args:
        photograph: RGB (H, W, 3).
        truth: train ids (H, W), 255 where not labelled.
        prediction: train ids (H, W).
    """
    return _painted(photograph, truth, [(prediction != truth, WRONG)])


def contrast(
    photograph: Picture, truth: NDArray[np.uint8], first: NDArray[np.uint8], second: NDArray[np.uint8]
) -> Picture:
    """Where two predictions differ: `FIRST` or `SECOND` where only that one is right, `NEITHER` where none is.

    The arguments are as in `mistakes`.
    """
    differ = first != second
    masks = [(differ, NEITHER), (differ & (first == truth), FIRST), (differ & (second == truth), SECOND)]
    return _painted(photograph, truth, masks)


def _painted(
    photograph: Picture, truth: NDArray[np.uint8], masks: Sequence[tuple[NDArray[np.bool_], Colour]]
) -> Picture:
    light, share = _FADED
    picture: Picture = np.repeat((light + share * (photograph @ _GREY))[..., None], 3, 2).astype(np.uint8)
    for mask, colour in [*masks, (truth == IGNORE, NOT_LABELLED)]:
        picture[mask] = colour
    return picture
