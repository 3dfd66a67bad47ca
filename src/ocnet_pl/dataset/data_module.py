"""Base of all data sets: splits, loaders, and the division of the global batch."""

import signal
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any

import albumentations as A
import cv2
import pytorch_lightning as pl
import torch
from pydantic import Field
from torch import Tensor
from torch.utils.data import DataLoader

from ocnet_pl.arguments import Name, Number, Positive, PositiveNumber, Whole, checked, refuse
from ocnet_pl.dataset.augmenting import safe_augment
from ocnet_pl.dataset.cache import DecodedCache
from ocnet_pl.dataset.collate import pad_to_largest, stack
from ocnet_pl.dataset.fingerprint import fingerprint
from ocnet_pl.dataset.labels import encoding_table, ignored_id, mirroring_table
from ocnet_pl.dataset.listing import is_file
from ocnet_pl.dataset.reading import Bytes, Pair, read_label, refuse_missing_label
from ocnet_pl.dataset.sampler import ShardSampler, StepBatchSampler
from ocnet_pl.dataset.samples import SegmentationDataset
from ocnet_pl.dataset.transforms import RandomScaleCrop, training_transform
from ocnet_pl.errors import UserError
from ocnet_pl.metrics import Absent
from ocnet_pl.process import die_with_parent
from ocnet_pl.record.images import Fingerprint
from ocnet_pl.resizing import Size


