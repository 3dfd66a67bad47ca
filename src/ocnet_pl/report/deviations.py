"""Deviations from the paper, in words."""

from typing import Any

from ocnet_pl.table.deviations import Deviation

NAMES = {
    "dataset": "data set",
    "dataset.train_split": "training split",
    "dataset.crop_size": "crop",
    "dataset.size": "image size",
    "dataset.short_sides": "training sizes",
    "dataset.test_short_side": "test size",
    "dataset.scale": "random scale",
    "dataset.scale_step": "step of random scale",
    "dataset.class_weights": "class weights",
    "dataset.disparity": "disparity files",
    "dataset.poses": "poses",
    "model/head": "head",
    "model/head@model.head.context": "head of the context",
    "model.head.out_channels": "width of the head",
    "model.head.context.out_channels": "width of the context",
    "model.backbone.model_name": "backbone",
    "model.backbone.pretrained": "pretrained backbone",
    "model.backbone.output_stride": "output stride",
    "schedule.max_steps": "steps",
    "schedule.batch_size": "batch size",
    "schedule.lr": "learning rate",
    "schedule.lr_scheduler.power": "power of the schedule",
    "schedule.optimizer._target_": "optimizer",
    "schedule.optimizer.momentum": "momentum",
    "schedule.weight_decay": "weight decay",
    "loss.auxiliary_weight": "weight of the auxiliary loss",
    "inference": "test protocol",
    "trainer.precision": "precision",
    "trainer.accumulate_grad_batches": "micro-batches per step",
}
"""Names of config keys for readers; other keys are shown as they are."""


def in_words(deviation: Deviation, source: str = "the paper") -> str:
    """`steps 300 in PPM, ASPP (paper: 40000)`; `source` is whose value stands in brackets."""
    theirs = f"{source.removeprefix('the ')}: {value_in_words(deviation.paper)}"
    says = "overridden" if deviation.paper is None else theirs
    whose = f" in {deviation.runs}" if deviation.runs else ""
    return f"{NAMES.get(deviation.key, deviation.key)} {value_in_words(deviation.ours)}{whose} ({says})"


def value_in_words(value: Any) -> str:
    """Value for readers: `yes`, `769x769`, `none`."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return "none"
    if isinstance(value, list):
        pair = len(value) == 2 and all(isinstance(side, int) for side in value)
        return ("x" if pair else ", ").join(map(str, value))
    return str(value)
