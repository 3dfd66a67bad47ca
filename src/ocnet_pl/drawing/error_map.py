"""Maps of wrong pixels: of one prediction, or of the differences between two."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ocnet_pl.drawing.overlay import Picture
from ocnet_pl.metrics import IGNORE

Colour = tuple[int, int, int]
Ids = NDArray[np.uint8]
"""Train ids (H, W)."""

WRONG: Colour = (213, 42, 42)
FIRST: Colour = (0, 114, 178)
SECOND: Colour = (230, 159, 0)
NEITHER: Colour = (110, 40, 100)
NOT_LABELLED: Colour = (0, 0, 0)
_GREY = np.array([0.299, 0.587, 0.114])
_FADED = (150, 0.4)
"""Brightness added to the faded image, and the share of the original brightness."""


def mistakes(image: Picture, truth: Ids, prediction: Ids) -> Picture:
    """Paint `WRONG` on wrong pixels and black on unlabelled pixels of RGB (H, W, 3); train ids are (H, W)."""
    return _painted(image, truth, [(prediction != truth, WRONG)])


def contrast(image: Picture, truth: Ids, first: Ids, second: Ids) -> Picture:
    """Paint differences of two predictions: `FIRST` or `SECOND` where only that one is right, else `NEITHER`."""
    differ = first != second
    masks = [(differ, NEITHER), (differ & (first == truth), FIRST), (differ & (second == truth), SECOND)]
    return _painted(image, truth, masks)


def only_right(truth: Ids, first: Ids, second: Ids) -> tuple[float, float]:
    """Shares of the labelled pixels in which only the first prediction is right, and only the second; 0 without any."""
    labelled = truth != IGNORE
    count = max(int(labelled.sum()), 1)
    one, two = (labelled & (first == truth)), (labelled & (second == truth))
    return int((one & ~two).sum()) / count, int((two & ~one).sum()) / count


def _painted(image: Picture, truth: Ids, masks: Sequence[tuple[NDArray[np.bool_], Colour]]) -> Picture:
    brightness, share = _FADED
    painted: Picture = np.repeat((brightness + share * (image @ _GREY))[..., None], 3, 2).astype(np.uint8)
    for mask, paint in [*masks, (truth == IGNORE, NOT_LABELLED)]:
        painted[mask] = paint
    return painted
