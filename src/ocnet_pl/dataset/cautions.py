"""Warnings about a data set at the start of a training: they stop no run, but change the meaning of its scores."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from ocnet_pl.dataset.data_module import SegmentationDataModule
from ocnet_pl.dataset.headers import rotated_images
from ocnet_pl.dataset.overlap import shared_images
from ocnet_pl.dataset.reading import Pair, read_size
from ocnet_pl.dataset.targets import Target, read_keypoints, visible_points


def cautions(data: SegmentationDataModule) -> Iterator[str]:
    """Warnings about training and validation images, each with an example.

    Raises:
        UserError: a split that cannot be listed, or keypoints that cannot be read.
    """
    trained, tested = ([image for image, _ in data.pairs(split)] for split in (data.train_split, data.val_split))
    if shared := shared_images(trained, tested):
        first, second = shared[0]
        twin = "" if first == second else f" (the same image as {first})"
        yield (
            f"{second}: is also trained on{twin}; {data.val_split} has {len(shared)} such images, which makes its "
            "scores too high; 'ocnet-data check' lists them"
        )
    if rotated := rotated_images({*trained, *tested}):
        path, orientation = min(rotated)
        yield (
            f"{path}: EXIF orientation {orientation} is ignored; {len(rotated)} images have one, and their labels must "
            "match the pixels as stored; 'ocnet-data check' lists them"
        )
    for name, target in data.targets.items():
        if target.kind == "keypoints":
            yield from _outside(data, name, target)


def _outside(data: SegmentationDataModule, name: str, target: Target) -> Iterator[str]:
    """Warning about keypoints outside their image, which training takes for missing."""
    pairs = data.pairs(data.train_split)
    with ThreadPoolExecutor() as pool:
        counts = list(pool.map(partial(_points_outside, name, target), pairs))
    if found := [(image, count) for (image, _), count in zip(pairs, counts, strict=True) if count]:
        image, count = found[0]
        yield (
            f"{image}: {count} points of {name!r} lie outside the image and count as missing; {len(found)} images of "
            f"{data.train_split} have such points; 'ocnet-data check' counts them"
        )


def _points_outside(name: str, target: Target, pair: Pair) -> int:
    points = read_keypoints(name, target, pair)
    return int((points[:, 2] != 0).sum() - (visible_points(points, read_size(pair[0]))[:, 2] != 0).sum())
