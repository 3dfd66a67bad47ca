"""Contracts between the network and its parts: heads, outputs that only training uses, attention that can be shown."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import ClassVar, NamedTuple, Protocol, runtime_checkable

from torch import Tensor

from ocnet_pl.resizing import Size

Batch = Mapping[str, Tensor]
"""`image` (B, 3, H, W) uint8; `label` (B, H, W) uint8, 255 is ignored; `index` (B,), the image's index in the set; and
the targets that a data set adds, by name."""

ClassTree = Mapping[str, Sequence[int]]
"""Train ids of each group of classes, by the group's name; every class is in one group."""

BodyParts = Mapping[str, Sequence[int]]
"""Train ids of the classes that make each part of the body, by the part's name; a class is in one part at most."""

Criterion = Callable[[Tensor, Tensor], Tensor]
"""(logits (B, K, H, W), labels (B, H, W)) -> scalar."""


class Outputs(NamedTuple):
    """Outputs of a network's forward pass in training.

    Attributes:
        logits: (B, num_classes, H, W).
        auxiliary: logits of the auxiliary classifier, of the same shape; None without that classifier.
        extras: outputs of the head that only its losses read.
        map_logits: logits of the classifier at the size of its own map, (B, num_classes, h, w).
    """

    logits: Tensor
    auxiliary: Tensor | None
    extras: Mapping[str, Tensor]
    map_logits: Tensor


class Head(Protocol):
    """Context head: an `nn.Module` in its own file, with a YAML in `conf/model/head/` (or in a folder of your own).

    The constructor receives the keys of the YAML and, of the following arguments, those that its signature names:

    * `in_channels`: channels of the map that the head reads; a tuple if it reads several maps;
    * `num_classes`: number of classes;
    * `map_size`: (h, w) of the last map on training crops; None where images are not cropped;
    * `class_tree`: groups of the data set's classes; a data set without them is refused.
    * `context`: another head on the last map, that of the YAML's node `context`; only with `takes_context`.

    Attributes (all but the first have a default):
        out_channels: channels of the map that `forward` returns; the network's classifier reads it.
        levels: stages of the backbone that the head reads, counted from the last, which is -1.
        image_scales: scales at which the backbone sees the image, 1 among them; `forward` receives the maps of all
            levels for the first scale, then for the next. All scales share the backbone. It may be an attribute of the
            instance.
        reads_auxiliary: `forward` also receives `auxiliary=`, the auxiliary classifier's logits (B, K, h, w).
        reads_image: `forward` also receives `image=`, the normalised image (B, 3, H, W) that the backbone reads.
        ends_in_logits: `forward` returns logits; the network has no classifier.
        takes_context: the constructor's argument `context` is another head.
        needed_targets: targets that its losses read from every batch, each with its shape for one image, e.g.
            {"pose": (16, 3)}, or () for a mask. Training on a data set without them is refused.
    """

    out_channels: int
    levels: ClassVar[tuple[int, ...]] = (-1,)
    image_scales: tuple[float, ...] = (1.0,)
    reads_auxiliary: ClassVar[bool] = False
    reads_image: ClassVar[bool] = False
    ends_in_logits: ClassVar[bool] = False
    takes_context: ClassVar[bool] = False
    needed_targets: ClassVar[Mapping[str, tuple[int, ...]]] = MappingProxyType({})

    def forward(self, *maps: Tensor) -> Tensor:
        """Maps (B, C, h, w) of `levels` -> (B, out_channels, h', w') of any stride."""


def head_levels(head: object) -> tuple[int, ...]:
    """Stages of the backbone that a head (or a class of heads) reads."""
    return tuple(getattr(head, "levels", (-1,)))


def image_scales(head: object) -> tuple[float, ...]:
    """Scales at which the backbone sees the image for a head."""
    return tuple(getattr(head, "image_scales", (1.0,)))


def reads_auxiliary(head: object) -> bool:
    """True for a head that reads the logits of the auxiliary classifier."""
    return bool(getattr(head, "reads_auxiliary", False))


def reads_image(head: object) -> bool:
    """True for a head that reads the normalised image."""
    return bool(getattr(head, "reads_image", False))


def ends_in_logits(head: object) -> bool:
    """True for a head that returns logits."""
    return bool(getattr(head, "ends_in_logits", False))


def takes_context(head: object) -> bool:
    """True for a head with another head within it."""
    return bool(getattr(head, "takes_context", False))


def needed_targets(head: object) -> dict[str, tuple[int, ...]]:
    """Targets that the losses of a head (or a class of heads) read, with their shapes."""
    return dict(getattr(head, "needed_targets", {}))


class AdditionalLoss(Protocol):
    """Further loss of the classifier, an `nn.Module`: logits (B, K, h, w), labels (B, h, w) -> weighted scalar.

    Its parameters are optimised with the learning rate of the backbone and without weight decay, and are saved and
    resumed with the run. Each needs a gradient in every step (see `Supervised`).

    Attributes (both have a default):
        at_map_size: the loss reads the logits at the size of the classifier's own map, with labels subsampled to that
            size; otherwise logits at the size of the labels.
        progress: steps done, as a share of all steps; set before each step on a loss that has this attribute.
    """

    at_map_size: ClassVar[bool] = False
    progress: float

    def __call__(self, logits: Tensor, label: Tensor) -> Tensor:
        """The loss, with its weight."""


def at_map_size(loss: object) -> bool:
    """True for a loss that reads the logits at the size of the classifier's own map."""
    return bool(getattr(loss, "at_map_size", False))


class ImageWeighting(Protocol):
    """Weights of whole images in the losses of classifiers, an `nn.Module`.

    Its constructor receives the keys of the YAML and, of the following arguments, those that its signature names:
    `num_classes`, and `body_parts` (a data set without them is refused).
    """

    def weighted(self, criterion: Criterion, logits: Tensor, label: Tensor) -> Criterion:
        """A criterion with weights; logits (B, K, H, W) are those of the network's classifier."""


@runtime_checkable
class Supervised(Protocol):
    """Head with outputs that only training uses.

    Every parameter must receive a gradient in every step on every process (DDP waits for it): a term without any
    labelled pixel is multiplied by 0, not left out.
    """

    def supervised(self, *maps: Tensor, **named: Tensor) -> tuple[Tensor, Mapping[str, Tensor]]:
        """Map of `forward`, and the extra outputs by name; the arguments are those of `forward`."""

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

    def attended(self, *maps: Tensor, **named: Tensor) -> list[tuple[Attention, Tensor]]:
        """Attention maps in the order in which they are shown, each with the features that it receives in `forward`.

        The arguments are those of `forward`.
        """
