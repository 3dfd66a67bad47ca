"""Base of all data sets, without loaders: splits, files, classes and ids."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from ocnet_pl.dataset.fingerprint import fingerprint, target_fingerprint
from ocnet_pl.dataset.labels import encoding_table
from ocnet_pl.dataset.listing import is_file
from ocnet_pl.dataset.reading import Bytes, Pair, read_label, refuse_missing_label
from ocnet_pl.dataset.targets import TargetFault, Targets
from ocnet_pl.errors import UserError
from ocnet_pl.metrics import Absent
from ocnet_pl.record.images import Fingerprint
from ocnet_pl.resizing import Size


class LabelledImages(ABC):
    """Images with labels, in splits below one folder."""

    root: Path
    classes: tuple[str, ...]
    palette: Bytes
    """(K, 3) RGB."""
    table: Bytes
    """Stored id -> train id, (256,) uint8."""
    class_weights: tuple[float, ...] | None = None
    """Weights of the loss, in the order of the classes."""
    mirror_pairs: tuple[tuple[int, int], ...] = ()
    """Train ids that a horizontal flip must exchange."""
    class_tree: Mapping[str, Sequence[int]] | None = None
    """Train ids of each group of classes, by its name, for heads with a hierarchy; every class is in one group."""
    body_parts: Mapping[str, Sequence[int]] | None = None
    """Train ids of the classes of each part of the body, by its name; structure losses compare the parts' centres."""
    published_counts: Mapping[str, int] = MappingProxyType({})
    """Published number of images of every split."""
    absent_classes: Absent = "skip"
    """Rule of the mIoU for classes that occur neither in truth nor prediction."""
    targets: Targets = MappingProxyType({})
    """Targets that training samples carry beside the label, by name."""
    train_split: str = "train"
    """Split for training; only its samples have targets."""
    pad_multiple: int = 1
    """Factor of both sides of training batches."""

    @property
    def title(self) -> str:
        """Name of the data set for readers and files."""
        return type(self).__name__

    @abstractmethod
    def candidates(self, split: str) -> list[Pair]:
        """Image and label files that make a split, in a fixed order, whether or not each exists.

        Raises:
            UserError: no such split, or no files in the place where the official tree has them.
        """

    def image_files(self, split: str) -> list[Path]:
        """Image files of a split, in a fixed order; labels, which test splits lack, may be missing.

        Raises:
            UserError: no such split, or missing images.
        """
        images = [image for image, _ in self.candidates(split)]
        for image in images:
            _refuse_missing_image(image, split)
        return images

    def pairs(self, split: str) -> list[Pair]:
        """Image and label files of a split, in a fixed order.

        Raises:
            UserError: no such split, or missing files.
        """
        pairs = self.candidates(split)
        for pair in pairs:
            _refuse_missing_image(pair[0], split)
            refuse_missing_label(pair)
        return pairs

    def has_image(self, label: Path) -> bool:
        """Test for an image that belongs to a label which none of the known splits uses."""
        return False

    def targets_of(self, split: str) -> Targets:
        """Targets that the images of a split have, read or not; those of the training split are read."""
        return self.targets if split == self.train_split else {}

    def target_faults(self, split: str, images: Sequence[Path]) -> Iterator[TargetFault]:
        """Faults of files that hold the targets of many images of a split."""
        yield from ()

    def groups(self, pairs: Sequence[Pair]) -> Sequence[int] | None:
        """Group of every image, for batches that hold images of one group only; None: batches may mix all images."""
        return None

    def test_size(self, height: int, width: int) -> Size:
        """Size to which an image of (height, width) is resized in testing."""
        return height, width

    def fingerprints(self, splits: Iterable[str]) -> dict[str, Fingerprint]:
        """Identity of the images of some splits, and of the targets of the training split: `train: pose`.

        Targets have entries of their own: a run with other targets is trained on the same images.

        Raises:
            UserError: files that are missing or cannot be read.
        """
        pairs = {split: self.pairs(split) for split in dict.fromkeys(splits)}
        found = {split: fingerprint(of_split, self.root) for split, of_split in pairs.items()}
        for name, target in self.targets.items():
            if target.source is not None and (trained := pairs.get(self.train_split)) is not None:
                found[f"{self.train_split}: {name}"] = target_fingerprint(trained, self.root, target.source)
        return found

    def submission_name(self, image: Path) -> str:
        """File name that the test server expects for the prediction of an image."""
        return f"{image.stem}.png"

    def decode(self, label: Bytes) -> Bytes:
        """Stored ids -> train ids, 255 ignored."""
        decoded: Bytes = self.table[label]
        return decoded

    def truth(self, label: Path) -> Bytes:
        """Train ids (H, W) in a label file, 255 ignored.

        Raises:
            UserError: a file that cannot be read.
        """
        return self.decode(read_label(label, self.table))

    def encode(self, prediction: Bytes) -> Bytes:
        """Train ids -> stored ids, which the test server expects."""
        encoded: Bytes = encoding_table(self.table)[prediction]
        return encoded


def _refuse_missing_image(image: Path, split: str) -> None:
    if not is_file(image):
        raise UserError(f"{image}: no such file; copy it again, or remove its name from the list of {split!r}")
