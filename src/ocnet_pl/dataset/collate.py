"""Samples -> batches."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import default_collate

from ocnet_pl.dataset.transforms import MEAN_COLOUR
from ocnet_pl.errors import UserError
from ocnet_pl.metrics import IGNORE
from ocnet_pl.resizing import Size, round_up

Sample = dict[str, Tensor]
"""image (3, H, W) uint8; label (H, W) uint8; index ()."""


def pad_to_largest(samples: Sequence[Sample], multiple: int = 1) -> Sample:
    """A batch of the size of its largest image, rounded up to a multiple.

    Images stand at the top left; what they leave free has the mean colour and is ignored.
    """
    heights, widths = zip(*(sample["label"].shape for sample in samples), strict=True)
    size = round_up((max(heights), max(widths)), multiple)
    batch: Sample = default_collate([_pad(sample, size) for sample in samples])
    return batch


def stack(samples: Sequence[Sample]) -> Sample:
    """A batch of images as they are.

    Raises:
        UserError: they are of several sizes. Padding would show the network what is not in the image.
    """
    sizes = {tuple(sample["label"].shape) for sample in samples}
    if len(sizes) > 1:
        told = " and ".join(f"{width}x{height}" for height, width in sorted(sizes)[:2])
        raise UserError(
            f"dataset.val_batch_size={len(samples)}: images of {told} cannot be tested together; "
            "set dataset.val_batch_size=1"
        )
    batch: Sample = default_collate(list(samples))
    return batch


def _pad(sample: Sample, size: Size) -> Sample:
    height, width = sample["label"].shape
    if (height, width) == size:
        return sample
    image = torch.tensor(MEAN_COLOUR, dtype=torch.uint8).view(3, 1, 1).repeat(1, *size)
    image[:, :height, :width] = sample["image"]
    label = F.pad(sample["label"], (0, size[1] - width, 0, size[0] - height), value=IGNORE)
    return {**sample, "image": image, "label": label}
