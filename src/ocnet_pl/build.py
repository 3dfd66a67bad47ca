"""Composition root: turns the config into objects, so that no class below it sees a config."""

from typing import Any

import torch
from omegaconf import DictConfig
from torch import Tensor

from ocnet_pl.build_head import build_head, needs_map_size, refuse_missing_targets
from ocnet_pl.build_losses import build_losses
from ocnet_pl.config.construct import construct
from ocnet_pl.config.targets import import_target
from ocnet_pl.dataset.data_module import SegmentationDataModule
from ocnet_pl.inference import AtTestSize, Protocol
from ocnet_pl.model.backbone import map_size
from ocnet_pl.model.compiling import compile_parts
from ocnet_pl.model.contract import BodyParts, ClassTree, head_levels, reads_auxiliary
from ocnet_pl.model.network import AUXILIARY_LEVEL, Network
from ocnet_pl.module import SegmentationModule
from ocnet_pl.randomness import derive_seed


def build_data(config: DictConfig) -> SegmentationDataModule:
    """Data module of the config; it has read nothing from disk yet."""
    schedule = {"batch_size": config.schedule.batch_size} if "schedule" in config else {}
    data: SegmentationDataModule = construct(config.dataset, seed=config.seed, **schedule)
    return data


def build_network(
    config: DictConfig, num_classes: int, *, auxiliary: bool = True, class_tree: ClassTree | None = None
) -> Network:
    """Network with fresh weights, which depend on the seed only.

    Args:
        config: composed config.
        num_classes: number of classes.
        auxiliary: build the auxiliary classifier; heads that read its logits have it in any case.
        class_tree: groups of the data set's classes; None: it has none.

    Raises:
        UserError: an argument that a class refuses, or as in `build_head`.
    """
    head_class = import_target(config.model.head, "model.head")
    auxiliary = auxiliary or reads_auxiliary(head_class)
    levels = sorted({*head_levels(head_class), *([AUXILIARY_LEVEL] if auxiliary else [])})
    # Each part draws from a seed of its own: the same backbone starts under every head.
    torch.manual_seed(derive_seed(config.seed, "backbone"))
    backbone = construct(config.model.backbone, levels=levels)
    torch.manual_seed(derive_seed(config.seed, "head"))
    channels = dict(zip(levels, backbone.feature_info.channels(), strict=True))
    size = map_size(backbone, config.dataset.get("crop_size")) if needs_map_size(config.model.head) else None
    facts = {"num_classes": num_classes, "class_tree": class_tree, "map_size": size}
    head = build_head(config.model.head, channels, facts)
    torch.manual_seed(derive_seed(config.seed, "classifier"))
    parts = {"backbone": backbone, "head": head, "levels": levels, "auxiliary": auxiliary}
    network: Network = construct(config.model, num_classes=num_classes, **parts, _recursive_=False)
    if config.channels_last:
        network = network.to(memory_format=torch.channels_last)
    if config.compile:
        compile_parts(network)
    return network


def build_protocol(config: DictConfig, data: SegmentationDataModule) -> Protocol:
    """Test protocol of the config, applied at the data set's test size."""
    return AtTestSize(construct(config.inference, mirror_pairs=data.mirror_pairs), data.test_size)


def build_module(config: DictConfig, data: SegmentationDataModule) -> SegmentationModule:
    """LightningModule of network, losses, optimizer and test protocol.

    Raises:
        UserError: an argument that a class refuses, or a head whose losses need targets that the data set has not.
    """
    weighted = config.loss.class_weights and data.class_weights
    weight = torch.tensor(data.class_weights, dtype=torch.float32) if weighted else None
    protocol, absent = build_protocol(config, data), data.absent_classes
    facts: dict[str, Any] = {"weight": weight, "class_tree": data.class_tree, "body_parts": data.body_parts}
    module = build_bare_module(config, len(data.classes), **facts, protocol=protocol, absent_classes=absent)
    refuse_missing_targets(module.network.head, data)
    return module


def build_bare_module(
    config: DictConfig,
    num_classes: int,
    *,
    weight: Tensor | None = None,
    class_tree: ClassTree | None = None,
    body_parts: BodyParts | None = None,
    **about_data: Any,
) -> SegmentationModule:
    """LightningModule without a data set, e.g. for measuring its cost.

    Args:
        config: composed config.
        num_classes: number of classes.
        weight: weights of the classes in the losses, (K,).
        class_tree: groups of classes, for heads that need them.
        body_parts: classes of each part of the body, for image weights that need them.
        about_data: arguments of `SegmentationModule` that depend on the data set.
    """
    network = build_network(config, num_classes, auxiliary=bool(config.loss.auxiliary_weight), class_tree=class_tree)
    return SegmentationModule(
        network=network,
        **build_losses(config, num_classes, weight=weight, body_parts=body_parts),
        optimizer=construct(config.schedule.optimizer),
        lr_scheduler=construct(config.schedule.lr_scheduler),
        head_lr_factor=config.schedule.head_lr_factor,
        seed=config.seed,
        **about_data,
    )
