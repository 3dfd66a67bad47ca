"""Opening of a checkpoint: its network, data set and protocol, with the overrides of a command."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from omegaconf import DictConfig

from ocnet_pl.build import build_data, build_network, build_protocol
from ocnet_pl.checkpoint import Checkpoint, load_weights, read_checkpoint
from ocnet_pl.config.compose import compose_with_choices
from ocnet_pl.config.renamed import modernised
from ocnet_pl.config.targets import require_known_targets
from ocnet_pl.config.validate import validate
from ocnet_pl.dataset.data_module import SegmentationDataModule
from ocnet_pl.errors import UserError
from ocnet_pl.hub import local_file
from ocnet_pl.predictor import Predictor
from ocnet_pl.record.identity import Plain

GIVEN = "given"
"""Option of a config group: the group of the checkpoint."""

GROUPS = ("model", "dataset", "inference")
"""Config groups that come from the checkpoint unless overridden. Losses and optimizer are never built."""


@dataclass(frozen=True)
class Restored:
    """An opened checkpoint.

    Attributes:
        checkpoint: content of the file.
        predictor: the network in evaluation mode on its device, and its test protocol.
        data: the data set.
        config: config that network, data set and protocol were built from.
        protocol: name of the protocol.
    """

    checkpoint: Checkpoint
    predictor: Predictor
    data: SegmentationDataModule
    config: DictConfig
    protocol: str


def load(checkpoint: str | Path, device: str = "cpu") -> Predictor:
    """The trained network of a checkpoint. Nothing in the file is executed.

    Args:
        checkpoint: a `.ckpt` written by `ocnet-train`, or its address `hf://user/repo/last.ckpt`.
        device: device of the network.

    Raises:
        UserError: the file does not exist, or is not such a checkpoint.
    """
    return restore(local_file(checkpoint), device=torch.device(device)).predictor


def restore(
    path: Path,
    overrides: Sequence[str] = (),
    *,
    device: torch.device | None = None,
    command: str = "predict",
    root: Path | None = None,
) -> Restored:
    """Open a checkpoint: the only way from a file to a network.

    Args:
        path: the file.
        overrides: as typed, e.g. `inference=flip`.
        device: device of the network; None: the CPU.
        command: file in `conf/` with the settings that can be overridden.
        root: folder of the data set, in place of the checkpoint's.

    Raises:
        UserError: a checkpoint that cannot be read or is not trusted, or overrides that do not fit it.
    """
    checkpoint = read_checkpoint(path)
    config, protocol = compose_again(checkpoint, overrides, command)
    if root is not None:
        config.dataset.root = str(root)
    data = build_data(config)
    if checkpoint.classes != list(data.classes):
        raise UserError(
            f"{path}: predicts {len(checkpoint.classes)} classes ({checkpoint.classes[0]}, ...), not those of "
            f"{data.title} ({len(data.classes)}); give dataset=NAME of a data set with its classes, or train again"
        )
    auxiliary = any(name.startswith("auxiliary.") for name in checkpoint.weights)
    network = build_network(config, len(data.classes), auxiliary=auxiliary, class_tree=data.class_tree)
    load_weights(network, checkpoint)
    predictor = Predictor(network.to(device or "cpu"), build_protocol(config, data))
    return Restored(checkpoint, predictor, data, config, protocol)


def carried_config(checkpoint: Checkpoint) -> Plain:
    """Config of a checkpoint's network, data set and protocol, without the settings that only training needs.

    Augmentation is not built, ImageNet weights are not loaded, and the cache of another machine is not used.

    Raises:
        UserError: the config names targets that no config file of this installation names.
    """
    config = modernised({group: checkpoint.config.get(group) for group in GROUPS})
    if isinstance(config["dataset"], dict):
        config["dataset"] = config["dataset"] | {"augment": [], "cache": None}
    model = config["model"]
    if isinstance(model, dict) and isinstance(model.get("backbone"), dict):
        config["model"] = model | {"backbone": model["backbone"] | {"pretrained": False, "weights": None}}
    require_known_targets(config, GROUPS, f"checkpoint={checkpoint.path}")
    return config


def compose_again(checkpoint: Checkpoint, overrides: Sequence[str], command: str) -> tuple[DictConfig, str]:
    """The config of a command on a checkpoint, and the name of its protocol.

    Raises:
        UserError: overrides that do not exist or do not fit the checkpoint, or unknown targets.
    """
    overrides = _without_head(checkpoint, overrides)
    composed = partial(compose_with_choices, config_name=command, given=carried_config(checkpoint))
    config, choices = composed(*overrides)
    validate(config, overrides, lambda *groups: composed(*groups)[0])
    chosen = choices["inference"]
    return config, checkpoint.inference if chosen == GIVEN else str(chosen)


def _without_head(checkpoint: Checkpoint, overrides: Sequence[str]) -> list[str]:
    """The overrides without the head, which must be that of the checkpoint."""
    head = checkpoint.head
    for override in overrides:
        if override.startswith("model/head=") and override != f"model/head={head}":
            raise UserError(
                f"checkpoint={checkpoint.path}: has the head {head}, not {override.split('=')[1]}; "
                "leave model/head out, or give a checkpoint of that head"
            )
    return [override for override in overrides if not override.startswith("model/head=")]
