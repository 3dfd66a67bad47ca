"""Losses of the config."""

from typing import Any

import torch
from omegaconf import DictConfig
from torch import Tensor, nn

from ocnet_pl.config.construct import construct_with, signature
from ocnet_pl.errors import UserError
from ocnet_pl.model.contract import BodyParts
from ocnet_pl.randomness import derive_seed


def build_losses(
    config: DictConfig, num_classes: int, *, weight: Tensor | None = None, body_parts: BodyParts | None = None
) -> dict[str, Any]:
    """Losses and their weights, as arguments of `SegmentationModule`.

    Args:
        config: composed config.
        num_classes: number of classes.
        weight: weights of the classes, (K,).
        body_parts: classes of each part of the body, for image weights that need them.

    Raises:
        UserError: an argument that a class refuses, or image weights that need body parts where there are none.
    """
    torch.manual_seed(derive_seed(config.seed, "losses"))
    facts: dict[str, Any] = {"weight": weight, "num_classes": num_classes}
    return {
        "loss": construct_with(config.loss.main, **facts),
        "auxiliary_loss": construct_with(config.loss.auxiliary, **facts),
        "auxiliary_weight": config.loss.auxiliary_weight,
        "additional_losses": {name: construct_with(node, **facts) for name, node in config.loss.additional.items()},
        "image_weights": _image_weights(config, num_classes, body_parts),
    }


def _image_weights(config: DictConfig, num_classes: int, body_parts: BodyParts | None) -> nn.Module | None:
    node = config.loss.get("image_weights")
    if not node:
        return None
    place = node._get_full_key(None)  # private, as in `construct`
    if "body_parts" in signature(node) and body_parts is None:
        raise UserError(
            f"{place}: the data set has no body parts, which weights of images need; set dataset.body_parts "
            f"(dataset=folder), or train without them: '~{place}'"
        )
    weights: nn.Module = construct_with(node, num_classes=num_classes, body_parts=body_parts)
    return weights
