"""Statistics of a table: spread over seeds, differences between rows, many differences together, and planning."""

from ocnet_pl.statistics.comparison import (
    VERSION,
    Interval,
    Method,
    borrowed_difference,
    difference_over_images,
    paired_difference,
)
from ocnet_pl.statistics.corrections import CHANCE, benjamini_hochberg, holm
from ocnet_pl.statistics.jackknife import (
    ImageVariance,
    freedom_of_labels,
    iou_without_each,
    miou_without_each,
    paired_variance,
    variance,
)
from ocnet_pl.statistics.planning import Design
from ocnet_pl.statistics.ranks import rank_ranges
from ocnet_pl.statistics.summary import MeanSD, mean_sd

__all__ = [
    "CHANCE",
    "VERSION",
    "Design",
    "ImageVariance",
    "Interval",
    "MeanSD",
    "Method",
    "benjamini_hochberg",
    "borrowed_difference",
    "difference_over_images",
    "freedom_of_labels",
    "holm",
    "iou_without_each",
    "mean_sd",
    "miou_without_each",
    "paired_difference",
    "paired_variance",
    "rank_ranges",
    "variance",
]
