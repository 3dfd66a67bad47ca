"""Opening a checkpoint: its network, data set and protocol, under the overrides of a command."""

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
from ocnet_pl.predictor import Predictor
from ocnet_pl.record.identity import Plain

GIVEN = "given"
"""Option of a config group that stands for what the checkpoint carries."""

GROUPS = ("model", "dataset", "inference")
"""Config groups that come from the checkpoint unless they are overridden. Losses and optimizer are never built."""


@dataclass(frozen=True)
class Restored:
    """An opened checkpoint.

    Attributes:
        checkpoint: content of the file.
        predictor: the network in evaluation mode on its device, with the protocol that it is tested by.
        data: the data set.
        config: that network, data set and protocol were built from.
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
        checkpoint: a `.ckpt` written by `ocnet-train`.
        device: where to put it.

    Raises:
        UserError: no such file, or not such a checkpoint.
    """
    return restore(Path(checkpoint), device=torch.device(device)).predictor


def restore(
    path: Path,
    overrides: Sequence[str] = (),
    *,
    device: torch.device | None = None,
    command: str = "predict",
    root: Path | None = None,
) -> Restored:
    """Open a checkpoint: the one way from a file to a network.

    Args:
        path: the file.
        overrides: words of the command line, e.g. `inference=flip`.
        device: where the network goes; None: the CPU.
        command: file in `conf/` that says what can be overridden.
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
            f"{path}: predicts {len(checkpoint.classes)} classes, {checkpoint.classes[0]} first, which are not those "
            f"of {data.title}; leave dataset= out, or give a checkpoint that was trained on it"
        )
    auxiliary = any(name.startswith("auxiliary.") for name in checkpoint.weights)
    network = build_network(config, len(checkpoint.classes), auxiliary=auxiliary)
    load_weights(network, checkpoint)
    predictor = Predictor(network.to(device or "cpu"), build_protocol(config, data))
    return Restored(checkpoint, predictor, data, config, protocol)


def carried_config(checkpoint: Checkpoint) -> Plain:
    """What a checkpoint says of its network, data set and protocol, without what only a training needs.

    Augmentation is not built, ImageNet weights are not loaded, and no cache is written where another machine had one.

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
        UserError: overrides that do not exist or do not fit the checkpoint, or targets that are not known.
    """
    overrides = _without_head(checkpoint, overrides)
    composed = partial(compose_with_choices, config_name=command, given=carried_config(checkpoint))
    config, choices = composed(*overrides)
    validate(config, overrides, lambda *groups: composed(*groups)[0])
    chosen = choices["inference"]
    return config, checkpoint.inference if chosen == GIVEN else chosen


def _without_head(checkpoint: Checkpoint, overrides: Sequence[str]) -> list[str]:
    """The head is the checkpoint's; saying so again is allowed, saying another is not."""
    head = checkpoint.head
    for override in overrides:
        if override.startswith("model/head=") and override != f"model/head={head}":
            raise UserError(
                f"checkpoint={checkpoint.path}: is a network with the head {head}, not {override.split('=')[1]}; "
                "leave model/head out, or give a checkpoint of that head"
            )
    return [override for override in overrides if not override.startswith("model/head=")]
