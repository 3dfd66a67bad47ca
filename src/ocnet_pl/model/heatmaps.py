"""Heatmaps of points, the targets of pose branches (JPPNet, MuLA) and of structure losses (Attention+SSL, SS-NAN).

Points are tensors (B, N, 2 or more) whose first numbers are x and y; NaN stands for a missing point, as in the target
`pose` of a batch. Its unit is the pixel of the batch's image, 0 at the centre of the first one.
"""

import torch
from torch import Tensor

from ocnet_pl.errors import UserError
from ocnet_pl.model.contract import Batch
from ocnet_pl.resizing import Size

POSE = "pose"
"""Target of a data set with poses."""


def joints_of(batch: Batch, joints: int) -> Tensor:
    """Joints (B, N, 3) of a batch: x, y and visibility.

    Raises:
        UserError: the batch has no poses, or poses of another number of joints.
    """
    if POSE not in batch:
        raise UserError(
            f"{POSE}: the batch has no such target; train on a data set with poses, e.g. LIP with poses=true"
        )
    if batch[POSE].shape[1] != joints:
        raise UserError(f"{POSE}: has {batch[POSE].shape[1]} joints, and the head {joints}; set the head's joints")
    return batch[POSE]


def gaussian_maps(
    points: Tensor, rows: Tensor, columns: Tensor, sigma: float, *, peak: float = 1.0, least: float = 0.0
) -> Tensor:
    """Draw a Gaussian around every point: peak * exp(-distance^2 / (2 sigma^2)); the map of a missing point is 0.

    Args:
        points: (B, N, 2 or more).
        rows: y of the map's rows, (h,), in the unit of the points.
        columns: x of the map's columns, (w,).
        sigma: standard deviation in the unit of the points.
        peak: value at the point.
        least: share of the peak below which the map is 0.

    Returns:
        (B, N, h, w) float32.
    """
    x, y = points[..., 0, None].float(), points[..., 1, None].float()
    across = torch.exp(-((columns - x) ** 2) / (2 * sigma**2))
    down = torch.exp(-((rows - y) ** 2) / (2 * sigma**2))
    maps = down.unsqueeze(-1) * across.unsqueeze(-2)
    # The comparison is false for NaN, too.
    return torch.where(maps >= least, peak * maps, 0.0)


def aligned_cells(size: Size, image: Size, device: torch.device | None = None) -> tuple[Tensor, Tensor]:
    """Positions (rows, columns) of the cells of a map (h, w) that is resized to the image with aligned corners."""
    rows, columns = (
        torch.linspace(0, pixels - 1, cells, device=device) for cells, pixels in zip(size, image, strict=True)
    )
    return rows, columns


def centred_cells(size: Size, stride: float, device: torch.device | None = None) -> tuple[Tensor, Tensor]:
    """Positions (rows, columns) of the middles of cells of stride x stride pixels (MuLA)."""
    rows, columns = (torch.arange(cells, device=device) * stride + (stride - 1) / 2 for cells in size)
    return rows, columns


def with_background(maps: Tensor) -> Tensor:
    """Append a map (MuLA) that is 1 less the greatest value of all maps: (B, N, h, w) -> (B, N + 1, h, w)."""
    return torch.cat([maps, 1 - maps.amax(1, keepdim=True)], 1)
