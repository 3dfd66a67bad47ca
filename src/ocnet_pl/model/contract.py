"""Contracts between the network and its parts: heads, outputs that only training uses, attention that can be shown."""

from collections.abc import Callable, Mapping
from typing import ClassVar, NamedTuple, Protocol, runtime_checkable

from torch import Tensor

from ocnet_pl.resizing import Size

Batch = Mapping[str, Tensor]
"""`image` (B, 3, H, W) uint8; `label` (B, H, W) uint8, 255 is ignored; `index` (B,), the image's index in the set; and
the targets that a data set adds, by name."""

Criterion = Callable[[Tensor, Tensor], Tensor]
"""(logits (B, K, H, W), labels (B, H, W)) -> scalar."""


class Outputs(NamedTuple):
    """Outputs of a network's forward pass in training.

    Attributes:
        logits: (B, num_classes, H, W).
        auxiliary: logits of the auxiliary classifier, of the same shape; None without that classifier.
        extras: outputs of the head that only its losses read.
    """

    logits: Tensor
    auxiliary: Tensor | None
    extras: Mapping[str, Tensor]


class Head(Protocol):
    """Context head: an `nn.Module` in its own file, with a YAML in `conf/model/head/` (or in a folder of your own).

    The constructor receives the keys of the YAML and, of the following arguments, those that its signature names:

    * `in_channels`: channels of the map that the head reads; a tuple if it reads several maps;
    * `num_classes`: number of classes;
    * `map_size`: (h, w) of the last map on training crops; None where images are not cropped.

    Attributes (all but the first have a default):
        out_channels: channels of the map that `forward` returns; the network's classifier reads it.
        levels: stages of the backbone that the head reads, counted from the last, which is -1.
        reads_auxiliary: `forward` also receives `auxiliary=`, the auxiliary classifier's logits (B, K, h, w).
        ends_in_logits: `forward` returns logits; the network has no classifier.
        needed_targets: targets that its losses read from every batch; training on a data set without them is refused.
    """

    out_channels: int
    levels: ClassVar[tuple[int, ...]] = (-1,)
    reads_auxiliary: ClassVar[bool] = False
    ends_in_logits: ClassVar[bool] = False
    needed_targets: ClassVar[tuple[str, ...]] = ()

    def forward(self, *maps: Tensor) -> Tensor:
        """Maps (B, C, h, w) of `levels` -> (B, out_channels, h', w') of any stride."""


def head_levels(head: object) -> tuple[int, ...]:
    """Stages of the backbone that a head (or a class of heads) reads."""
    return tuple(getattr(head, "levels", (-1,)))


def reads_auxiliary(head: object) -> bool:
    """True for a head that reads the logits of the auxiliary classifier."""
    return bool(getattr(head, "reads_auxiliary", False))


def ends_in_logits(head: object) -> bool:
    """True for a head that returns logits."""
    return bool(getattr(head, "ends_in_logits", False))


def needed_targets(head: object) -> tuple[str, ...]:
    """Targets that the losses of a head (or a class of heads) read."""
    return tuple(getattr(head, "needed_targets", ()))


@runtime_checkable
class Supervised(Protocol):
    """Head with outputs that only training uses.

    Every parameter must receive a gradient in every step on every process (DDP waits for it): a term without any
    labelled pixel is multiplied by 0, not left out.
    """

    def supervised(self, *maps: Tensor) -> tuple[Tensor, Mapping[str, Tensor]]:
        """Map of `forward`, and the extra outputs by name."""

    def losses(self, extras: Mapping[str, Tensor], batch: Batch, criterion: Criterion) -> dict[str, Tensor]:
        """Weighted loss terms by name; `criterion` is the configured loss of auxiliary classifiers."""


@runtime_checkable
class Attention(Protocol):
    """Attention map of a head on one image, a weight from every position to every position; computed row by row."""

    @property
    def name(self) -> str:
        """Name for readers, e.g. "whole image" or "2x2 cells"."""

    def size(self, features: Tensor) -> Size:
        """(h, w) of the positions, for features (1, C, H, W)."""

    def rows(self, features: Tensor, points: Tensor) -> Tensor:
        """Rows of the map for positions (x, y), (P, 2) -> (P, h, w); each row sums to 1."""

    def reach(self, x: int, y: int, size: Size) -> Tensor:
        """Mask (h, w) of the positions that position (x, y) can attend to."""


@runtime_checkable
class Attending(Protocol):
    """Head whose attention can be shown, of whatever kind."""

    def attended(self, *maps: Tensor) -> list[tuple[Attention, Tensor]]:
        """Attention maps in the order in which they are shown, each with the features that it receives in `forward`."""
