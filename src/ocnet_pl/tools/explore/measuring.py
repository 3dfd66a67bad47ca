"""Measure how much of a pixel's attention falls on its own class, over the images of a split."""

import math
from collections.abc import Callable, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ocnet_pl.dataset.reading import Bytes
from ocnet_pl.dataset.samples import SegmentationDataset
from ocnet_pl.metrics import IGNORE
from ocnet_pl.model.object_context import ObjectContext, Points
from ocnet_pl.model.positions import Positions
from ocnet_pl.predictor import Predictor
from ocnet_pl.randomness import derive_seed
from ocnet_pl.record.context import METRICS, MapKind

Shares = tuple[float, float]
"""Share of a map on the pixel's own class, and the share of uniform attention."""


def measure_split(
    predictor: Predictor,
    dataset: SegmentationDataset,
    images: int,
    pixels: int,
    seed: int,
    advance: Callable[[], None] = lambda: None,
) -> tuple[list[MapKind], NDArray[np.float64]]:
    """Measure the first `images` of a data set, with `pixels` of each class in each, drawn by seed, image and class.

    Returns:
        Name and reach of each map, and means (maps, images, classes, metrics); NaN if a class is not in an image.

    Raises:
        UserError: the head has no attention.
    """
    kinds: list[MapKind] = []
    values = []
    for index in range(images):
        sample = dataset[index]
        label = sample["label"].numpy()
        context = predictor.attend(sample["image"].permute(1, 2, 0).numpy())
        kinds = kinds or [MapKind(name, context.reached(i)) for i, name in enumerate(context.names)]
        points = {
            id_: draw_pixels(label == id_, pixels, derive_seed(seed, "context", index, id_))
            for id_ in np.unique(label).tolist()
            if id_ != IGNORE
        }
        num_classes = predictor.network.num_classes
        values.append([measure_map(context, i, label, points, num_classes) for i in range(len(kinds))])
        advance()
    return kinds, np.array(values).swapaxes(0, 1)


def draw_pixels(mask: NDArray[np.bool_], count: int, seed: int) -> Points:
    """Draw `count` different pixels (x, y) of a mask (H, W), or all if it has fewer."""
    places = np.flatnonzero(mask)
    chosen = np.random.default_rng(seed).choice(places, min(count, len(places)), replace=False)
    y, x = np.unravel_index(chosen, mask.shape)
    return list(zip(x.tolist(), y.tolist(), strict=True))


def measure_map(
    context: ObjectContext, index: int, label: Bytes, points: Mapping[int, Points], num_classes: int
) -> NDArray[np.float64]:
    """Metrics of one map on one image, as a mean over the points of each class: (num_classes, metrics).

    `label` holds train ids (H, W), 255 for ignored pixels, whose weight counts neither for nor against.
    """
    flat = [point for of_class in points.values() for point in of_class]
    metrics = np.full((num_classes, len(METRICS)), np.nan)
    if not flat:
        return metrics
    positions = context.positions(index)
    rows, uniform = (rows.double().cpu() for rows in (context.rows(index, flat), context.uniform(index, flat)))
    shares, labelled = share_on_own_class(torch.cat([rows, uniform]), positions, label, [*flat, *flat])
    own, expected = shares.chunk(2)
    x, y = positions.centres()
    at = torch.tensor(flat, dtype=torch.float64)
    distance = torch.hypot(at[:, 0, None, None] - x, at[:, 1, None, None] - y[:, None]) / np.hypot(*label.shape)
    entropy, uniform_entropy = (torch.special.entr(part).sum((1, 2)) for part in (rows, uniform))
    by_metric = {
        "own": own,
        "uniform": expected,
        "gain": own - expected,
        "entropy": entropy / uniform_entropy,
        "distance": (rows * distance).sum((1, 2)),
        "uniform_distance": (uniform * distance).sum((1, 2)),
        "ignored": 1 - labelled.chunk(2)[0],
    }
    ids = torch.tensor([train_id for train_id, of_class in points.items() for _ in of_class])
    for train_id in points:
        metrics[train_id] = [by_metric[metric][ids == train_id].nanmean().item() for metric in METRICS]
    return metrics


def own_shares(context: ObjectContext, index: int, truth: Bytes | None, points: Points) -> list[Shares | None]:
    """Share of each point's map on the point's own class, and of uniform attention; None if the class is unknown."""
    if truth is None:
        return [None] * len(points)
    rows = torch.cat([context.rows(index, points).cpu(), context.uniform(index, points)])
    own, uniform = share_on_own_class(rows, context.positions(index), truth, [*points, *points])[0].chunk(2)
    return [None if math.isnan(pair[0]) else pair for pair in zip(own.tolist(), uniform.tolist(), strict=True)]


def share_on_own_class(rows: Tensor, positions: Positions, label: Bytes, points: Points) -> tuple[Tensor, Tensor]:
    """Share of each row's labelled weight that falls on its own class, and the labelled weight itself, both (P,).

    Equals the sum over the map at image size, but is computed at the positions. Rows are (P, h, w), one for each point
    (x, y); the label holds train ids (H, W), 255 for ignored pixels. The share is NaN if the point is ignored.
    """
    truth = torch.from_numpy(label)
    ids = torch.tensor([int(label[y, x]) for x, y in points])
    labelled = torch.einsum("phw,hw->p", rows, positions.average((truth != IGNORE).to(rows)))
    own = torch.full_like(labelled, torch.nan)
    for train_id in ids.unique().tolist():
        if train_id != IGNORE:
            here = ids == train_id
            own[here] = torch.einsum("phw,hw->p", rows[here], positions.average((truth == train_id).to(rows)))
    return own / labelled, labelled
