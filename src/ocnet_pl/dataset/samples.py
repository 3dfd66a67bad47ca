"""Image and label files as samples."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import albumentations as A
import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from ocnet_pl.dataset.augmenting import fault_of_sample
from ocnet_pl.dataset.labels import UNKNOWN
from ocnet_pl.dataset.reading import Bytes, Pair, read_pair
from ocnet_pl.dataset.sampler import Draw
from ocnet_pl.dataset.targets import Targets, finished_targets, read_targets
from ocnet_pl.errors import UserError
from ocnet_pl.randomness import derive_seed


class SegmentationDataset(Dataset[dict[str, Tensor]]):
    """Image and label files as samples: image (3, H, W) uint8 RGB, label (H, W) uint8, index, and the targets.

    Args:
        pairs: files of image and label.
        table: stored id -> train id, (256,) uint8, with 255 for ignored and `UNKNOWN` for impossible ids.
        transform: training transform; None: images stay as they are, and samples have no targets.
        seed: seed of the run, for the draws of the transform.
        read: function from two files to image (H, W, 3) and stored ids (H, W); None: the files are decoded.
        targets: targets of the samples by name.
    """

    def __init__(
        self,
        pairs: Sequence[Pair],
        table: Bytes,
        transform: A.Compose | None = None,
        seed: int = 0,
        read: Callable[[Pair], tuple[Bytes, Bytes]] | None = None,
        targets: Targets | None = None,
    ) -> None:
        self.pairs = pairs
        self.table = table
        self.transform = transform
        self.seed = seed
        self.read = read or partial(read_pair, table=table)
        self.targets = targets or {}

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, draw: Draw | int) -> dict[str, Tensor]:
        draw = draw if isinstance(draw, Draw) else Draw(draw, 0)
        pair = self.pairs[draw.image]
        image, stored = self.read(pair)
        more: dict[str, Any] = {}
        if self.transform is not None:
            more = read_targets(self.targets, pair, stored, self.table)
            self.transform.set_random_seed(derive_seed(self.seed, "augment", draw.position) % 2**32)
            sample = self._transformed(image=image, mask=stored, batch=draw.batch, **more)
            image, stored = sample["image"], sample["mask"]
            more = finished_targets(self.targets, sample, self.table)
        label = cv2.LUT(stored, self.table)
        if (unknown := label == UNKNOWN).any():
            ids = np.unique(stored[unknown]).tolist()
            raise UserError(
                f"{pair[1]}: label ids {ids} are not in the data set's table; check that this is the right label file"
            )
        planes = np.empty((image.shape[2], *image.shape[:2]), image.dtype)
        cv2.split(np.ascontiguousarray(image), list(planes))  # four times as fast as a transposed copy
        return {
            "image": torch.from_numpy(planes),
            "label": torch.from_numpy(np.ascontiguousarray(label)),
            "index": torch.tensor(draw.image),
            **{name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in more.items()},
        }

    def _transformed(self, **data: Any) -> dict[str, Any]:
        assert self.transform is not None
        try:
            sample: dict[str, Any] = self.transform(**data)
        except Exception as error:  # the user's transforms raise exceptions of all kinds
            height, width = data["mask"].shape
            message = " ".join(str(error).split())
            raise UserError(
                f"augment: {message}, for an image of {width}x{height}; change the transform or leave it out"
            ) from error
        if fault := fault_of_sample(sample["image"], sample["mask"]):
            raise UserError(f"augment: {fault}; leave that transform out")
        return sample
