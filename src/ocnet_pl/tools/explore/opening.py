"""Opened checkpoints, the images of their data sets, and names that tell them apart."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ocnet_pl.dataset.data_module import SegmentationDataModule
from ocnet_pl.dataset.reading import Bytes
from ocnet_pl.errors import UserError
from ocnet_pl.model.object_context import NoAttentionError, require_attention
from ocnet_pl.predictor import Predictor
from ocnet_pl.record.directory import RunDirectory
from ocnet_pl.run.restoring import restore


@dataclass(frozen=True)
class OpenedCheckpoint:
    """A checkpoint with its network and data set.

    Attributes:
        path: file of the checkpoint.
        predictor: network in evaluation mode on its device, with its protocol.
        data: data set of the training.
        head: name of the head, as in `conf/model/head/`.
        label: name of the head in tables.
        row: name of the row in its table.
        seed: seed of the run.
        step: step at which it was saved.
    """

    path: Path
    predictor: Predictor
    data: SegmentationDataModule
    head: str
    label: str
    row: str
    seed: int
    step: int

    @property
    def maps(self) -> list[str]:
        """Names of the head's attention maps, in order."""
        return self.predictor.attend(np.zeros((64, 64, 3), np.uint8)).names

    @property
    def run(self) -> RunDirectory:
        """Directory of its run."""
        return RunDirectory.of_checkpoint(self.path)


def open_checkpoint(
    path: Path, device: torch.device, root: Path | None = None, *, attending: bool = False
) -> OpenedCheckpoint:
    """Open a checkpoint; nothing in the file is executed.

    Args:
        path: a `.ckpt` written by `ocnet-train`.
        device: device of the network.
        root: folder of the data set; None: the folder of the training.
        attending: require a head whose attention can be shown.

    Raises:
        UserError: the file is not such a checkpoint.
        NoAttentionError: `attending`, and the head has no attention.
    """
    restored = restore(path, device=device, root=root)
    if attending:
        try:
            require_attention(restored.predictor.network.head)
        except NoAttentionError as error:
            raise NoAttentionError(f"{path}: {error}") from None
    checkpoint = restored.checkpoint
    head = checkpoint.head
    label = str(restored.config.model.head.get("label", head))
    row, seed = str(checkpoint.config.get("row", head)), int(checkpoint.config.get("seed", 0))
    return OpenedCheckpoint(path, restored.predictor, restored.data, head, label, row, seed, checkpoint.step)


def distinct_names(checkpoints: Sequence[OpenedCheckpoint]) -> list[str]:
    """Label of each head, with the row, seed, step or file if they are needed to tell checkpoints apart."""
    names = [one.label for one in checkpoints]
    for part in (
        lambda one: one.row,
        lambda one: f"seed {one.seed}",
        lambda one: f"step {one.step}",
        lambda one: one.path.stem,
        lambda one: str(one.path),
    ):
        parts = [part(one) for one in checkpoints]
        values = {name: {p for n, p in zip(names, parts, strict=True) if n == name} for name in names}
        names = [f"{n}, {p}" if len(values[n]) > 1 else n for n, p in zip(names, parts, strict=True)]
    return names


def refuse_several_data_sets(checkpoints: Sequence[OpenedCheckpoint]) -> None:
    """Raises: UserError: the checkpoints have different classes."""
    if other := next((one for one in checkpoints if one.data.classes != checkpoints[0].data.classes), None):
        raise UserError(
            f"{other.path}: was trained on other classes than {checkpoints[0].path}; explore them separately"
        )


def first_images(data: SegmentationDataModule, count: int) -> list[Path]:
    """The first images of the validation split.

    Raises:
        UserError: the data set was not found.
    """
    data.prepare_data()
    return [image for image, _ in data.pairs(data.val_split)[:count]]


def find_truth(data: SegmentationDataModule, image: Path, label: Path | None = None) -> Bytes | None:
    """Train ids of an image, from a label file or else from the data set; None if neither has them.

    Raises:
        UserError: the label cannot be read.
    """
    if label is not None:
        return data.truth(label)
    for split in (data.val_split, data.train_split):
        try:
            pairs = data.candidates(split)
        except UserError:  # the data set is not on this machine
            continue
        for candidate, path in pairs:
            if candidate.resolve() == image.resolve() and path.is_file():
                return data.truth(path)
    return None
