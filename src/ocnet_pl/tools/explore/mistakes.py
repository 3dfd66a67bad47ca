"""Images with the mistakes of a network, or with the differences between two networks."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from ocnet_pl.dataset.data_module import SegmentationDataModule
from ocnet_pl.dataset.reading import Bytes, Pair, read_image
from ocnet_pl.drawing.colour_legend import Colours
from ocnet_pl.drawing.error_map import FIRST, NEITHER, NOT_LABELLED, SECOND, WRONG, contrast, mistakes
from ocnet_pl.drawing.overlay import colour, overlay
from ocnet_pl.drawing.picture_grid import picture_grid
from ocnet_pl.errors import UserError
from ocnet_pl.metrics import IGNORE
from ocnet_pl.record.image_scores import ImageScores
from ocnet_pl.tools.explore.opening import OpenedCheckpoint, distinct_names, refuse_several_data_sets


def mistakes_figure(opened: OpenedCheckpoint, scores: ImageScores, indices: Sequence[int]) -> Figure:
    """A row for each of the given images of a split: image, overlays of truth and prediction, mistakes."""
    data, pairs, shown, rows = opened.data, scored_pairs(opened.data, scores), set(), []
    for index in indices:
        image, truth = read_image(pairs[index][0]), data.truth(pairs[index][1])
        prediction = opened.predictor.predict(image)
        overlays = [overlay(image, colour(classes, data.palette)) for classes in (truth, prediction)]
        caption = f"{scores.names[index]}: {100 * scores.miou[index]:.1f} %"
        rows.append((caption, [image, *overlays, mistakes(image, truth, prediction)]))
        shown.update(np.unique([truth, prediction]).tolist())
    legend = [*_class_legend(data, shown), ("wrong", WRONG)]
    return picture_grid(["image", "truth", "prediction", "mistakes"], rows, legend)


def contrast_figure(
    first: OpenedCheckpoint, second: OpenedCheckpoint, scores: Sequence[ImageScores], indices: Sequence[int]
) -> Figure:
    """A row for each of the given images of a split: image, truth, both predictions, their differences.

    Raises:
        UserError: the networks have different classes.
    """
    both = [first, second]
    refuse_several_data_sets(both)
    labels, data = distinct_names(both), first.data
    pairs, shown, rows = scored_pairs(data, scores[0]), set(), []
    for index in indices:
        image, truth = read_image(pairs[index][0]), data.truth(pairs[index][1])
        predictions: list[Bytes] = [one.predictor.predict(image) for one in both]
        coloured = [colour(classes, data.palette) for classes in (truth, *predictions)]
        miou = ", ".join(f"{name} {100 * of.miou[index]:.1f} %" for name, of in zip(labels, scores, strict=True))
        caption = f"{scores[0].names[index]}: {miou}"
        rows.append((caption, [image, *coloured, contrast(image, truth, *predictions)]))
        shown.update(np.unique([truth, *predictions]).tolist())
    correct = [(f"only {labels[0]} is right", FIRST), (f"only {labels[1]} is right", SECOND)]
    legend = [*_class_legend(data, shown), *correct, ("both wrong and different", NEITHER)]
    return picture_grid(["image", "truth", *labels, "differences"], rows, legend)


def scored_pairs(data: SegmentationDataModule, scores: ImageScores) -> list[Pair]:
    """Image and label files in the order of the scores; generates a synthetic data set if it is missing.

    Raises:
        UserError: the split contains other images than the test.
    """
    data.prepare_data()
    pairs = data.pairs(scores.split)
    if [image.name for image, _ in pairs] != list(scores.names):
        raise UserError(f"{data.root}: {scores.split} contains other images than the test; give the run's data set")
    return pairs


def _class_legend(data: SegmentationDataModule, shown: set[int]) -> Colours:
    named = [(data.classes[id_], data.palette[id_].tolist()) for id_ in sorted(shown - {IGNORE})]
    return [*named, ("not labelled", NOT_LABELLED)] if IGNORE in shown else named
