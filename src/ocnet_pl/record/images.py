"""Images that a run is trained and tested on: part of its identity, and what decides whether a score is a test."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ocnet_pl.atomic import whole_file
from ocnet_pl.errors import UserError
from ocnet_pl.record.directory import DATA, RunDirectory, read_json, write_json

Keys = NDArray[np.uint64]
"""Images by the first 64 bits of their hashes."""

TRAINED = "trained_images.npz"
"""Keys of all images that the network was trained on, by this run and by those that it started from."""


@dataclass(frozen=True)
class Fingerprint:
    """Keys of the images of a split, in its order. A key is 32 hexadecimal digits.

    Keys are computed from names, sizes and parts of the files: a moved or copied data set has the same ones, and a file
    that is replaced changes them even if its name and size stay.

    Attributes:
        keys: hashes of name below the root, image and label: equal for one and the same pair.
        images: hashes of the image file alone: equal for one and the same picture under any name.
    """

    keys: tuple[str, ...]
    images: tuple[str, ...]

    @property
    def sha256(self) -> str:
        """One hash over all keys, in their order."""
        return hashlib.sha256("\n".join(self.keys).encode()).hexdigest()

    def summary(self) -> dict[str, int | str]:
        """Entry for a result file: number of images, and the hash over all keys."""
        return {"images": len(self.keys), "sha256": self.sha256}


def refuse_other_images(run: RunDirectory, found: Mapping[str, Fingerprint]) -> None:
    """Refuse to resume, or to skip as finished, a run on other images than it was started on.

    Raises:
        UserError: a split holds other images than the run recorded.
    """
    kept = run.result.is_file() or run.last_checkpoint.is_file()  # else there is nothing to lose
    recorded = recorded_images(run) if kept else {}
    for split, now in found.items():
        before = recorded.get(split)
        if before is not None and before["sha256"] != now.sha256:
            count = f"{before['images']} images, now {len(now.keys)}"
            if before["images"] == len(now.keys):
                count = f"{len(now.keys)} images, now with other names, pixels or labels"
            raise UserError(
                f"{run.path}: contains a run on other images ({split}: {count}); restore them, or choose "
                "another name= or row= for this run"
            )


def record_images(run: RunDirectory, found: Mapping[str, Fingerprint]) -> None:
    """Write `data.json`; splits that it has already stay."""
    write_json(run.path / DATA, recorded_images(run) | {split: one.summary() for split, one in found.items()})


def recorded_images(run: RunDirectory) -> dict[str, dict[str, int | str]]:
    """Content of `data.json`; empty for a run of an older version.

    Raises:
        UserError: a damaged file.
    """
    path = run.path / DATA
    content = read_json(path) if path.is_file() else {}
    entries = content.values() if isinstance(content, dict) else [None]
    if not all(isinstance(one, dict) and {"images", "sha256"} <= one.keys() for one in entries):
        raise UserError(f"{path}: not a file of ocnet-train; restore it, or delete it to give up this check")
    return content


def image_keys(images: Fingerprint) -> Keys:
    """Keys of the images of a split, whatever their names and labels."""
    return np.array([int(key[:16], 16) for key in images.images], np.uint64)


def record_trained(run: RunDirectory, trained: Fingerprint | None, parent: RunDirectory | None) -> Keys | None:
    """Write which images the network has been trained on.

    Args:
        run: the run.
        trained: images of its training split; None where it makes no step.
        parent: the run that it started from.

    Returns:
        All of them, the parent's too; None where the parent does not know its own.
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
    """Keys of the images that a run's network has been trained on; None for a run of an older version.

    Raises:
        UserError: a damaged file.
    """
    path = run.path / TRAINED
    if not path.is_file():
        return None
    try:
        with np.load(path) as file:
            keys: Keys = file["images"].astype(np.uint64, casting="safe")
            return keys
    except Exception as error:  # a damaged archive breaks the reader in many ways
        raise UserError(f"{path}: damaged; delete it, and scores are no longer checked against it") from error


def images_trained_on(tested: Fingerprint, trained: Keys | None) -> int | None:
    """How many of the tested images the network was trained on; None where that is not known."""
    return None if trained is None else int(np.isin(image_keys(tested), trained).sum())
