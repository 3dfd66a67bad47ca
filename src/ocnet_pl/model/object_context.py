"""Attention maps of one image, computed row by row: a whole map has as many rows as the features have positions."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ocnet_pl.errors import UserError
from ocnet_pl.model.contract import Attending, Attention
from ocnet_pl.model.positions import Positions
from ocnet_pl.resizing import Size

Points = Sequence[Sequence[int]]
"""Pixels (x, y): x to the right and y down, from (0, 0) at the top left."""


class ObjectContext:
    """Attention maps of a head on one image.

    Args:
        attentions: attention maps of the head, each with its features.
        image: size (H, W) of the image.
        seen: size (height, width) at which the network received it.
    """

    def __init__(self, attentions: Sequence[tuple[Attention, Tensor]], image: Size, seen: Size) -> None:
        self.attentions = attentions
        self.image = image
        self.seen = seen

    @property
    def names(self) -> list[str]:
        """Names of the maps, e.g. ["whole image"]."""
        return [attention.name for attention, _ in self.attentions]

    def positions(self, index: int) -> Positions:
        """Positions of a map in the image."""
        attention, features = self.attentions[index]
        return Positions(attention.size(features), self.image, self.seen)

    @torch.inference_mode()
    def rows(self, index: int, points: Points) -> Tensor:
        """Rows of a map, (P, h, w): a weight for every position; each row sums to 1.

        Raises:
            UserError: a point outside the image.
        """
        attention, features = self.attentions[index]
        return attention.rows(features, self.positions(index).at(self.pixels(points)))

    def uniform(self, index: int, points: Points) -> Tensor:
        """Rows of uniform attention, (P, h, w): equal weights for all positions that the map reaches."""
        positions = self.positions(index)
        rows = torch.zeros(len(points), *positions.size)
        for row, (x, y) in zip(rows, positions.at(self.pixels(points)).tolist(), strict=True):
            reached = self.attentions[index][0].reach(x, y, positions.size)
            row[reached] = 1 / int(reached.sum())
        return rows

    def reached(self, index: int) -> float:
        """Share of the positions that a map reaches from one position, averaged over several: 1 for whole images."""
        height, width = self.positions(index).size
        ys, xs = (sorted({0, side // 3, side // 2, side - 1}) for side in (height, width))
        reach = self.attentions[index][0].reach
        return sum(float(reach(x, y, (height, width)).float().mean()) for y in ys for x in xs) / (len(ys) * len(xs))

    def equal(self, index: int, points: Points) -> Tensor:
        """Maps of uniform attention, (P, H, W).

        A map divided by them shows weights without the areas of the positions, which are smaller at the border; the
        quotient is 0 / 0 where the attention does not reach.
        """
        return self.positions(index).spread(self.uniform(index, points))

    @torch.inference_mode()
    def maps(self, points: Points) -> Tensor:
        """All maps of some pixels at the image's size, (P, maps, H, W).

        A pixel has the row of the nearest position. The weight of a position is spread evenly over its pixels, so a map
        sums to 1 over the image, and over a region to the attention that the region receives.

        Raises:
            UserError: a point outside the image.
        """
        maps = [self.positions(index).spread(self.rows(index, points)) for index in range(len(self.attentions))]
        return torch.stack(maps, 1)

    def pixels(self, points: Points) -> Tensor:
        """Points as a tensor (P, 2).

        Raises:
            UserError: a point outside the image.
        """
        height, width = self.image
        for point in points:
            if len(point) != 2 or not (0 <= point[0] < width and 0 <= point[1] < height):
                raise UserError(
                    f"point {','.join(map(str, point))}: outside the image of {width}x{height} pixels; give x,y with x "
                    f"from 0 to {width - 1} (left to right) and y from 0 to {height - 1} (top to bottom)"
                )
        return torch.tensor([[int(x), int(y)] for x, y in points], dtype=torch.long).view(-1, 2)


class NoAttentionError(UserError):
    """The head has no attention map to show."""


def require_attention(head: nn.Module) -> Attending:
    """The head, if its attention can be shown.

    Raises:
        NoAttentionError: the head is not `Attending`.
    """
    if isinstance(head, Attending):
        return head
    raise NoAttentionError(f"{type(head).__name__}: has no attention map to show; choose a network with another head")
