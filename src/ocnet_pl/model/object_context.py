"""The object context maps of one image, row by row: a map has as many rows as the features have positions."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from ocnet_pl.errors import UserError
from ocnet_pl.model.object_context_pooling import Attended
from ocnet_pl.model.positions import Positions
from ocnet_pl.resizing import Size

Points = Sequence[Sequence[int]]
"""Pixels as (x, y): x to the right and y down, from (0, 0) at the top left."""


class ObjectContext:
    """Asks the attention of a head, on one image, what it looks at from any pixel.

    Args:
        attentions: what the head attends with, for one image.
        image: (H, W) of the image that is asked about.
        seen: (height, width) at which the network got it.
    """

    def __init__(self, attentions: Attended, image: Size, seen: Size) -> None:
        self.attentions = attentions
        self.image = image
        self.seen = seen

    @property
    def grids(self) -> list[int]:
        """Of every map, cells per side of the partition that it stays in: [1], or [1, 2, 3, 6] in Pyramid-OC."""
        return [pool.grid for pool, _ in self.attentions]

    def positions(self, number: int) -> Positions:
        """What map `number` weighs, and where that lies in the image."""
        pool, features = self.attentions[number]
        height, width = features.shape[2:]
        return Positions(pool.pooled_size(height, width), self.image, self.seen)

    @torch.inference_mode()
    def rows(self, number: int, points: Points) -> Tensor:
        """Rows of map `number` as the attention has them, (P, h, w): a weight for every position, their sum 1.

        Raises:
            UserError: a point that is not in the image.
        """
        pool, features = self.attentions[number]
        return pool.rows(features, self.positions(number).at(self.pixels(points)))

    def uniform(self, number: int, points: Points) -> Tensor:
        """The same for an attention that tells nothing apart: equal weights on all that it reaches, (P, h, w)."""
        positions = self.positions(number)
        rows = torch.zeros(len(points), *positions.size)
        for row, (x, y) in zip(rows, positions.at(self.pixels(points)).tolist(), strict=True):
            part = row[self.attentions[number][0].reach(x, y, positions.size)]
            part.fill_(1 / part.numel())
        return rows

    def equal(self, number: int, points: Points) -> Tensor:
        """Maps `number` of an attention that tells nothing apart, (P, H, W): a map divided by them tells weights apart
        from areas, which at the border are smaller, and is 0 / 0 where the attention does not reach."""
        return self.positions(number).spread(self.uniform(number, points))

    @torch.inference_mode()
    def maps(self, points: Points) -> Tensor:
        """All maps of some pixels at the image's size, (P, maps, H, W).

        The row of a pixel is that of the nearest position. The weight of a position is spread evenly over the pixels
        that belong to it: every map sums to 1 over the image, and over a region to what the attention gives
        that region.

        Raises:
            UserError: a point that is not in the image.
        """
        maps = [self.positions(number).spread(self.rows(number, points)) for number in range(len(self.attentions))]
        return torch.stack(maps, 1)

    def pixels(self, points: Points) -> Tensor:
        """(P, 2).

        Raises:
            UserError: a point that is not in the image.
        """
        height, width = self.image
        for point in points:
            if len(point) != 2 or not (0 <= point[0] < width and 0 <= point[1] < height):
                told = ",".join(str(number) for number in point)
                raise UserError(
                    f"point {told}: not in the image of {width}x{height} pixels; give x,y with x from 0 to {width - 1} "
                    f"from the left and y from 0 to {height - 1} from the top"
                )
        return torch.tensor([[int(x), int(y)] for x, y in points], dtype=torch.long).view(-1, 2)


class NoAttentionError(UserError):
    """There is nothing to show."""


@runtime_checkable
class AttendingHead(Protocol):
    """A head with object context pooling (`model/head/__init__.py`)."""

    def attended(self, features: Tensor) -> Attended: ...


def require_attention(head: nn.Module) -> AttendingHead:
    """The head, if it has object context maps.

    Raises:
        NoAttentionError: it has none.
    """
    if isinstance(head, AttendingHead):
        return head
    raise NoAttentionError(
        f"{type(head).__name__}: this head has no attention and so no object context map; "
        "take a network with the head base_oc, pyramid_oc, asp_oc or asp_oc_2019"
    )
