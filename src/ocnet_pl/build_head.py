"""Heads of the config, with another head inside some of them, and what a head asks of its data set."""

from collections.abc import Mapping
from typing import Any

from omegaconf import DictConfig
from torch import nn

from ocnet_pl.config.construct import construct_with, signature
from ocnet_pl.config.targets import import_target
from ocnet_pl.dataset.data_module import SegmentationDataModule
from ocnet_pl.errors import UserError
from ocnet_pl.model.contract import (
    ends_in_logits,
    head_levels,
    needed_targets,
    reads_auxiliary,
    reads_image,
    takes_context,
)

HEAD_KEYS = (
    "label", "backbone_stride", "backbone_dilations", "backbone_scale_adaptive", "auxiliary_weight", "needs_poses",
)  # fmt: skip
"""Keys of a head's YAML that are not arguments of its class; `conf/` reads all but the first as defaults of its own."""
CONTEXT = "context"
"""Argument and node of a head's context module, which is another head."""


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
    if context := context_node(node):
        _refuse_as_context(context)
        inputs[CONTEXT] = build_head(context, channels, facts)
    # The object takes the place of the node, after the label, which may be made from that of the node.
    ignored = (*HEAD_KEYS, *(inputs.keys() & {CONTEXT}))
    head: nn.Module = construct_with(node, ignored, **inputs, **facts)
    return head


def context_node(head: DictConfig) -> DictConfig | None:
    """Node of a head's context module; None if it takes or has none."""
    taken = takes_context(import_target(head, head._get_full_key(None)))
    return head.get(CONTEXT) if taken else None


def needs_map_size(head: DictConfig) -> bool:
    """True for the node of a head that, itself or in its context module, is built for one size of the map."""
    return any("map_size" in signature(node) for node in (head, context_node(head)) if node)


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


def refuse_missing_targets(head: nn.Module, data: SegmentationDataModule) -> None:
    """Check that a data set gives the targets that a head learns from.

    Raises:
        UserError: a target that is missing, or has another number of keypoints.
    """
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
