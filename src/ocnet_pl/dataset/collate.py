"""Samples -> batches."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.utils.data import default_collate

from ocnet_pl.dataset.transforms import MEAN_COLOUR
from ocnet_pl.errors import UserError
from ocnet_pl.metrics import IGNORE
from ocnet_pl.resizing import Size, round_up

Sample = dict[str, Tensor]
"""image (3, H, W) uint8; label (H, W) uint8; index (); targets: masks (H, W), keypoints (N, 3)."""


def pad_to_largest(samples: Sequence[Sample], multiple: int = 1, fills: Mapping[str, float] | None = None) -> Sample:
    """Batch of the size of its largest image, rounded up to a multiple.

    Images stand at the top left; padding has the mean colour and is ignored.

    Args:
        samples: samples of the batch.
        multiple: factor of both sides.
        fills: padding of each mask among the targets.

    Raises:
        UserError: keypoints of one target that differ in their number.
    """
    heights, widths = zip(*(sample["label"].shape for sample in samples), strict=True)
    size = round_up((max(heights), max(widths)), multiple)
    padding = {"image": torch.tensor(MEAN_COLOUR).view(3, 1, 1), "label": torch.tensor(IGNORE)}
    padding |= {name: torch.tensor(fill) for name, fill in (fills or {}).items()}
    for name in set(samples[0]) - set(padding):
        if len(shapes := {tuple(sample[name].shape) for sample in samples}) > 1:
            raise UserError(f"target {name!r} has shapes {sorted(shapes)}; return as many keypoints for every image")
    batch: Sample = default_collate(
        [
            {name: _pad(tensor, size, padding[name]) if name in padding else tensor for name, tensor in sample.items()}
            for sample in samples
        ]
    )
    return batch


def stack(samples: Sequence[Sample]) -> Sample:
    """Batch of images of one size, without padding, which would show the network what is not in the image.

    Raises:
        UserError: images of several sizes.
    """
    sizes = {tuple(sample["label"].shape) for sample in samples}
    if len(sizes) > 1:
        some = " and ".join(f"{width}x{height}" for height, width in sorted(sizes)[:2])
        raise UserError(
            f"val_batch_size={len(samples)}: images of {some} cannot be tested together; set val_batch_size=1"
        )
    batch: Sample = default_collate(list(samples))
    return batch


def _pad(tensor: Tensor, size: Size, fill: Tensor) -> Tensor:
    height, width = tensor.shape[-2:]
    if (height, width) == size:
        return tensor
    padded = fill.to(tensor.dtype).expand(*tensor.shape[:-2], *size).clone()
    padded[..., :height, :width] = tensor
    return padded
