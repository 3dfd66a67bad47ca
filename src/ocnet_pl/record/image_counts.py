"""Per-image counts of an evaluation, read from the file beside `result.json`."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ocnet_pl.errors import UserError
from ocnet_pl.record.result import Result


@dataclass(frozen=True)
class SavedCounts:
    """Counts of a test.

    Attributes:
        images: names of the image files.
        counts: true positives, false positives and false negatives of every image, (images, 3, K).
        classes: names of the classes; empty if the file does not name them.
        confusion: confusion matrix of all images together, (K, K); empty if the file has none.
        keys: hashes of the images' names and content; empty in files of older versions.
    """

    images: Sequence[str]
    counts: NDArray[np.int64]
    classes: Sequence[str]
    confusion: NDArray[np.int64]
    keys: Sequence[str] = ()

    def is_of_the_same_images(self, other: "SavedCounts") -> bool:
        """Compare images by content if both files have keys, else by name."""
        if self.keys and other.keys:
            return list(self.keys) == list(other.keys)
        return list(self.images) == list(other.images)


def read_counts(result: Result, key: str) -> SavedCounts | None:
    """Read the counts of an evaluation; None if they were not kept or the file is missing.

    Args:
        result: result of the run.
        key: key of the evaluation.
    """
    path = result.counts_file(key)
    if path is None:
        return None
    remedy = f"restore it, or delete {key} from result.json and rerun ocnet-evaluate"
    try:
        # numpy would leave a damaged file open.
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            arrays = {name: np.asarray(file[name]) for name in file.files}
        images, counts = arrays["images"], arrays["counts"]
        classes, keys = (arrays.get(name, np.empty(0, "U")) for name in ("classes", "keys"))
        confusion = arrays.get("confusion", np.empty((0, 0), int))
    except Exception as error:  # a damaged archive makes zipfile, zlib and numpy raise many kinds of exceptions
        raise UserError(f"{path}: damaged, or not a file of counts; {remedy}") from error
    count = result.evaluations[key].images
    fits = (
        counts.ndim == 3
        and counts.shape[:2] == (count, 3)
        and counts.dtype.kind in "iu"
        and (images.dtype.kind, images.shape) == ("U", (count,))
        and (not keys.size or (keys.dtype.kind, keys.shape) == ("U", (count,)))
        and (not counts.size or bool(counts.min() >= 0))
        and (not classes.size or (classes.dtype.kind, classes.shape) == ("U", counts.shape[2:]))
        and (not confusion.size or (confusion.dtype.kind in "iu" and confusion.shape == 2 * counts.shape[2:]))
    )
    if not fits:
        raise UserError(f"{path}: does not hold the counts of {count} images of {key}; {remedy}")
    return SavedCounts(images.tolist(), counts.astype(np.int64), classes.tolist(), confusion, keys.tolist())
