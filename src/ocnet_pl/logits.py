"""Logits of images that are computed a few rows at a time: the classes of an image need no logits at its full size."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ocnet_pl.resizing import Size

MirrorPairs = Sequence[Sequence[int]]
"""Train ids (left, right) of classes that change places in a mirrored image."""

_BLOCK_CPU, _BLOCK_GPU = 2**21, 2**26
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

    def resized(self, size: Size, *, align_corners: bool = False) -> "Logits":
        """Logits that are interpolated bilinearly to another size, as by `F.interpolate`."""
        return self if self.shape[2:] == tuple(size) else Interpolated(self, [_Resize(size, align_corners)])


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

    def resized(self, size: Size, *, align_corners: bool = False) -> "Interpolated":
        return Interpolated(self, []).resized(size, align_corners=align_corners)


class _Resize(NamedTuple):
    size: Size
    align_corners: bool


class _Mirror(NamedTuple):
    channels: Sequence[int]


class Interpolated(Logits):
    """Logits after a series of resizings and mirrorings.

    The axes are independent: the few rows of the source are widened first, then the rows asked for are interpolated
    between them.

    Args:
        source: logits to start from.
        steps: `_Resize` and `_Mirror`, in order.
    """

    def __init__(self, source: Logits, steps: Sequence[_Resize | _Mirror]) -> None:
        self.source = source
        self.steps = tuple(steps)
        self.like = source.like
        images, classes, height, width = source.shape
        self._axes: list[_Axis] = []
        for step in self.steps:
            if isinstance(step, _Resize):
                self._axes.append(_Axis(height, step.size[0], step.align_corners, self.like))
                height, width = step.size
        self.shape = images, classes, height, width

    def rows(self, first: int, last: int) -> Tensor:
        return self._interpolated(len(self._axes), first, last)

    def of_image(self, index: int) -> "Interpolated":
        return Interpolated(self.source.of_image(index), self.steps)

    def resized(self, size: Size, *, align_corners: bool = False) -> "Interpolated":
        if self.shape[2:] == tuple(size):
            return self
        return Interpolated(self.source, [*self.steps, _Resize(size, align_corners)])

    def mirrored(self, mirror_pairs: MirrorPairs) -> "Interpolated":
        """Logits of the images from those of their mirror images: mirrored back, left and right classes swapped."""
        channels = list(range(self.shape[1]))
        for left, right in mirror_pairs:
            channels[left], channels[right] = right, left
        return Interpolated(self.source, [*self.steps, _Mirror(channels)])

    def _interpolated(self, axes: int, first: int, last: int) -> Tensor:
        """Rows after the first `axes` resizings of the height, and all of the width."""
        if not axes:
            return self._widened(self.source.rows(first, last))
        axis = self._axes[axes - 1]
        if axis.unchanged:
            return self._interpolated(axes - 1, first, last)
        start, stop = axis.sources(first, last)
        rows = self._interpolated(axes - 1, start, stop)
        upper, lower = (rows.index_select(2, index[first:last] - start) for index in (axis.upper, axis.lower))
        return torch.lerp(upper, lower, axis.weight[first:last, None])

    def _widened(self, rows: Tensor) -> Tensor:
        for step in self.steps:
            if isinstance(step, _Mirror):
                rows = rows.flip(-1)[:, step.channels]
            elif step.size[1] != rows.shape[-1]:
                lines = rows.flatten(0, 1)
                wide = F.interpolate(lines, step.size[1], mode="linear", align_corners=step.align_corners)
                rows = wide.unflatten(0, rows.shape[:2])
        return rows


class _Axis:
    """Linear interpolation along an axis, with the positions and weights of `F.interpolate`.

    Attributes:
        upper: for every target, the source before it, (target,).
        lower: for every target, the source after it, (target,).
        weight: weight of the source after it, (target,).
    """

    def __init__(self, source: int, target: int, align_corners: bool, like: Tensor) -> None:
        self.unchanged = source == target
        # In the type of the logits, as in PyTorch's kernels: other positions would be other logits.
        places = torch.arange(target, dtype=like.dtype)
        if align_corners:
            positions = places * ((source - 1) / max(1, target - 1))
        else:
            positions = ((places + 0.5) * (source / target) - 0.5).clamp_min(0)
        upper = positions.long().clamp_max(source - 1)
        self._upper: list[int] = upper.tolist()
        self._last = source - 1
        self.upper = upper.to(like.device)
        self.lower = (upper + 1).clamp_max(source - 1).to(like.device)
        self.weight = (positions - upper).clamp(0, 1).to(like.device)

    def sources(self, first: int, last: int) -> tuple[int, int]:
        """Range of sources that the targets first..last-1 need."""
        return self._upper[first], min(self._upper[last - 1] + 1, self._last) + 1


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
                rows = rows.softmax(1)
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
