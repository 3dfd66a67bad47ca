"""Named targets beside the label: masks and keypoints that follow scale, crop, flip and augmentation."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ocnet_pl.dataset.reading import Bytes, Pair
from ocnet_pl.errors import UserError
from ocnet_pl.metrics import IGNORE

Array = NDArray[Any]

COVERED = "covered"
"""Name of the mask that follows a sample to show which pixels have a source in the image file."""
_MASK_DTYPES = ("uint8", "uint16", "float32")
_RESERVED = ("image", "mask", "label", "index", "batch", COVERED)


@dataclass(frozen=True)
class Target:
    """One named target of a training sample.

    Attributes:
        kind: "mask": an array (H, W) of the image's size, uint8, uint16 or float32, resized by nearest neighbour;
            "keypoints": an array (N, 3) of x, y and visibility, x and y in pixels of the image file. Points of
            visibility 0 are missing, and their x and y may be NaN.
        read: (image file, label file) -> array.
        fill: value of a mask where the sample has no source, e.g. padding.
        mirror_pairs: indices of keypoints that a horizontal flip exchanges, e.g. left and right wrist.
        names: names of the keypoints, for readers.
        limbs: pairs of keypoints that pictures join by a line.
        parts: train ids of the label on which a keypoint lies, by its index, for keypoints with a side.
        source: (image file, label file) -> what an image's target is read from, for the fingerprint of a run; None: the
            fingerprint does not contain the target.
    """

    kind: Literal["mask", "keypoints"]
    read: Callable[[Pair], Array]
    fill: float = 0
    mirror_pairs: Sequence[tuple[int, int]] = ()
    names: Sequence[str] = ()
    limbs: Sequence[tuple[int, int]] = ()
    parts: Mapping[int, Sequence[int]] = field(default_factory=dict)
    source: Callable[[Pair], bytes] | None = None


Targets = Mapping[str, Target]


class TargetFault(NamedTuple):
    """Fault of the files that the targets of a split are read from.

    Attributes:
        kind: short description, the same for all faults of a kind.
        message: the file and the fault, in one line.
        fatal: training on the split ends with it.
    """

    kind: str
    message: str
    fatal: bool


def refuse_reserved_names(targets: Targets) -> None:
    """Check that no target has the name of another entry of a sample.

    Raises:
        UserError: such a name.
    """
    if taken := sorted(set(targets) & set(_RESERVED)):
        raise UserError(f"target {taken[0]!r}: this name is reserved; choose another one")


def albumentations_kinds(targets: Targets) -> dict[str, str]:
    """Names of the targets with the kind that albumentations transforms them as."""
    kinds: dict[str, str] = {name: target.kind for name, target in targets.items()}
    return kinds | ({COVERED: "mask"} if "mask" in kinds.values() else {})


def read_targets(targets: Targets, pair: Pair, label: Bytes, table: Bytes) -> dict[str, Array]:
    """Read the targets of an image, as arguments of `training_transform`.

    Args:
        targets: targets by name.
        pair: files of image and label.
        label: stored ids (H, W) of the label file.
        table: stored id -> train id, (256,).

    Raises:
        UserError: a target that cannot be read, or has another size, type or number that is not finite.
    """
    read = {name: read_target(name, target, pair, label.shape) for name, target in targets.items()}
    if COVERED in albumentations_kinds(targets):
        read[COVERED] = np.full(label.shape, _source_id(table), np.uint8)
    return read


def finished_targets(targets: Targets, sample: Mapping[str, Any], table: Bytes) -> dict[str, Array]:
    """Targets of a transformed sample: masks filled where they have no source, keypoints (x, y, visible) float32.

    A keypoint that is missing or lies outside the sample has NaN, NaN and 0.

    Raises:
        UserError: a transform changed the size or type of a target.
    """
    return {name: _finished(name, target, sample, table) for name, target in targets.items()}


def visible_points(points: NDArray[np.float32], size: tuple[int, ...]) -> NDArray[np.float32]:
    """Keypoints (N, 3) in an image of size (H, W): those that are missing, or lie outside it, are 0, 0 and 0.

    The image reaches from half a pixel before the centre of its first pixel to half a pixel behind that of its last.
    """
    x, y, visible = points.T
    inside = (x >= -0.5) & (x < size[1] - 0.5) & (y >= -0.5) & (y < size[0] - 0.5)
    return np.where((inside & (visible != 0))[:, None], points, np.float32(0))


def _source_id(table: Bytes) -> int:
    """Stored id that is not ignored, so that no transform pads labels with it."""
    return int(np.flatnonzero(table != IGNORE)[0])


def read_keypoints(name: str, target: Target, pair: Pair) -> NDArray[np.float32]:
    """Keypoints (N, 3) of an image as its reader gives them: x, y and visibility, also those outside the image.

    Raises:
        UserError: they cannot be read, or a visible one has a number that is not finite.
    """
    array = _given(name, target, pair)
    if array.ndim != 2 or array.shape[1] != 3:
        raise UserError(f"{pair[0]}: target {name!r} has shape {array.shape}; expected keypoints (N, 3)")
    points = array.astype(np.float32)
    return _finite(name, np.where(points[:, 2:] == 0, np.float32(0), points), pair)


def read_target(name: str, target: Target, pair: Pair, size: tuple[int, ...]) -> Array:
    """Read one target of an image whose label has a size (H, W).

    Raises:
        UserError: it cannot be read, or has another size, type or number that is not finite.
    """
    if target.kind == "keypoints":
        return visible_points(read_keypoints(name, target, pair), size)
    array = _given(name, target, pair)
    if array.dtype not in _MASK_DTYPES:
        raise UserError(f"{pair[0]}: target {name!r} is of {array.dtype}; expected {', '.join(_MASK_DTYPES)}")
    if array.shape != size:
        raise UserError(f"{pair[0]}: target {name!r} has shape {array.shape}; expected {size}, the size of its label")
    if np.asarray(target.fill).astype(array.dtype) != target.fill:
        raise UserError(f"{pair[0]}: target {name!r} is of {array.dtype}, which cannot hold its fill {target.fill}")
    return _finite(name, array, pair)


def _given(name: str, target: Target, pair: Pair) -> Array:
    try:
        return np.asarray(target.read(pair))
    except UserError:
        raise
    except Exception as error:  # readers are the user's own code
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise UserError(f"{pair[0]}: target {name!r} cannot be read ({reason}); check its file") from error


def _finite(name: str, array: Array, pair: Pair) -> Array:
    if not np.isfinite(array).all():
        raise UserError(f"{pair[0]}: target {name!r} contains NaN or infinity; replace them with a number")
    return array


def _finished(name: str, target: Target, sample: Mapping[str, Any], table: Bytes) -> Array:
    array, (height, width) = np.asarray(sample[name]), sample["mask"].shape
    if target.kind == "keypoints":
        points = visible_points(array.astype(np.float32), (height, width))
        points[points[:, 2] == 0, :2] = np.nan  # a number would pass for a place
        return points
    if array.shape != (height, width) or array.dtype not in _MASK_DTYPES:
        raise UserError(f"augment: gives target {name!r} of {array.dtype} and {array.shape}; leave that transform out")
    return np.where(sample[COVERED] == _source_id(table), array, array.dtype.type(target.fill))
