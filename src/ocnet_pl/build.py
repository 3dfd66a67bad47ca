"""Composition root: turns the config into objects, so that no class below it sees a config."""

from collections.abc import Mapping
from typing import Any

import torch
from omegaconf import DictConfig
from torch import Tensor, nn

from ocnet_pl.config.construct import construct, construct_with, signature
from ocnet_pl.config.targets import import_target
from ocnet_pl.dataset.data_module import SegmentationDataModule
from ocnet_pl.errors import UserError
from ocnet_pl.inference import AtTestSize, Protocol
from ocnet_pl.model.backbone import map_size
from ocnet_pl.model.contract import (
    BodyParts,
    ClassTree,
    ends_in_logits,
    head_levels,
    needed_targets,
    reads_auxiliary,
    reads_image,
    takes_context,
)
from ocnet_pl.model.network import AUXILIARY_LEVEL, Network
from ocnet_pl.module import SegmentationModule
from ocnet_pl.randomness import derive_seed

HEAD_KEYS = (
    "label", "backbone_stride", "backbone_dilations", "backbone_scale_adaptive", "auxiliary_weight", "needs_poses",
    "image_weights",
)  # fmt: skip
"""Keys of a head's YAML that are not arguments of its class; `conf/` reads all but the first as defaults of its own."""
CONTEXT = "context"
"""Argument and node of a head's context module, which is another head."""


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
    facts: dict[str, Any] = {"num_classes": num_classes, "class_tree": class_tree}
    if any("map_size" in signature(node) for node in (config.model.head, _context_node(config.model.head)) if node):
        facts["map_size"] = map_size(backbone, config.dataset.get("crop_size"))
    head = build_head(config.model.head, channels, facts)
    torch.manual_seed(derive_seed(config.seed, "classifier"))
    parts = {"backbone": backbone, "head": head, "levels": levels, "auxiliary": auxiliary}
    network: Network = construct(config.model, num_classes=num_classes, **parts, _recursive_=False)
    if config.channels_last:
        network = network.to(memory_format=torch.channels_last)
    if config.compile:
        network.compile_parts()
    return network


def build_head(node: DictConfig, channels: Mapping[int, int], facts: Mapping[str, Any]) -> nn.Module:
    """Head of a node, and within it the head of its context module.

    Args:
        node: config of the head.
        channels: channels of the backbone's stages.
        facts: further arguments of heads, for those that name them: `num_classes`, `class_tree`, `map_size`.

    Raises:
        UserError: a head that needs groups of classes where there are none, that cannot be a context module, or that
            refuses an argument.
    """
    place = node._get_full_key(None)  # private: OmegaConf has no public name for it
    head_class = import_target(node, place)
    if "class_tree" in signature(node) and facts.get("class_tree") is None:
        raise UserError(
            f"{place}: {head_class.__name__} needs the data set's groups of classes, and it has none; "
            "set dataset.class_tree (dataset=folder), or choose another model/head"
        )
    read = tuple(channels[level] for level in head_levels(head_class))
    inputs: dict[str, Any] = {"in_channels": read[0] if len(read) == 1 else read}
    if context := _context_node(node):
        _refuse_as_context(context)
        inputs[CONTEXT] = build_head(context, channels, facts)
    # The object takes the place of the node, after the label, which may be made from that of the node.
    ignored = (*HEAD_KEYS, *(inputs.keys() & {CONTEXT}))
    head: nn.Module = construct_with(node, ignored, **inputs, **facts)
    return head


def _context_node(head: DictConfig) -> DictConfig | None:
    """Node of a head's context module; None if it takes or has none."""
    taken = takes_context(import_target(head, head._get_full_key(None)))
    return head.get(CONTEXT) if taken else None


def _refuse_as_context(node: DictConfig) -> None:
    """Raise UserError: a head that needs more than the last map and labels, or that returns logits."""
    place = node._get_full_key(None)
    head_class = import_target(node, place)
    needs = {
        "reads other stages than the last": head_levels(head_class) != (-1,),
        "reads the auxiliary classifier": reads_auxiliary(head_class),
        "reads the image": reads_image(head_class),
        "returns logits": ends_in_logits(head_class),
        "has a context module of its own": takes_context(head_class),
        "learns from targets of the data set": bool(needed_targets(head_class)),
    } | {f"sets {key}": key in node for key in HEAD_KEYS if key not in ("label", "auxiliary_weight")}
    if reasons := [reason for reason, holds in needs.items() if holds]:
        raise UserError(
            f"{place}: {head_class.__name__} cannot be a context module, because it {reasons[0]}; choose a head that "
            f"maps the last stage to features, e.g. model/head@{place}=asp_oc"
        )


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
    _refuse_missing_targets(module.network.head, data)
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
    auxiliary = bool(config.loss.auxiliary_weight)
    network = build_network(config, num_classes, auxiliary=auxiliary, class_tree=class_tree)
    torch.manual_seed(derive_seed(config.seed, "losses"))
    facts: dict[str, Any] = {"weight": weight, "num_classes": num_classes}
    return SegmentationModule(
        network=network,
        loss=construct_with(config.loss.main, **facts),
        auxiliary_loss=construct_with(config.loss.auxiliary, **facts),
        additional_losses={name: construct_with(node, **facts) for name, node in config.loss.additional.items()},
        image_weights=_image_weights(config, num_classes, body_parts),
        optimizer=construct(config.schedule.optimizer),
        lr_scheduler=construct(config.schedule.lr_scheduler),
        auxiliary_weight=config.loss.auxiliary_weight,
        head_lr_factor=config.schedule.head_lr_factor,
        seed=config.seed,
        **about_data,
    )


def _refuse_missing_targets(head: nn.Module, data: SegmentationDataModule) -> None:
    for target, shape in needed_targets(head).items():
        if target not in data.targets:
            raise UserError(
                f"model.head: {type(head).__name__} learns from the target {target!r}, which {data.title} does not "
                "give here; set the option of the data set that reads it, e.g. dataset=lip dataset.poses=true, which "
                "reads lip_train_set.csv of TrainVal_pose_annotations"
            )
        if (names := data.targets[target].names) and len(names) != shape[0]:
            raise UserError(
                f"model.head: {type(head).__name__} expects {shape[0]} keypoints {target!r}, and {data.title} gives "
                f"{len(names)}; set model.head.joints={len(names)}"
            )


def _image_weights(config: DictConfig, num_classes: int, body_parts: BodyParts | None) -> torch.nn.Module | None:
    """Weights of images: those of the loss, else those of the head."""
    node = config.loss.get("image_weights") or config.model.head.get("image_weights")
    if not node:
        return None
    place = node._get_full_key(None)  # private, as in `construct`
    if "body_parts" in signature(node) and body_parts is None:
        raise UserError(
            f"{place}: the data set has no body parts, which weights of images need; set dataset.body_parts "
            f"(dataset=folder), or train without them: '~{place}'"
        )
    weights: torch.nn.Module = construct_with(node, num_classes=num_classes, body_parts=body_parts)
    return weights
