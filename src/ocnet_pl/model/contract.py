"""Contracts between the network and its parts: heads, their training-only outputs, and attention that can be shown."""

from collections.abc import Callable, Mapping
from typing import ClassVar, Protocol, runtime_checkable

from torch import Tensor

from ocnet_pl.resizing import Size

Batch = Mapping[str, Tensor]
"""image (B, 3, H, W) uint8; label (B, H, W) uint8 with 255 ignored; index (B,), of the image in the set; and the
targets that a data set adds, by name."""

Criterion = Callable[[Tensor, Tensor], Tensor]
"""(logits (B, K, H, W), labels (B, H, W)) -> scalar."""


class Head(Protocol):
    """Context head: an `nn.Module` in a file of its own, with a YAML in `conf/model/head/` (or a folder of your own).

    The constructor gets those of these arguments that its signature names, and what the YAML says:

    * `in_channels`: channels of the map that it reads; a tuple where it reads several;
    * `num_classes`: number of classes;
    * `map_size`: (h, w) of the last map on training crops; None where images are not cropped.

    Attributes (all but the first have a default):
        out_channels: channels of `forward`'s map, which the network's classifier reads.
        levels: stages of the backbone that it reads, counted from the last, which is -1.
        reads_auxiliary: `forward` gets `auxiliary=`, the logits (B, K, h, w) of the auxiliary classifier, too.
        ends_in_logits: `forward` gives logits; the network has no classifier.
    """

    out_channels: int
    levels: ClassVar[tuple[int, ...]] = (-1,)
    reads_auxiliary: ClassVar[bool] = False
    ends_in_logits: ClassVar[bool] = False

    def forward(self, *maps: Tensor) -> Tensor:
        """Maps (B, C, h, w) of `levels` -> (B, out_channels, h', w') of any stride."""


@runtime_checkable
class Supervised(Protocol):
    """Head with outputs that only training uses.

    Every parameter must get a gradient in every step, on every process: a term without any pixel is multiplied by 0,
    not left out.
    """

    def supervised(self, *maps: Tensor) -> tuple[Tensor, Mapping[str, Tensor]]:
        """`forward`'s map, and the extra outputs by name."""

    def losses(self, extras: Mapping[str, Tensor], batch: Batch, criterion: Criterion) -> dict[str, Tensor]:
        """Weighted loss terms by name; `criterion` is the configured loss of auxiliary classifiers."""


@runtime_checkable
class Attention(Protocol):
    """One attention map of a head on one image: a weight from every position to every position, asked for by rows."""

    @property
    def name(self) -> str:
        """Name for readers: "whole image", "2x2 cells"."""

    def size(self, features: Tensor) -> Size:
        """(h, w) of the positions, for features (1, C, H, W)."""

    def rows(self, features: Tensor, points: Tensor) -> Tensor:
        """Weights of some positions (P, 2), as (x, y): (P, h, w), each row summing to 1."""

    def reach(self, x: int, y: int, size: Size) -> Tensor:
        """Positions that position (x, y) can attend to, (h, w) bool."""


@runtime_checkable
class Attending(Protocol):
    """Head whose attention can be shown, whatever kind it is."""

    def attended(self, *maps: Tensor) -> list[tuple[Attention, Tensor]]:
        """Attentions in the order in which they are shown, each with the features that `forward` gives it."""
