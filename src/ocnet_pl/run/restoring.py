"""A checkpoint's config, composed again: what it was trained with, under the overrides of another command."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig

from ocnet_pl.build import build_data, build_trained
from ocnet_pl.config import compose_with_choices, plain
from ocnet_pl.config_values import refuse_impossible, refuse_other_kinds
from ocnet_pl.dataset.base import SegmentationDataModule
from ocnet_pl.errors import UserError
from ocnet_pl.model.ocnet import OCNet
from ocnet_pl.run.checkpoint import read_checkpoint
from ocnet_pl.run.identity import Plain

GIVEN = ("model", "dataset", "schedule", "loss")
"""Config groups that come from the checkpoint unless they are overridden."""


@dataclass(frozen=True)
class Restored:
    """A checkpoint's network for predictions, its data set, and the config that both were built from."""

    network: OCNet
    data: SegmentationDataModule
    config: Plain


def compose_again(
    path: Path, content: dict[str, Any], overrides: Sequence[str], config_name: str
) -> tuple[DictConfig, dict[str, str]]:
    """The config of a command on a checkpoint, and the option chosen in every group.

    Args:
        path: of the checkpoint.
        content: what `read_checkpoint` gave.
        overrides: as on the command line.
        config_name: file in `conf/`, whose groups have the option `given`.

    Raises:
        UserError: overrides that do not exist or do not fit the checkpoint.
    """
    overrides = _without_head(path, content["choices"], overrides)
    given = {group: content["config"][group] for group in GIVEN}
    composed = partial(compose_with_choices, config_name=config_name, given=given)
    config, choices = composed(*overrides)
    refuse_other_kinds(config, overrides, lambda *groups: composed(*groups)[0])
    refuse_impossible(config)
    return config, choices


def restore(path: Path, overrides: Sequence[str], device: torch.device) -> Restored:
    """A checkpoint under `conf/predict.yaml`.

    Raises:
        UserError: a checkpoint that cannot be read, or overrides that do not fit it.
    """
    content = read_checkpoint(path)
    config, _ = compose_again(path, content, overrides, config_name="predict")
    data = build_data(config)
    refuse_other_classes(path, content, data)
    return Restored(build_trained(config, content, path, data).to(device), data, plain(config))


def refuse_other_classes(path: Path, content: dict[str, Any], data: SegmentationDataModule) -> None:
    """Raises: UserError: the checkpoint predicts other classes than the data set has."""
    if content["classes"] != list(data.classes):
        raise UserError(
            f"{path}: predicts {len(content['classes'])} classes, {content['classes'][0]} first, which are not those "
            f"of {data.title}; leave dataset= out, or give a checkpoint that was trained on it"
        )


def _without_head(path: Path, choices: dict[str, str], overrides: Sequence[str]) -> list[str]:
    """The head is the checkpoint's; saying so again is allowed, saying another is not."""
    for override in overrides:
        if override.startswith("model/head=") and override != f"model/head={choices['model/head']}":
            raise UserError(
                f"checkpoint={path}: is a network with the head {choices['model/head']}, not {override.split('=')[1]}; "
                "leave model/head out, or give a checkpoint of that head"
            )
    return [override for override in overrides if not override.startswith("model/head=")]
