"""Images of a split as trained networks label them: where one is wrong, and where two differ."""

from collections.abc import Iterable, Sequence

import numpy as np
from matplotlib.figure import Figure

from ocnet_pl.dataset.data_module import SegmentationDataModule
from ocnet_pl.dataset.reading import Bytes, Pair, read_image
from ocnet_pl.drawing.colour_legend import Colours
from ocnet_pl.drawing.overlay import colour, overlay
from ocnet_pl.drawing.picture_grid import picture_grid
from ocnet_pl.errors import UserError
from ocnet_pl.metrics import IGNORE
from ocnet_pl.record.image_scores import ImageScores
from ocnet_pl.tools.explore.mistakes import FIRST, NEITHER, NOT_LABELLED, SECOND, WRONG, contrast, mistakes
from ocnet_pl.tools.explore.opening import Explored, names, refuse_several_data_sets


def scored_pairs(data: SegmentationDataModule, scores: ImageScores) -> list[Pair]:
    """Files of image and label in the order of the scores; draws the data set where it can be drawn.

    Raises:
        UserError: the split does not hold the images that were tested.
    """
    data.prepare_data()
    pairs = data.pairs(scores.split)
    if [image.name for image, _ in pairs] != list(scores.names):
        raise UserError(f"{data.root}: {scores.split} holds other images than were tested; give the tree of the run")
    return pairs


def mistakes_figure(one: Explored, scores: ImageScores, indices: Sequence[int]) -> Figure:
    """A row for every image: itself, under its truth, under the prediction, and the mistakes.

    Args:
        one: an opened checkpoint.
        scores: of its test on a split.
        indices: of images of that split.
    """
    pairs, shown, rows = scored_pairs(one.data, scores), set(), []
    for index in indices:
        image, truth = read_image(pairs[index][0]), one.data.truth(pairs[index][1])
        prediction = one.predictor.predict(image)
        colours = [colour(classes, one.data.palette) for classes in (truth, prediction)]
        pictures = [image, *(overlay(image, of) for of in colours), mistakes(image, truth, prediction)]
        rows.append((f"{scores.names[index]}: {100 * scores.miou[index]:.1f} %", pictures))
        shown.update(np.unique([truth, prediction]).tolist())
    legend = [*_class_legend(one.data, shown), ("wrong", WRONG)]
    return picture_grid(["image", "truth", "prediction", "mistakes"], rows, legend)


def contrast_figure(first: Explored, second: Explored, scores: Sequence[ImageScores], indices: Sequence[int]) -> Figure:
    """A row for every image: itself, its truth, both predictions, and where they differ.

    Args:
        first, second: opened checkpoints of one data set.
        scores: of both, in their tests on one split.
        indices: of images of that split.

    Raises:
        UserError: networks of several data sets.
    """
    both = [first, second]
    refuse_several_data_sets(both)
    labels, data = names(both), first.data
    pairs, shown, rows = scored_pairs(data, scores[0]), set(), []
    for index in indices:
        image, truth = read_image(pairs[index][0]), data.truth(pairs[index][1])
        predictions: list[Bytes] = [one.predictor.predict(image) for one in both]
        pictures = [colour(classes, data.palette) for classes in (truth, *predictions)]
        told = ", ".join(f"{name} {100 * of.miou[index]:.1f} %" for name, of in zip(labels, scores, strict=True))
        rows.append((f"{scores[0].names[index]}: {told}", [image, *pictures, contrast(image, truth, *predictions)]))
        shown.update(np.unique([truth, *predictions]).tolist())
    who_is_right = [(f"only {labels[0]} is right", FIRST), (f"only {labels[1]} is right", SECOND)]
    legend = [*_class_legend(data, shown), *who_is_right, ("they differ, neither is right", NEITHER)]
    return picture_grid(["image", "truth", *labels, "where they differ"], rows, legend)


def _class_legend(data: SegmentationDataModule, shown: Iterable[int]) -> Colours:
    shown = sorted(shown)
    named = [(data.classes[number], data.palette[number].tolist()) for number in shown if number != IGNORE]
    return [*named, ("not labelled", NOT_LABELLED)] if IGNORE in shown else named
