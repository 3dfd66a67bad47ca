"""Checkpoints carry their config, and are read without executing anything."""

import io
import pickle
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback, ModelCheckpoint
from pytorch_lightning.plugins.io import TorchCheckpointIO
from torch import nn

from ocnet_pl.errors import UserError
from ocnet_pl.whole_file import whole_file


class WholeCheckpoints(TorchCheckpointIO):
    """Checkpoints appear whole or not at all.

    Lightning writes them into the system's temporary folder first and moves them: from another file system that is a
    copy, of which a full disk or a kill leaves half in the place of the one before.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None) -> None:
        content = io.BytesIO()
        torch.save(checkpoint, content)
        with whole_file(Path(path)) as file:
            file.write(content.getbuffer())  # of a full disk torch.save itself says "unexpected pos"


class CheckpointConfig(Callback):
    """Writes the resolved config and the class names into every checkpoint, as plain dicts and strings."""

    def __init__(self, config: dict[str, Any], choices: dict[str, str], classes: Sequence[str]) -> None:
        self.content = {"config": config, "choices": choices, "classes": list(classes)}

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        checkpoint.update(self.content)


class RunCheckpoint(ModelCheckpoint):
    """Lightning's, for runs that accumulate micro-batches and for runs that are moved."""

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if ends_step(trainer, batch_idx):  # else a resume would go on between two micro-batches, without their sum
            super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        # Where the folder has another name now, Lightning would forget which checkpoint was best.
        here = Path(str(self.dirpath))
        moved = {key: _moved(state_dict[key], here) for key in ("best_model_path", "kth_best_model_path")}
        best = {_moved(path, here): score for path, score in state_dict["best_k_models"].items()}
        super().load_state_dict({**state_dict, **moved, "best_k_models": best, "dirpath": self.dirpath})


def ends_step(trainer: pl.Trainer, batch_idx: int) -> bool:
    """Whether the optimizer made its step after this micro-batch."""
    return (batch_idx + 1) % trainer.accumulate_grad_batches == 0


def _moved(path: str, folder: Path) -> str:
    return str(folder / Path(path).name) if path else path


def checkpoint_callbacks(folder: Path, every: int) -> list[Callback]:
    """`last.ckpt` every so many steps, and `best.ckpt` by validation mIoU.

    Two callbacks, because one that does both ranks each save by the validation before it.
    """
    return [
        RunCheckpoint(folder, filename="last", every_n_train_steps=every, enable_version_counter=False),
        RunCheckpoint(folder, filename="best", monitor="val/miou", mode="max", enable_version_counter=False),
    ]


def read_checkpoint(path: Path) -> dict[str, Any]:
    """`config`, `choices`, `classes`, `state_dict` and Lightning's own entries of a checkpoint.

    Raises:
        UserError: no such file, damaged, unsafe, or not written by `ocnet-train`.
    """
    if not path.is_file():
        raise UserError(f"checkpoint={path}: no such file; runs keep theirs in <run>/checkpoints/last.ckpt")
    if not zipfile.is_zipfile(path):
        raise UserError(f"checkpoint={path}: damaged or not a checkpoint; use another one of the run")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UserError(f"checkpoint={path}: holds more than weights and plain values, and is not loaded") from error
    except (RuntimeError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(f"checkpoint={path}: damaged or not a checkpoint; use another one of the run") from error
    if not isinstance(content, dict) or not {"config", "classes", "state_dict"} <= content.keys():
        raise UserError(f"checkpoint={path}: not written by ocnet-train, it carries no config")
    return content


def load_weights(network: nn.Module, content: dict[str, Any], path: Path) -> None:
    """Puts the weights of a checkpoint into a network.

    Raises:
        UserError: they are another network's.
    """
    weights = {k.removeprefix("network."): v for k, v in content["state_dict"].items() if k.startswith("network.")}
    own = network.state_dict()
    wrong = {
        "missing": own.keys() - weights.keys(),
        "unexpected": weights.keys() - own.keys(),
        "of another shape": {k for k in own.keys() & weights.keys() if own[k].shape != weights[k].shape},
    }
    if any(wrong.values()):
        told = "; ".join(f"{len(names)} {what}, e.g. {min(names)}" for what, names in wrong.items() if names)
        raise UserError(
            f"checkpoint={path}: holds the weights of another network ({told}); check model/head and model/backbone"
        )
    network.load_state_dict(weights)
