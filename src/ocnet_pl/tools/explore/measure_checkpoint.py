"""What the attention of one checkpoint looks at: measured, and kept beside its run's result."""

import os
from collections.abc import Callable

from ocnet_pl.dataset.samples import SegmentationDataset
from ocnet_pl.record.context import ContextMeasure, Setting, context_file, differences
from ocnet_pl.run.provenance import weights_sha256
from ocnet_pl.tools.explore.measuring import measure_split
from ocnet_pl.tools.explore.opening import Explored


def setting_for(explored: Explored, split: str | None, images: int | None, pixels: int, seed: int) -> Setting:
    """What decides the numbers of a measure of this checkpoint.

    Args:
        explored: the checkpoint.
        split: None: the validation split of its training.
        images: how many of the first ones; None: all.
        pixels: of each class in each image.
        seed: of their draw.
    """
    explored.data.prepare_data()
    split = split or explored.data.val_split
    there = len(explored.data.pairs(split))
    return Setting(weights_sha256(explored.predictor.network), split, min(there, images or there), pixels, seed)


def measure(explored: Explored, setting: Setting, advance: Callable[[], None] = lambda: None) -> ContextMeasure:
    """Measures it; `advance` is called after every image."""
    dataset = SegmentationDataset(explored.data.pairs(setting.split), explored.data.table)
    found, values = measure_split(explored.predictor, dataset, setting.images, setting.pixels, setting.seed, advance)
    return ContextMeasure.of(explored.head, setting, explored.data.classes, found, values)


def kept_measure(explored: Explored, setting: Setting) -> ContextMeasure | None:
    """The measure that the run has already, if it is this one."""
    path = context_file(explored.run.path, explored.path.stem, setting.split)
    if not path.is_file():
        return None
    kept = ContextMeasure.read(path)
    return kept if kept.setting == setting else None


def keep_measure(explored: Explored, found: ContextMeasure) -> str:
    """Writes a measure beside its run's result; says where, or why not.

    One of other weights is out of date and replaced, and so is one with fewer images or pixels; one with more is kept.
    """
    if not explored.run.result.is_file():
        return "not kept: the checkpoint lies in no finished run"
    if not os.access(explored.run.path, os.W_OK):
        return f"not kept: {explored.run.path} cannot be written; change its permissions and measure again"
    now = found.setting
    path = context_file(explored.run.path, explored.path.stem, now.split)
    if not path.is_file():
        found.write(path)
        return f"wrote {path}"
    before = ContextMeasure.read(path).setting
    told = ", ".join(differences(before, now))
    if before.weights_sha256 == now.weights_sha256 and before.images * before.pixels > now.images * now.pixels:
        return f"not kept: {path} holds one of more pixels ({told})"
    found.write(path)
    return f"replaced {path} ({told})"
