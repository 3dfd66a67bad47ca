"""Warnings about a data set at the start of a training: they stop no run, but change the meaning of its scores."""

from collections.abc import Iterator

from ocnet_pl.dataset.data_module import SegmentationDataModule
from ocnet_pl.dataset.headers import rotated_images
from ocnet_pl.dataset.overlap import shared_images


def cautions(data: SegmentationDataModule) -> Iterator[str]:
    """Warnings about training and validation images, each with an example.

    Raises:
        UserError: a split that cannot be listed.
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
