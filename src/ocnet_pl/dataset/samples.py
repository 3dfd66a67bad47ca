"""Image and label files as samples."""

from collections.abc import Callable, Sequence
from functools import partial

import albumentations as A
import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from ocnet_pl.dataset.augmenting import fault_of_sample
from ocnet_pl.dataset.labels import UNKNOWN
from ocnet_pl.dataset.reading import Bytes, Pair, Wanted, read_pair
from ocnet_pl.dataset.sampler import Draw
from ocnet_pl.dataset.transforms import window_of
from ocnet_pl.errors import UserError
from ocnet_pl.randomness import derive_seed


class SegmentationDataset(Dataset[dict[str, Tensor]]):
    """Image and label files as samples: image (3, H, W) uint8 RGB, label (H, W) uint8, index.

    Args:
        pairs: files of image and label.
        table: stored id -> train id, (256,) uint8, with 255 for ignored and `UNKNOWN` for impossible ids.
        transform: transform of training; None: the image as it is.
        seed: seed of the run, for the transform's draws.
        read: files, and the part of them that will be looked at -> image (H, W, 3) and stored ids (H, W); None: the
            files are decoded.
    """

    def __init__(
        self,
        pairs: Sequence[Pair],
        table: Bytes,
        transform: A.Compose | None = None,
        seed: int = 0,
        read: Callable[[Pair, Wanted | None], tuple[Bytes, Bytes]] | None = None,
    ) -> None:
        self.pairs = pairs
        self.table = table
        self.transform = transform
        self.seed = seed
        self.read = read or partial(_read, table)

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, draw: Draw | int) -> dict[str, Tensor]:
        draw = draw if isinstance(draw, Draw) else Draw(draw, 0)
        pair = self.pairs[draw.image]
        if self.transform is None:
            image, stored = self.read(pair, None)
        else:
            seed = derive_seed(self.seed, "augment", draw.position) % 2**32
            image, stored = self.read(pair, window_of(self.transform, seed))
            self.transform.set_random_seed(seed)
            image, stored = self._transformed(image, stored, draw.batch)
        label = cv2.LUT(stored, self.table)
        if (unknown := label == UNKNOWN).any():
            strange = np.unique(stored[unknown]).tolist()
            raise UserError(
                f"{pair[1]}: label ids {strange} are not in the data set's table; is this the right label file?"
            )
        planes = np.empty((image.shape[2], *image.shape[:2]), image.dtype)
        cv2.split(np.ascontiguousarray(image), list(planes))  # four times as fast as a transposed copy
        return {
            "image": torch.from_numpy(planes),
            "label": torch.from_numpy(np.ascontiguousarray(label)),
            "index": torch.tensor(draw.image),
        }

    def _transformed(self, image: Bytes, stored: Bytes, batch: int) -> tuple[Bytes, Bytes]:
        assert self.transform is not None
        try:
            sample = self.transform(image=image, mask=stored, batch=batch)
        except Exception as error:  # transforms that the user adds raise all kinds
            width, height = image.shape[1::-1]
            message = " ".join(str(error).split())
            raise UserError(f"augment: {message}, for an image of {width}x{height}; change or leave it out") from error
        if why := fault_of_sample(sample["image"], sample["mask"]):
            raise UserError(f"augment: {why}; leave that transform out")
        return sample["image"], sample["mask"]


def _read(table: Bytes, pair: Pair, wanted: Wanted | None) -> tuple[Bytes, Bytes]:
    return read_pair(pair, table, wanted)
