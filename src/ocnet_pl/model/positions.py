"""Where the positions of a feature map lie in the image, and weights that move between the two."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ocnet_pl.resizing import Size


@dataclass(frozen=True)
class Positions:
    """The image, divided among the positions of a feature map.

    The network upsamples with aligned corners, so the middle of the first position lies on the first pixel and that of
    the last on the last. A point of the image belongs to the position whose middle is nearest: those at the border
    have half an area. Where the network saw the image at another size, positions are placed at that size and brought
    back with it.

    Attributes:
        size: (h, w) of the feature map.
        image: (H, W) in pixels.
        seen: (height, width) at which the network got the image.
    """

    size: Size
    image: Size
    seen: Size

    def at(self, points: Tensor) -> Tensor:
        """Pixels (x, y) -> the positions (x, y) that they belong to, both (P, 2)."""
        x, y = (
            torch.bucketize(points[:, axis] + 0.5, self.edges(1 - axis).to(points.device), right=True) - 1
            for axis in (0, 1)
        )
        return torch.stack([x, y], 1)

    def middles(self) -> tuple[Tensor, Tensor]:
        """Where they lie, in pixels: x (w,) and y (h,)."""
        return self._middles(1) - 0.5, self._middles(0) - 0.5

    def spread(self, weights: Tensor) -> Tensor:
        """What each position weighs -> what each pixel weighs: a weight evenly over its part of the image.

        No weight is lost or made: the sum over a region is what the positions there weigh. (..., h, w) -> (..., H, W).
        """
        down, across = (self._coverage(axis).to(weights) for axis in (0, 1))
        return (down.T / self._lengths(0).to(weights)) @ weights @ (across / self._lengths(1).to(weights)[:, None])

    def average(self, pixels: Tensor) -> Tensor:
        """Mean of each position's part of the image, the adjoint of `spread`. (..., H, W) -> (..., h, w)."""
        down, across = (self._coverage(axis).to(pixels) for axis in (0, 1))
        return (down / self._lengths(0).to(pixels)[:, None]) @ pixels @ (across.T / self._lengths(1).to(pixels))

    def edges(self, axis: int) -> Tensor:
        """Where their parts begin and end along a side of the image, 0 down and 1 across, in pixels, (size + 1,)."""
        middles = self._middles(axis)
        return torch.cat(
            [middles.new_zeros(1), (middles[1:] + middles[:-1]) / 2, middles.new_full((1,), self.image[axis])]
        )

    def _middles(self, axis: int) -> Tensor:
        """Along one side of the image, measured from its edge."""
        size, image, seen = self.size[axis], self.image[axis], self.seen[axis]
        step = torch.arange(size, dtype=torch.float64)
        middles = step * (seen - 1) / (size - 1) + 0.5 if size > 1 else (step + 0.5) * seen
        return middles * image / seen

    def _lengths(self, axis: int) -> Tensor:
        return self.edges(axis).diff()

    def _coverage(self, axis: int) -> Tensor:
        """How much of each pixel each position covers, (size, pixels)."""
        edges, pixels = self.edges(axis), torch.arange(self.image[axis], dtype=torch.float64)
        overlap = torch.minimum(edges[1:, None], pixels + 1) - torch.maximum(edges[:-1, None], pixels)
        return overlap.clamp(min=0)
