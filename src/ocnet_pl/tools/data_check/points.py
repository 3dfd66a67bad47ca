"""Facts and findings about keypoints. Imports no torch, so that a process starts quickly."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ocnet_pl.dataset.reading import Bytes, Pair

Points = Mapping[str, NDArray[np.float32]]
"""x, y and visibility (N, 3) by name of the target, as its reader gives them."""
Sides = Mapping[int, tuple[Sequence[int], Sequence[int]]]
"""Train ids of the part of its own side on which a keypoint lies, and those of the other side, by its index."""

_FEWEST = 2
"""Keypoints that must lie on the other side: a hand may cover the other arm."""


@dataclass
class PointFacts:
    """Facts about the keypoints of one image.

    Attributes:
        outside: indices of the keypoints outside the image.
        own: number of keypoints on the part of their own side.
        other: number of keypoints on the part of the other side.
    """

    outside: list[int]
    own: int = 0
    other: int = 0


@dataclass(frozen=True)
class PointProblem:
    """Problem of the keypoints of a split.

    Attributes:
        kind: short description.
        message: what was found, how often, and an example.
        example: image of the example.
    """

    kind: str
    message: str
    example: str


def inspect_points(
    points: NDArray[np.float32], size: tuple[int, int], classes: Bytes | None, sides: Sides
) -> PointFacts:
    """Facts about the keypoints (N, 3) of an image.

    Args:
        points: x, y and visibility.
        size: (width, height) of the image.
        classes: train ids (H, W) of the label; None: it cannot be read.
        sides: parts on which keypoints lie.
    """
    visible = np.flatnonzero(points[:, 2] > 0)
    inside = ((points[visible, :2] >= -0.5) & (points[visible, :2] < np.array(size) - 0.5)).all(1)
    facts = PointFacts(visible[~inside].tolist())
    if classes is None or classes.shape != size[::-1]:
        return facts
    for index in visible[inside].tolist():
        own, other = sides.get(index, ((), ()))
        column, row = np.floor(points[index, :2] + 0.5).astype(int)
        facts.own += classes[row, column] in own
        facts.other += classes[row, column] in other
    return facts


def point_problems(
    split: str, name: str, names: Sequence[str], pairs: Sequence[Pair], facts: Sequence[PointFacts | None]
) -> Iterator[PointProblem]:
    """Problems of the keypoints of a split, each with a count and an example.

    Args:
        split: name of the split.
        name: name of the target.
        names: names of the keypoints; empty: they have none.
        pairs: files of image and label.
        facts: facts of each pair; None: its keypoints or its image cannot be read.
    """
    known = [(pair[0], of) for pair, of in zip(pairs, facts, strict=True) if of is not None]
    if outside := [(image, of.outside) for image, of in known if of.outside]:
        image, indices = outside[0]
        point = names[indices[0]] if names else f"keypoint {indices[0]}"
        count = sum(len(of_image) for _, of_image in outside)
        message = (
            f"{split}: {count} points of {name!r} in {len(outside)} of {len(known)} images lie outside their image and "
            f"count as missing, e.g. {point} of {image}"
        )
        yield PointProblem("keypoints outside the image", message, str(image))
    decidable = [(image, of) for image, of in known if of.own + of.other >= _FEWEST]
    if exchanged := [image for image, of in decidable if of.other >= _FEWEST and of.other > of.own]:
        message = (
            f"{split}: in {len(exchanged)} of {len(decidable)} images that show it, the points of {name!r} lie on the "
            f"parts of the other side in the label, e.g. {exchanged[0]}; were left and right exchanged?"
        )
        yield PointProblem("left and right keypoints exchanged", message, str(exchanged[0]))
