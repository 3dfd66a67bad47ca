"""Positions of a feature map in the image, and weights moved between the two."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ocnet_pl.resizing import Size


@dataclass(frozen=True)
class Positions:
    """The image, divided among the positions of a feature map.

    The network upsamples with aligned corners: the centre of the first position is the centre of the first pixel, that
    of the last position the last pixel. A point of the image belongs to the position with the nearest centre, so
    positions at the border have half an area. If the network received the image at another size, positions are placed
    at that size and scaled back.

    Attributes:
        size: size (h, w) of the feature map.
        image: size (H, W) of the image in pixels.
        seen: size (height, width) at which the network received the image.
    """

    size: Size
    image: Size
    seen: Size

    def at(self, points: Tensor) -> Tensor:
        """Positions (x, y) that pixels (x, y) belong to, (P, 2) -> (P, 2)."""
        x, y = (
            torch.bucketize(points[:, axis] + 0.5, self.edges(1 - axis).to(points.device), right=True) - 1
            for axis in (0, 1)
        )
        return torch.stack([x, y], 1)

    def centres(self) -> tuple[Tensor, Tensor]:
        """Centres in pixels: x (w,) and y (h,)."""
        return self._centres(1) - 0.5, self._centres(0) - 0.5

    def spread(self, weights: Tensor) -> Tensor:
        """Spread the weight of each position evenly over its part of the image. (..., h, w) -> (..., H, W).

        The sum is conserved.
        """
        down, across = (self._coverage(axis).to(weights) for axis in (0, 1))
        return (down.T / self._lengths(0).to(weights)) @ weights @ (across / self._lengths(1).to(weights)[:, None])

    def average(self, pixels: Tensor) -> Tensor:
        """Mean over each position's part of the image, the adjoint of `spread`. (..., H, W) -> (..., h, w)."""
        down, across = (self._coverage(axis).to(pixels) for axis in (0, 1))
        return (down / self._lengths(0).to(pixels)[:, None]) @ pixels @ (across.T / self._lengths(1).to(pixels))

    def edges(self, axis: int) -> Tensor:
        """Borders in pixels of the parts along an axis, 0 down and 1 across, (size + 1,)."""
        centres = self._centres(axis)
        return torch.cat(
            [centres.new_zeros(1), (centres[1:] + centres[:-1]) / 2, centres.new_full((1,), self.image[axis])]
        )

    def _centres(self, axis: int) -> Tensor:
        """Centres along an axis, measured from the edge of the image."""
        size, image, seen = self.size[axis], self.image[axis], self.seen[axis]
        step = torch.arange(size, dtype=torch.float64)
        centres = step * (seen - 1) / (size - 1) + 0.5 if size > 1 else (step + 0.5) * seen
        return centres * image / seen

    def _lengths(self, axis: int) -> Tensor:
        return self.edges(axis).diff()

    def _coverage(self, axis: int) -> Tensor:
        """Share of each pixel that each position covers, (size, pixels)."""
        edges, pixels = self.edges(axis), torch.arange(self.image[axis], dtype=torch.float64)
        overlap = torch.minimum(edges[1:, None], pixels + 1) - torch.maximum(edges[:-1, None], pixels)
        return overlap.clamp(min=0)
