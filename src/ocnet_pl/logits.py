"""Logits of images that are computed a few rows at a time: the classes of an image need no logits at its full size."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor

from ocnet_pl.resizing import Size

MirrorPairs = Sequence[Sequence[int]]
"""Train ids (left, right) of classes that change places in a mirrored image."""

_BLOCK_CPU, _BLOCK_GPU = 2**20, 2**23
"""Bytes of a block of rows: on a CPU it stays in the cache of a core, a GPU needs few large operations."""


class Logits(ABC):
    """Logits of a batch of images, (B, K, H, W). A row does not depend on the rows that are computed with it.

    Attributes:
        shape: (B, K, H, W).
        like: a tensor of the type and on the device of the rows.
    """

    shape: tuple[int, int, int, int]
    like: Tensor

    @abstractmethod
    def rows(self, first: int, last: int) -> Tensor:
        """Rows first..last-1 of the images, (B, K, last - first, W); not to be changed in place."""

    @abstractmethod
    def of_image(self, index: int) -> "Logits":
        """Logits of one image of the batch, (1, K, H, W)."""

    def whole(self) -> Tensor:
        """All rows, (B, K, H, W)."""
        whole = self.like.new_empty(self.shape)
        for first, last in self._blocks():
            whole[:, :, first:last] = self.rows(first, last)
        return whole

    def labels(self) -> Tensor:
        """Class of every pixel: the first of those with the largest logit. (B, H, W) uint8.

        As in `Tensor.argmax`, NaN counts as the largest value.
        """
        images, _, height, width = self.shape
        labels = self.like.new_empty(images, height, width, dtype=torch.uint8)
        for first, last in self._blocks():
            # `max` finds the same classes as `argmax`, whose CPU kernel takes several times as long.
            labels[:, first:last] = self.rows(first, last).max(1).indices
        return labels

    def _blocks(self) -> Iterator[tuple[int, int]]:
        """Ranges of rows that are computed together."""
        images, classes, height, width = self.shape
        size = _BLOCK_CPU if self.like.device.type == "cpu" else _BLOCK_GPU
        step = max(1, size // (images * classes * width * self.like.element_size()))
        return pairwise([*range(0, height, step), height])

    def resized(self, size: Size, *, align_corners: bool = False, mirror_pairs: MirrorPairs | None = None) -> "Logits":
        """Logits that are interpolated bilinearly to another size, as by `F.interpolate`.

        With `mirror_pairs` they become those of the mirror images: mirrored, with left and right classes swapped.
        """
        if self.shape[2:] == tuple(size) and mirror_pairs is None:
            return self
        return Resized(self, size, align_corners, mirror_pairs)


class MapLogits(Logits):
    """Logits that are there, e.g. at the size of a network's map.

    They are kept in at least float32: interpolation in 16 bits would make neighbouring logits equal.

    Args:
        values: (B, K, h, w).
    """

    def __init__(self, values: Tensor) -> None:
        self.values = values.to(torch.promote_types(values.dtype, torch.float32)).contiguous()
        images, classes, height, width = values.shape
        self.shape = images, classes, height, width
        self.like = self.values

    def rows(self, first: int, last: int) -> Tensor:
        return self.values[:, :, first:last]

    def of_image(self, index: int) -> "MapLogits":
        return MapLogits(self.values[index : index + 1])


class Resized(Logits):
    """Logits that are interpolated bilinearly.

    Columns come first, then rows, each with the positions, weights and order of operations of PyTorch's kernel: on a
    CPU the logits are bit for bit those of `F.interpolate`.

    Args:
        source: logits to interpolate.
        size: (height, width) of the result.
        align_corners: as in `F.interpolate`.
        mirror_pairs: mirror the result, with left and right classes swapped; None: leave it.
    """

    def __init__(
        self, source: Logits, size: Size, align_corners: bool, mirror_pairs: MirrorPairs | None = None
    ) -> None:
        self.source = source
        self.align_corners = align_corners
        self.mirror_pairs = mirror_pairs
        self.like = source.like
        self.shape = *source.shape[:2], *size
        before, after = source.shape[2], size[0]
        places = torch.arange(after, dtype=self.like.dtype)  # other types would give other weights
        if align_corners:
            positions = places * ((before - 1) / max(1, after - 1))
        else:
            positions = ((places + 0.5) * (before / after) - 0.5).clamp_min(0)
        upper = positions.long().clamp_max(before - 1)
        lower = upper if before == after else (upper + 1).clamp_max(before - 1)
        weight = (positions - upper).clamp(0, 1)
        self._first, self._last = upper.tolist(), lower.tolist()
        self._rows = upper.to(self.like.device), lower.to(self.like.device)
        self._weights = (1 - weight).to(self.like.device), weight.to(self.like.device)

    def rows(self, first: int, last: int) -> Tensor:
        start = self._first[first]
        rows = self.source.rows(start, self._last[last - 1] + 1)
        if rows.shape[-1] != self.shape[3]:
            lines = rows.flatten(0, 1)
            wide = F.interpolate(lines, self.shape[3], mode="linear", align_corners=self.align_corners)
            rows = wide.unflatten(0, rows.shape[:2])
        if self.mirror_pairs is not None:
            rows = _mirror(rows, self.mirror_pairs)  # before there are more rows
        if self.source.shape[2] == self.shape[2]:
            return rows
        upper, lower = (rows.index_select(2, index[first:last] - start) for index in self._rows)
        of_upper, of_lower = (weight[first:last, None] for weight in self._weights)
        return lower.mul_(of_lower).addcmul_(upper, of_upper)

    def of_image(self, index: int) -> "Resized":
        return Resized(self.source.of_image(index), self.shape[2:], self.align_corners, self.mirror_pairs)


class Mean(Logits):
    """Mean of logits, or logarithms of mean probabilities.

    Args:
        parts: logits of one shape.
        probabilities: average the probabilities.
    """

    def __init__(self, parts: Sequence[Logits], *, probabilities: bool = False) -> None:
        self.parts = parts
        self.probabilities = probabilities
        self.shape = parts[0].shape
        self.like = parts[0].like

    def rows(self, first: int, last: int) -> Tensor:
        total: Tensor | None = None
        for part in self.parts:
            rows = part.rows(first, last)
            if self.probabilities:
                # Row by row: at the end of a row the kernel rounds differently than within it.
                rows = rows.transpose(1, 2).softmax(2).transpose(1, 2)
            total = rows if total is None else total + rows
        assert total is not None
        mean = total / len(self.parts)
        return mean.log() if self.probabilities else mean

    def of_image(self, index: int) -> "Mean":
        return Mean([part.of_image(index) for part in self.parts], probabilities=self.probabilities)


class Tiled(Logits):
    """Logits of images from those of overlapping windows, averaged where these overlap.

    Args:
        windows: logits (1, K, h, w) of each window.
        places: image, top and left of each window; every pixel is in a window.
        shape: of the images, (B, ..., H, W).
    """

    def __init__(self, windows: Sequence[Logits], places: Sequence[tuple[int, int, int]], shape: Sequence[int]) -> None:
        self.windows = windows
        self.places = places
        self.shape = shape[0], windows[0].shape[1], shape[-2], shape[-1]
        self.like = windows[0].like

    def rows(self, first: int, last: int) -> Tensor:
        images, classes, _, width = self.shape
        total = self.like.new_zeros(images, classes, last - first, width)
        times = self.like.new_zeros(images, 1, last - first, width)
        for (image, top, left), window in zip(self.places, self.windows, strict=True):
            start, stop = max(first, top), min(last, top + window.shape[2])
            if start < stop:
                place = image, slice(None), slice(start - first, stop - first), slice(left, left + window.shape[3])
                total[place] += window.rows(start - top, stop - top)[0]
                times[place] += 1
        return total / times

    def of_image(self, index: int) -> "Tiled":
        chosen = [place for place, (image, _, _) in enumerate(self.places) if image == index]
        places = [(0, *self.places[place][1:]) for place in chosen]
        return Tiled([self.windows[place] for place in chosen], places, (1, *self.shape[1:]))


def _mirror(logits: Tensor, mirror_pairs: MirrorPairs) -> Tensor:
    channels = list(range(logits.shape[1]))
    for left, right in mirror_pairs:
        channels[left], channels[right] = right, left
    return logits.flip(-1)[:, channels] if mirror_pairs else logits.flip(-1)
