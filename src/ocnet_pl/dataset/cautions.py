"""Warnings about a data set before it is trained on: what breaks no run, but changes the meaning of its scores."""

from collections.abc import Iterator

from ocnet_pl.dataset.data_module import SegmentationDataModule
from ocnet_pl.dataset.headers import turned_images
from ocnet_pl.dataset.overlap import shared_images


def cautions(data: SegmentationDataModule) -> Iterator[str]:
    """Lines about images of training and validation, each with an example.

    Raises:
        UserError: a split that cannot be listed.
    """
    trained, tested = ([image for image, _ in data.pairs(split)] for split in (data.train_split, data.val_split))
    if shared := shared_images(trained, tested):
        first, second = shared[0]
        twin = "" if first == second else f"the same image as {first}, which is "
        yield (
            f"{second}: {twin}trained on; there are {len(shared)} such images in {data.val_split}, and its scores are "
            "too high; 'ocnet-data check' lists them"
        )
    if turned := turned_images({*trained, *tested}):
        path, orientation = min(turned)
        yield (
            f"{path}: EXIF orientation {orientation} is ignored; there are {len(turned)} such images, and their labels "
            "must be of the pixels as stored; 'ocnet-data check' lists them"
        )