class SegmentationDataModule(pl.LightningDataModule, ABC):
    """A data set with its splits, classes and loaders.

    A new data set is a subclass with the attributes and `candidates`. Where its protocol is not random scale, crop and
    flip, and a test at the image's own size, it says so in `geometry`, `groups`, `pad_multiple` and `test_size`.

    Args:
        root: folder of the official tree.
        crop_size: (height, width) of training crops; empty: images are not cut.
        scale: bounds of the random scale of crops.
        scale_step: draw that scale from the lower bound in such steps; None: uniform.
        train_split: split that trains.
        val_split: split that validates.
        batch_size: global batch: over all processes and accumulated micro-batches.
        val_batch_size: images at a time in evaluation, per process; they must be of one size.
        num_workers: worker processes of each loader, per process.
        cache: folder for decoded images, filled on first use; None: files are decoded each time.
        augment: albumentations transforms that follow scale, crop and flip. They leave an image of bytes, and what they
            have no source for is ignored in labels.
        class_weights: weights of the loss, in the order of the classes; None: the published ones, if any.
        absent_classes: rule of the mIoU for classes that occur neither in truth nor prediction: `skip` or `zero`;
            None: the data set's.
        seed: seed of the run.
    """

    classes: tuple[str, ...]
    palette: Bytes
    """(K, 3) RGB."""
    class_weights: tuple[float, ...] | None = None
    mirror_pairs: tuple[tuple[int, int], ...] = ()
    """Train ids that a horizontal flip must exchange."""
    table: Bytes
    """Stored id -> train id, (256,) uint8."""
    published_counts: Mapping[str, int] = MappingProxyType({})
    """Images of every split, where its makers say how many."""
    pad_multiple: int = 1
    """Sides of training batches are multiples of it."""
    absent_classes: Absent = "skip"
    """Rule of the mIoU for classes that occur neither in truth nor prediction, where the argument does not say."""

    @checked
    def __init__(
        self,
        root: Name,
        *,
        crop_size: Sequence[Positive] = (),
        scale: Annotated[Sequence[PositiveNumber], Field(min_length=2, max_length=2)] = (0.5, 2.0),
        scale_step: PositiveNumber | None = None,
        train_split: Name = "train",
        val_split: Name = "val",
        batch_size: Positive = 8,
        val_batch_size: Positive = 1,
        num_workers: Whole = 4,
        cache: Name | None = None,
        augment: Sequence[Any] = (),
        class_weights: Sequence[Number] | None = None,
        absent_classes: Absent | None = None,
        seed: Whole = 0,
    ) -> None:
        super().__init__()
        if len(crop_size) not in (0, 2):
            raise refuse("crop_size", crop_size, "[height,width], or []")
        if scale[0] > scale[1]:
            raise refuse("scale", scale, "[lowest,highest], e.g. [0.5,2.0]")
        self.root = Path(root)
        self.crop_size = tuple(crop_size)
        self.scale = tuple(scale)
        self.scale_step = scale_step
        self.train_split = train_split
        self.val_split = val_split
        self.batch_size = batch_size
        self.val_batch_size = val_batch_size
        self.num_workers = num_workers
        self.cache = None if cache is None else Path(cache)
        self.augment = tuple(augment)
        self.seed = seed
        if absent_classes is not None:
            self.absent_classes = absent_classes
        if class_weights is not None:
            if len(class_weights) != len(self.classes):
                count = f"{len(self.classes)} numbers, one for each class, not {len(class_weights)}"
                raise refuse("class_weights", class_weights, count)
            if not any(class_weights):
                raise refuse("class_weights", class_weights, "at least one number above 0")
            self.class_weights = tuple(class_weights)

    @property
    def title(self) -> str:
        """Name of the data set for readers and files."""
        return type(self).__name__

    @abstractmethod
    def candidates(self, split: str) -> list[Pair]:
        """Image and label files that make a split, in a fixed order, whether or not each is there.

        Raises:
            UserError: no such split, or nothing where the official tree has it.
        """

    def image_files(self, split: str) -> list[Path]:
        """Image files of a split, in a fixed order; labels, which test splits lack, are not asked for.

        Raises:
            UserError: no such split, or images that are not where the official tree has them.
        """
        images = [image for image, _ in self.candidates(split)]
        for image in images:
            _refuse_missing_image(image, split)
        return images

    def pairs(self, split: str) -> list[Pair]:
        """Image and label files of a split, in a fixed order.

        Raises:
            UserError: no such split, or files that are not where the official tree has them.
        """
        pairs = self.candidates(split)
        for pair in pairs:
            _refuse_missing_image(pair[0], split)
            refuse_missing_label(pair)
        return pairs

    def has_image(self, label: Path) -> bool:
        """Test for an image of a label that none of the known splits uses."""
        return False

    def fingerprints(self, splits: Iterable[str]) -> dict[str, Fingerprint]:
        """Identity of the images of some splits.

        Raises:
            UserError: files that are missing or cannot be read.
        """
        return {split: fingerprint(self.pairs(split), self.root) for split in dict.fromkeys(splits)}

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
        """Train ids -> stored ids, which are what the test server wants."""
        encoded: Bytes = encoding_table(self.table)[prediction]
        return encoded

    def geometry(self) -> list[A.BasicTransform]:
        """Transforms that bring an image to its training size; flip and `augment` follow."""
        fill = ignored_id(self.table)
        return [RandomScaleCrop(self.crop_size, self.scale, self.scale_step, fill)] if self.crop_size else []

    def groups(self, pairs: Sequence[Pair]) -> Sequence[int] | None:
        """Group of every image, for batches that hold images of one group only; None: any may stand together."""
        return None

    def test_size(self, height: int, width: int) -> Size:
        """The size at which the network gets an image of such a size in testing."""
        return height, width

    def micro_batch_size(self, world_size: int, accumulate: int) -> int:
        """Images a process takes at a time, so that the global batch is what the schedule says.

        Raises:
            UserError: when it does not divide.
        """
        size, remainder = divmod(self.batch_size, world_size * accumulate)
        if remainder or size == 0:
            raise UserError(
                f"schedule.batch_size={self.batch_size} does not divide by {world_size} processes x {accumulate} "
                f"accumulated batches: choose a multiple of {world_size * accumulate}"
            )
        return size

    def training_set(self) -> SegmentationDataset:
        """The images of the training split as the network gets them, by `Draw`."""
        mirroring = mirroring_table(self.table, self.mirror_pairs)
        augment = safe_augment(self.augment, self.table, self.crop_size, bool(self.mirror_pairs))
        transform = training_transform(self.geometry(), augment, mirroring)
        return self._dataset(self.train_split, transform)

    def _dataset(self, split: str, transform: A.Compose | None = None) -> SegmentationDataset:
        pairs = self.pairs(split)
        if self.cache is None:
            return SegmentationDataset(pairs, self.table, transform, self.seed)
        decoded = DecodedCache(self.cache, f"{self.title.lower()}-{split}", pairs, self.table)
        decoded.prepare()
        return SegmentationDataset(pairs, self.table, transform, self.seed, decoded.read)

    def train_dataloader(self) -> DataLoader[dict[str, Tensor]]:
        trainer = self.trainer
        assert trainer is not None
        return self.training_dataloader(
            trainer.max_steps,
            start=trainer.global_step,
            rank=trainer.global_rank,
            world_size=trainer.world_size,
            accumulate=trainer.accumulate_grad_batches,
        )

    def training_dataloader(
        self, stop: int, *, start: int = 0, rank: int = 0, world_size: int = 1, accumulate: int = 1
    ) -> DataLoader[dict[str, Tensor]]:
        """Batches of one process for the optimizer steps from `start` to `stop`."""
        dataset = self.training_set()
        sampler = StepBatchSampler(
            len(dataset),
            self.micro_batch_size(world_size, accumulate),
            self.seed,
            start=start * accumulate,
            stop=stop * accumulate,
            rank=rank,
            world_size=world_size,
            groups=self.groups(dataset.pairs),
            chunk=self.batch_size,
        )
        return self._loader(
            dataset, batch_sampler=sampler, collate_fn=partial(pad_to_largest, multiple=self.pad_multiple)
        )

    def val_dataloader(self) -> DataLoader[dict[str, Tensor]]:
        return self.evaluation_dataloader(self.val_split)

    def evaluation_dataloader(self, split: str) -> DataLoader[dict[str, Tensor]]:
        """Every image of a split once, at its own size, sharded over the processes."""
        trainer = self.trainer
        rank, world_size = (trainer.global_rank, trainer.world_size) if trainer else (0, 1)
        dataset = self._dataset(split)
        if world_size > len(dataset):
            raise UserError(
                f"{split!r} has {len(dataset)} images for {world_size} processes: give trainer.devices={len(dataset)} "
                "or fewer"
            )
        sampler = ShardSampler(len(dataset), rank, world_size)
        return self._loader(dataset, sampler=sampler, batch_size=self.val_batch_size, collate_fn=stack)

    def _loader(self, dataset: SegmentationDataset, **arguments: Any) -> DataLoader[dict[str, Tensor]]:
        # One thread a worker: workers are the parallelism, and OpenCV's pool does not survive a fork.
        return DataLoader(
            dataset,
            num_workers=self.num_workers,
            worker_init_fn=_begin_worker,
            pin_memory=torch.cuda.is_available(),
            persistent_workers=self.num_workers > 0,
            **arguments,
        )


def _refuse_missing_image(image: Path, split: str) -> None:
    if not is_file(image):
        raise UserError(f"{image}: no such file; copy it again, or take its name off the list of {split!r}")


def _begin_worker(worker: int) -> None:
    cv2.setNumThreads(0)
    # Killed and not asked: a fork has the training's handlers, which only raise a flag; and it holds the run's lock.
    die_with_parent(signal.SIGKILL)
