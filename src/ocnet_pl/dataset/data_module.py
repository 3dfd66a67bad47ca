"""Base of all data sets: loaders, and the division of the global batch."""

import signal
from collections.abc import Sequence
from functools import partial
from pathlib import Path
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
from ocnet_pl.dataset.labelled_images import LabelledImages
from ocnet_pl.dataset.labels import ignored_id, mirroring_table
from ocnet_pl.dataset.sampler import ShardSampler, StepBatchSampler
from ocnet_pl.dataset.samples import SegmentationDataset
from ocnet_pl.dataset.targets import refuse_reserved_names
from ocnet_pl.dataset.transforms import RandomScaleCrop, training_transform
from ocnet_pl.errors import UserError
from ocnet_pl.metrics import Absent
from ocnet_pl.process import die_with_parent

Loader = DataLoader[dict[str, Tensor]]


class SegmentationDataModule(LabelledImages, pl.LightningDataModule):
    """A data set with its splits, classes and loaders.

    A new data set is a subclass with `classes`, `palette`, `table` and `candidates`. It overrides `geometry`, `groups`,
    `pad_multiple` and `test_size` if its protocol is not random scale, crop and flip, tested at the image's own size.

    Args:
        root: folder of the official tree.
        crop_size: (height, width) of training crops; empty: images are not cropped.
        scale: bounds of the random scale of crops.
        scale_step: draw that scale from the lower bound in such steps; None: uniform.
        train_split: split for training.
        val_split: split for validation.
        batch_size: global batch: over all processes and accumulated micro-batches.
        val_batch_size: images per batch in evaluation, per process; they must be of one size.
        num_workers: worker processes of each loader, per process.
        cache: folder for decoded images, filled on first use; None: files are decoded each time.
        augment: albumentations transforms that follow scale, crop and flip. They must keep images uint8; pixels of
            labels without a source are ignored.
        class_weights: weights of the loss, in the order of the classes; None: the published ones, if any.
        absent_classes: rule of the mIoU for classes that occur neither in truth nor prediction: `skip` or `zero`;
            None: the rule of the data set.
        seed: seed of the run.
    """

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

    def geometry(self) -> list[A.BasicTransform]:
        """Transforms that bring an image to its training size; flip and `augment` follow."""
        fill = ignored_id(self.table)
        return [RandomScaleCrop(self.crop_size, self.scale, self.scale_step, fill)] if self.crop_size else []

    def micro_batch_size(self, world_size: int, accumulate: int) -> int:
        """Images per process and forward pass, so that the global batch is `batch_size`.

        Raises:
            UserError: `batch_size` is not divisible.
        """
        size, remainder = divmod(self.batch_size, world_size * accumulate)
        if remainder or size == 0:
            raise UserError(
                f"batch_size={self.batch_size} does not divide by {world_size} processes x {accumulate} "
                f"accumulated batches; choose a multiple of {world_size * accumulate}"
            )
        return size

    def training_set(self) -> SegmentationDataset:
        """Training split as the network gets it, indexed by `Draw`."""
        refuse_reserved_names(self.targets)
        sided = bool(self.mirror_pairs) or any(target.mirror_pairs for target in self.targets.values())
        augment = safe_augment(self.augment, self.table, self.crop_size, sided, self.targets)
        mirroring = mirroring_table(self.table, self.mirror_pairs)
        transform = training_transform(self.geometry(), augment, mirroring, self.targets)
        return self._dataset(self.train_split, transform)

    def _dataset(self, split: str, transform: A.Compose | None = None) -> SegmentationDataset:
        pairs, read = self.pairs(split), None
        if self.cache is not None:
            decoded = DecodedCache(self.cache, f"{self.title.lower()}-{split}", pairs, self.table)
            decoded.prepare()
            read = decoded.read
        return SegmentationDataset(pairs, self.table, transform, self.seed, read, self.targets)

    def train_dataloader(self) -> Loader:
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
    ) -> Loader:
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
        fills = {name: target.fill for name, target in self.targets.items() if target.kind == "mask"}
        collate = partial(pad_to_largest, multiple=self.pad_multiple, fills=fills)
        return _loader(dataset, self.num_workers, batch_sampler=sampler, collate_fn=collate)

    def val_dataloader(self) -> Loader:
        return self.evaluation_dataloader(self.val_split)

    def evaluation_dataloader(self, split: str) -> Loader:
        """Every image of a split once, at its own size, sharded over the processes."""
        trainer = self.trainer
        rank, world_size = (trainer.global_rank, trainer.world_size) if trainer else (0, 1)
        dataset = self._dataset(split)
        if world_size > len(dataset):
            raise UserError(
                f"{split!r} has {len(dataset)} images for {world_size} processes; start {len(dataset)} or fewer"
            )
        sampler = ShardSampler(len(dataset), rank, world_size)
        return _loader(dataset, self.num_workers, sampler=sampler, batch_size=self.val_batch_size, collate_fn=stack)


def _loader(dataset: SegmentationDataset, num_workers: int, **arguments: Any) -> Loader:
    # One thread per worker: workers are the parallelism, and OpenCV's thread pool does not survive a fork.
    return DataLoader(
        dataset,
        num_workers=num_workers,
        worker_init_fn=_begin_worker,
        pin_memory=torch.cuda.is_available(),
        persistent_workers=num_workers > 0,
        **arguments,
    )


def _begin_worker(worker: int) -> None:
    cv2.setNumThreads(0)
    # Killed, not signalled: a fork has the training's handlers, which only raise a flag; and it holds the run's lock.
    die_with_parent(signal.SIGKILL)
