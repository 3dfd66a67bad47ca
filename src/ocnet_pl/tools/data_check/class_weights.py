"""Class weights of the loss, from how often the classes occur."""

import math
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from ocnet_pl.dataset.data_module import SegmentationDataModule
from ocnet_pl.tools.data_check.inspection import count_ids
from ocnet_pl.tools.data_check.parallel import in_processes

FORMULA = "w_k = K / ln(pixels of class k) / sum over all K classes of 1 / ln(pixels)"
SOURCE = "OCNet's authors: 1 / log(pixel count), L1-normalised (github.com/openseg-group/OCNet.pytorch/issues/14)"


def log_weights(pixels: Sequence[int]) -> list[float]:
    """Inverse logarithms of the pixel counts, scaled to a mean of one.

    Rare classes weigh more, but not much more: a thousandth of the pixels weighs half as much again. On Cityscapes this
    comes within 0.03 of the nineteen published weights, but for traffic light: 1.10, where 0.98 was published.

    Args:
        pixels: labelled pixels of each class. A class without any gets 1, which has no effect.
    """
    inverse = [1 / math.log(max(count, 2)) for count in pixels if count]
    scale = len(inverse) / sum(inverse) if inverse else 1.0
    return [scale / math.log(max(count, 2)) if count else 1.0 for count in pixels]


def training_pixels(data: SegmentationDataModule, workers: int, advance: Callable[[int, int], None]) -> list[int]:
    """Labelled pixels of each class in the training split.

    Args:
        data: the data set.
        workers: processes.
        advance: callback, called with (labels newly done, all labels).

    Raises:
        UserError: a label that cannot be read.
    """
    labels = [label for _, label in data.pairs(data.train_split)]
    ids = np.zeros(256, np.int64)
    for part, counts in in_processes(partial(count_ids, table=data.table), labels, workers):
        ids += counts
        advance(part.stop - part.start, len(labels))
    return [int(ids[data.table == number].sum()) for number in range(len(data.classes))]
