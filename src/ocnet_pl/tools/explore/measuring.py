"""How much of a pixel's weight falls on its own class, over the images of a split."""

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


def measure_split(
    predictor: Predictor,
    dataset: SegmentationDataset,
    images: int,
    pixels: int,
    seed: int,
    advance: Callable[[], None] = lambda: None,
) -> tuple[list[MapKind], NDArray[np.float64]]:
    """Means over the drawn pixels of every image.

    Args:
        predictor: a network of a head with attention.
        dataset: images at their own size.
        images: how many of the first ones.
        pixels: drawn in each image from each of its classes; a function of the seed, the image and the class.
        seed: of the draw.
        advance: called after every image.

    Returns:
        Names and reach of the head's maps, and (maps, images, classes, metrics), NaN where an image lacks the class.

    Raises:
        UserError: a head without attention.
    """
    kinds: list[MapKind] = []
    found = []
    for index in range(images):
        sample = dataset[index]
        label = sample["label"].numpy()
        context = predictor.attend(sample["image"].permute(1, 2, 0).numpy())
        kinds = kinds or [MapKind(name, context.reached(i)) for i, name in enumerate(context.names)]
        points = {
            number: draw_pixels(label == number, pixels, derive_seed(seed, "context", index, number))
            for number in np.unique(label).tolist()
            if number != IGNORE
        }
        found.append([measure_map(context, i, label, points, predictor.network.num_classes) for i in range(len(kinds))])
        advance()
    return kinds, np.array(found).swapaxes(0, 1)


def draw_pixels(mask: NDArray[np.bool_], count: int, seed: int) -> Points:
    """So many different pixels (x, y) of a mask (H, W), or all where it has fewer."""
    places = np.flatnonzero(mask)
    chosen = np.random.default_rng(seed).choice(places, min(count, len(places)), replace=False)
    y, x = np.unravel_index(chosen, mask.shape)
    return list(zip(x.tolist(), y.tolist(), strict=True))


def measure_map(
    context: ObjectContext, number: int, label: Bytes, points: Mapping[int, Points], num_classes: int
) -> NDArray[np.float64]:
    """One map of one image, mean over the points of each class, (num_classes, metrics).

    Args:
        context: of the image.
        number: of the map.
        label: train ids (H, W), 255 where ignored: the weight there counts neither for nor against.
        points: by their class.
        num_classes: of the data set.
    """
    every = [point for of_class in points.values() for point in of_class]
    metrics = np.full((num_classes, len(METRICS)), np.nan)
    if not every:
        return metrics
    positions = context.positions(number)
    rows, uniform = (rows.double().cpu() for rows in (context.rows(number, every), context.uniform(number, every)))
    shares, labelled = share_on_own_class(torch.cat([rows, uniform]), positions, label, [*every, *every])
    own, expected = shares.chunk(2)
    x, y = positions.centres()
    at = torch.tensor(every, dtype=torch.float64)
    distance = torch.hypot(at[:, 0, None, None] - x, at[:, 1, None, None] - y[:, None]) / np.hypot(*label.shape)
    entropy, equal_entropy = (torch.special.entr(part).sum((1, 2)) for part in (rows, uniform))
    of_point = {
        "own": own,
        "uniform": expected,
        "gain": own - expected,
        "entropy": entropy / equal_entropy,
        "distance": (rows * distance).sum((1, 2)),
        "uniform_distance": (uniform * distance).sum((1, 2)),
        "ignored": 1 - labelled.chunk(2)[0],
    }
    ids = torch.tensor([train_id for train_id, of_class in points.items() for _ in of_class])
    for train_id in points:
        metrics[train_id] = [of_point[metric][ids == train_id].nanmean() for metric in METRICS]
    return metrics


def share_on_own_class(rows: Tensor, positions: Positions, label: Bytes, points: Points) -> tuple[Tensor, Tensor]:
    """Of each row's weight on labelled pixels the share on pixels of its point's class, and how much that weight is.

    It is what summing the maps at the image's size gives, computed at the positions.

    Args:
        rows: (P, h, w), a weight for every position.
        positions: where they lie.
        label: train ids (H, W), 255 where ignored.
        points: (x, y) of each row.

    Returns:
        Both (P,); the share is NaN where the point is ignored.
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
