"""Checkpoints opened for looking into: the network, its data set, and how readers tell it from others."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ocnet_pl.dataset.data_module import SegmentationDataModule
from ocnet_pl.errors import UserError
from ocnet_pl.model.object_context import NoAttentionError, require_attention
from ocnet_pl.predictor import Predictor
from ocnet_pl.record.directory import RunDirectory
from ocnet_pl.run.restoring import restore


@dataclass(frozen=True)
class Explored:
    """An opened checkpoint.

    Attributes:
        path: of the file.
        predictor: the network in evaluation mode on its device, with its protocol.
        data: the data set of its training.
        head: name of the head, as in `conf/model/head/`.
        label: name of the head for readers.
        row: of its table.
        seed: of its run.
        step: at which it was saved.
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
        """Names of its maps for readers, in order."""
        return self.predictor.attend(np.zeros((64, 64, 3), np.uint8)).names

    @property
    def run(self) -> RunDirectory:
        """The run that it lies in, where it lies in one."""
        return RunDirectory.of_checkpoint(self.path)


def open_any(path: Path, device: torch.device, root: Path | None = None) -> Explored:
    """Open a checkpoint of any head; nothing in the file is executed.

    Args:
        path: a `.ckpt` written by `ocnet-train`.
        device: device of the network.
        root: folder of the data set, where it is not where it was in training.

    Raises:
        UserError: no such checkpoint.
    """
    restored = restore(path, device=device, root=root)
    checkpoint = restored.checkpoint
    head = checkpoint.head
    label = str(restored.config.model.head.get("label", head))
    row, seed = str(checkpoint.config.get("row", head)), int(checkpoint.config.get("seed", 0))
    return Explored(path, restored.predictor, restored.data, head, label, row, seed, checkpoint.step)


def open_checkpoint(path: Path, device: torch.device, root: Path | None = None) -> Explored:
    """The same, of a head with attention.

    Raises:
        UserError: no such checkpoint, or a head without attention.
    """
    one = open_any(path, device, root)
    try:
        require_attention(one.predictor.network.head)
    except NoAttentionError as error:
        raise NoAttentionError(f"{path}: {error}") from None
    return one


def names(explored: Sequence[Explored]) -> list[str]:
    """`ASP-OC`, and of row, seed, step and file what it takes to tell them apart."""
    told = [one.label for one in explored]
    for part in (
        lambda one: one.row,
        lambda one: f"seed {one.seed}",
        lambda one: f"step {one.step}",
        lambda one: one.path.stem,
        lambda one: str(one.path),
    ):
        more = [part(one) for one in explored]
        alike = [[i for i, name in enumerate(told) if name == told[j]] for j in range(len(told))]
        told = [f"{name}, {more[j]}" if len({more[i] for i in alike[j]}) > 1 else name for j, name in enumerate(told)]
    return told


def refuse_several_data_sets(explored: Sequence[Explored]) -> None:
    """Raises: UserError: they do not share their classes."""
    if other := next((one for one in explored if one.data.classes != explored[0].data.classes), None):
        raise UserError(f"{other.path}: was trained on other classes than {explored[0].path}; look at them apart")
