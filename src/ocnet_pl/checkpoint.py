"""Checkpoint files: written atomically by a run, and read without executing anything."""

import io
import pickle
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import pytorch_lightning as pl
import torch
from annotated_types import Len
from pydantic import ConfigDict, InstanceOf, NonNegativeInt, TypeAdapter, ValidationError, with_config
from pytorch_lightning.callbacks import Callback, ModelCheckpoint
from pytorch_lightning.plugins.io import TorchCheckpointIO
from torch import Tensor, nn
from typing_extensions import TypedDict

from ocnet_pl.atomic import whole_file
from ocnet_pl.errors import UserError
from ocnet_pl.metrics import IGNORE
from ocnet_pl.record.identity import Plain
from ocnet_pl.record.sealed import CHECKSUM, checksum


class WholeCheckpoints(TorchCheckpointIO):
    """Writes checkpoints atomically.

    Lightning writes to the system's temporary folder and moves the file. From another file system that is a copy,
    which a full disk or a kill can leave half-written in place of the previous checkpoint.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None) -> None:
        content = io.BytesIO()
        torch.save(checkpoint, content)
        with whole_file(Path(path)) as file:
            file.write(content.getbuffer())  # on a full disk torch.save itself reports "unexpected pos"


class CheckpointConfig(Callback):
    """Writes the resolved config and the class names into every checkpoint, as plain dicts and strings."""

    def __init__(self, config: dict[str, Any], choices: dict[str, str | None], classes: Sequence[str]) -> None:
        self.content = sealed_header(config, choices, classes)

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        checkpoint.update(self.content)


def sealed_header(config: Plain, choices: Mapping[str, str | None], classes: Sequence[str]) -> Plain:
    """Config, choices and classes of a checkpoint, with a checksum that reveals edited settings."""
    header = {"config": config, "choices": dict(choices), "classes": list(classes)}
    return {**header, CHECKSUM: checksum(header)}


class RunCheckpoint(ModelCheckpoint):
    """Lightning's `ModelCheckpoint` for runs that accumulate micro-batches and for runs whose folder was moved."""

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if ends_step(trainer, batch_idx):  # else a resume would start between two micro-batches, without their sum
            super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        # Lightning would forget the best checkpoint of a folder that was renamed.
        here = Path(str(self.dirpath))
        moved = {key: _moved(state_dict[key], here) for key in ("best_model_path", "kth_best_model_path")}
        best = {_moved(path, here): score for path, score in state_dict["best_k_models"].items()}
        super().load_state_dict({**state_dict, **moved, "best_k_models": best, "dirpath": self.dirpath})


def ends_step(trainer: pl.Trainer, batch_idx: int) -> bool:
    """Return whether the optimizer made its step after this micro-batch."""
    return (batch_idx + 1) % trainer.accumulate_grad_batches == 0


def _moved(path: str, folder: Path) -> str:
    return str(folder / Path(path).name) if path else path


def checkpoint_callbacks(folder: Path, every: int) -> list[Callback]:
    """Callbacks for `last.ckpt`, every `every` steps, and `best.ckpt`, by validation mIoU.

    A single callback would rank each save by the previous validation.
    """
    return [
        RunCheckpoint(folder, filename="last", every_n_train_steps=every, enable_version_counter=False),
        RunCheckpoint(folder, filename="best", monitor="val/miou", mode="max", enable_version_counter=False),
    ]


@dataclass(frozen=True)
class Checkpoint:
    """Content of a checkpoint file: plain values, from which `run.restoring` builds a network.

    Attributes:
        path: the file.
        config: resolved config of the training, as dicts, lists, strings and numbers.
        choices: option chosen in every config group; None for a group without one.
        head: the option of `model/head`.
        inference: the option of `inference`: name of the run's test protocol.
        classes: names of the classes, in the order of the train ids.
        weights: state of the network.
        step: optimizer steps done.
    """

    path: Path
    config: Plain
    choices: dict[str, str | None]
    classes: list[str]
    weights: dict[str, Tensor]
    step: int

    @property
    def head(self) -> str:
        return str(self.choices.get("model/head"))

    @property
    def inference(self) -> str:
        return str(self.choices.get("inference"))


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint of `ocnet-train`. Nothing in it is executed.

    Raises:
        UserError: no such file, damaged, unsafe, or not written by `ocnet-train`.
    """
    if not path.is_file():
        raise UserError(f"checkpoint={path}: no such file; a run saves its checkpoints to <run>/checkpoints/last.ckpt")
    damaged = f"checkpoint={path}: damaged or not a checkpoint; use another one of the run"
    try:
        if not zipfile.is_zipfile(path):
            raise UserError(damaged)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UserError(f"checkpoint={path}: contains more than weights and plain values; not loaded") from error
    except OSError as error:
        raise UserError(f"checkpoint={path}: cannot be read ({error.strerror or error})") from error
    except (RuntimeError, EOFError, zipfile.BadZipFile, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(damaged) from error  # a damaged archive breaks the reader in many ways
    if not isinstance(content, dict) or not {"config", "choices", "classes", "state_dict"} <= content.keys():
        raise UserError(
            f"checkpoint={path}: not written by ocnet-train (it contains no config); give a checkpoint of ocnet-train"
        )
    try:
        header = _HEADER.validate_python({key: content.get(key) for key in _Header.__annotations__})
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))[:80]
        raise UserError(f"checkpoint={path}: not written by ocnet-train ({place}: {first['msg']})") from None
    stated = {key: content[key] for key in ("config", "choices", "classes")}
    if CHECKSUM in content and content[CHECKSUM] != checksum(stated):
        raise UserError(
            f"checkpoint={path}: its config, choices or classes were changed after it was written; use another one of "
            f"the run (after a change on purpose, delete its entry {CHECKSUM!r})"
        )
    weights = {
        name.removeprefix("network."): tensor
        for name, tensor in header["state_dict"].items()
        if name.startswith("network.")
    }
    return Checkpoint(path, header["config"], header["choices"], header["classes"], weights, header["global_step"])


@with_config(ConfigDict(strict=True))
class _Header(TypedDict):
    config: dict[str, Any]
    choices: dict[str, str | None]
    classes: Annotated[list[str], Len(1, IGNORE - 1)]
    state_dict: dict[str, InstanceOf[Tensor]]
    global_step: NonNegativeInt


_HEADER = TypeAdapter(_Header)


def load_weights(network: nn.Module, checkpoint: Checkpoint) -> None:
    """Load the weights of a checkpoint into a network.

    Raises:
        UserError: weights of another network, or not all finite: scores of a diverged network are meaningless.
    """
    weights, own = checkpoint.weights, network.state_dict()
    wrong = {
        "missing": own.keys() - weights.keys(),
        "unexpected": weights.keys() - own.keys(),
        "of another shape": {k for k in own.keys() & weights.keys() if own[k].shape != weights[k].shape},
    }
    if any(wrong.values()):
        found = "; ".join(f"{len(names)} {what}, e.g. {min(names)}" for what, names in wrong.items() if names)
        raise UserError(
            f"checkpoint={checkpoint.path}: contains the weights of another network ({found}); "
            "check model/head and model/backbone"
        )
    if broken := next((name for name, tensor in weights.items() if not tensor.isfinite().all()), None):
        raise UserError(
            f"checkpoint={checkpoint.path}: {broken} is not finite: this training diverged; use a checkpoint of an "
            "earlier step, or train again with a lower schedule.lr"
        )
    network.load_state_dict(weights)
