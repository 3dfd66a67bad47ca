"""Images that a run is trained and tested on: part of its identity, and the evidence that a score is a test."""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from ocnet_pl.atomic import whole_file
from ocnet_pl.errors import UserError
from ocnet_pl.record.directory import DATA, RunDirectory
from ocnet_pl.record.sealed import Count, read_record, write_json

Keys = NDArray[np.uint64]
"""Images, each as the first 64 bits of its hash."""

TRAINED = "trained_images.npz"
"""Keys of all images that the network was trained on, by this run and its ancestors."""


@dataclass(frozen=True)
class SplitImages:
    """Images of a split as a run found them.

    Attributes:
        images: number of images.
        sha256: hash over the names and the content of images and labels.
    """

    images: Count
    sha256: str


@dataclass(frozen=True)
class Fingerprint:
    """Keys of the images of a split, in its order. A key is 32 hexadecimal digits.

    Keys are computed from names, sizes and parts of the files. They do not change when the data set is moved or copied;
    they change when a file is replaced, even by one of the same name and size. `content_hashes` reads every byte.

    Attributes:
        keys: hashes of relative name, image and label: equal for identical pairs.
        images: hashes of the image files alone: equal for identical images of any name.
    """

    keys: tuple[str, ...]
    images: tuple[str, ...]

    @property
    def sha256(self) -> str:
        """Hash over all keys, in their order."""
        return hashlib.sha256("\n".join(self.keys).encode()).hexdigest()

    def summary(self) -> SplitImages:
        """Entry for a result file."""
        return SplitImages(len(self.keys), self.sha256)


def refuse_other_images(run: RunDirectory, found: Mapping[str, Fingerprint]) -> None:
    """Refuse to resume, or to skip as finished, a run that was started on other images.

    Raises:
        UserError: a split holds other images than the run recorded.
    """
    kept = run.result.is_file() or run.last_checkpoint.is_file()  # else there is nothing to lose
    recorded = recorded_images(run) if kept else {}
    for split, now in found.items():
        before = recorded.get(split)
        if before is not None and before.sha256 != now.sha256:
            count = f"{before.images} images, now {len(now.keys)}"
            if before.images == len(now.keys):
                count = f"{len(now.keys)} images, now with other names, pixels, labels or targets"
            raise UserError(
                f"{run.path}: contains a run on other images ({split}: {count}); restore them, or choose "
                "another name= or row= for this run"
            )


def record_images(run: RunDirectory, found: Mapping[str, Fingerprint]) -> None:
    """Write `data.json`; entries of other splits are kept."""
    splits = recorded_images(run) | {split: one.summary() for split, one in found.items()}
    write_json(run.path / DATA, {split: asdict(images) for split, images in splits.items()})


def recorded_images(run: RunDirectory) -> dict[str, SplitImages]:
    """Content of `data.json`; empty for a run of an older version."""
    path = run.path / DATA
    if not path.is_file():
        return {}
    remedy = "restore it, or delete it to give up this check"
    return read_record(path, dict[str, SplitImages], "a file of ocnet-train", remedy)


def image_keys(images: Fingerprint) -> Keys:
    """Keys of the images of a split, independent of their names and labels."""
    return np.array([int(key[:16], 16) for key in images.images], np.uint64)


def record_trained(run: RunDirectory, trained: Fingerprint | None, parent: RunDirectory | None) -> Keys | None:
    """Record which images the network has been trained on.

    Args:
        run: the run.
        trained: images of its training split; None if it makes no step.
        parent: the run that it starts from.

    Returns:
        Keys of these images and the parent's; None if the parent's are unknown.
    """
    own = np.zeros(0, np.uint64) if trained is None else image_keys(trained)
    before = trained_keys(parent) if parent else np.zeros(0, np.uint64)
    if before is None:
        return None
    keys = np.union1d(own, before)
    with whole_file(run.path / TRAINED) as file:
        np.savez_compressed(file, images=keys)
    return keys


def trained_keys(run: RunDirectory) -> Keys | None:
    """Keys of the images that a run's network has been trained on; None for a run of an older version."""
    path = run.path / TRAINED
    if not path.is_file():
        return None
    try:
        with np.load(path) as file:
            keys: Keys = file["images"].astype(np.uint64, casting="safe")
            return keys
    except Exception as error:  # a damaged archive raises many kinds of exceptions
        raise UserError(f"{path}: damaged; delete it, and scores are no longer checked against it") from error


def images_trained_on(tested: Fingerprint, trained: Keys | None) -> int | None:
    """Number of tested images that the network was trained on; None if unknown."""
    return None if trained is None else int(np.isin(image_keys(tested), trained).sum())
