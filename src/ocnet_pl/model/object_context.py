"""The object context maps of one image, row by row: a map has as many rows as the features have positions."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ocnet_pl.errors import UserError
from ocnet_pl.model.contract import Attending, Attention
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

    def __init__(self, attentions: Sequence[tuple[Attention, Tensor]], image: Size, seen: Size) -> None:
        self.attentions = attentions
        self.image = image
        self.seen = seen

    @property
    def names(self) -> list[str]:
        """Names of the maps: ["whole image"], or four in Pyramid-OC."""
        return [attention.name for attention, _ in self.attentions]

    def positions(self, index: int) -> Positions:
        """Positions of a map, and where they lie in the image."""
        attention, features = self.attentions[index]
        return Positions(attention.size(features), self.image, self.seen)

    @torch.inference_mode()
    def rows(self, index: int, points: Points) -> Tensor:
        """Rows of a map as the attention has them, (P, h, w): a weight for every position, their sum 1.

        Raises:
            UserError: a point that is not in the image.
        """
        attention, features = self.attentions[index]
        return attention.rows(features, self.positions(index).at(self.pixels(points)))

    def uniform(self, index: int, points: Points) -> Tensor:
        """The same for an attention that tells nothing apart: equal weights on all that it reaches, (P, h, w)."""
        positions = self.positions(index)
        rows = torch.zeros(len(points), *positions.size)
        for row, (x, y) in zip(rows, positions.at(self.pixels(points)).tolist(), strict=True):
            reached = self.attentions[index][0].reach(x, y, positions.size)
            row[reached] = 1 / int(reached.sum())
        return rows

    def reached(self, index: int) -> float:
        """Mean share of the positions that a map reaches from one position, over a grid of them: 1 for whole images."""
        height, width = self.positions(index).size
        ys, xs = (sorted({0, side // 3, side // 2, side - 1}) for side in (height, width))
        reach = self.attentions[index][0].reach
        return sum(float(reach(x, y, (height, width)).float().mean()) for y in ys for x in xs) / (len(ys) * len(xs))

    def equal(self, index: int, points: Points) -> Tensor:
        """Maps of an attention that tells nothing apart, (P, H, W): a map divided by them tells weights apart
        from areas, which at the border are smaller, and is 0 / 0 where the attention does not reach."""
        return self.positions(index).spread(self.uniform(index, points))

    @torch.inference_mode()
    def maps(self, points: Points) -> Tensor:
        """All maps of some pixels at the image's size, (P, maps, H, W).

        The row of a pixel is that of the nearest position. The weight of a position is spread evenly over the pixels
        that belong to it: every map sums to 1 over the image, and over a region to what the attention gives
        that region.

        Raises:
            UserError: a point that is not in the image.
        """
        maps = [self.positions(index).spread(self.rows(index, points)) for index in range(len(self.attentions))]
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
    """Network without an attention map to show."""


def require_attention(head: nn.Module) -> Attending:
    """The head, if its attention can be shown.

    Raises:
        NoAttentionError: it has none.
    """
    if isinstance(head, Attending):
        return head
    raise NoAttentionError(f"{type(head).__name__}: its attention cannot be shown; choose a network of another head")
