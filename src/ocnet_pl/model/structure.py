"""Joints that are derived from label maps (Attention+SSL, CVPR 2017; SS-NAN, CVPR-W 2017): centres of body regions."""

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from ocnet_pl.model.heatmaps import gaussian_maps

Regions = Sequence[Sequence[int]]
"""Train ids of the classes that make each region."""
Rule = Literal["whole", "nonzero"]

PEAK = 4 / math.sqrt(2 * math.pi)
"""Value of a heatmap at its joint, in both papers' code."""


def region_centres(label: Tensor, regions: Regions, rule: Rule = "whole") -> Tensor:
    """Centres of the regions of a label map, in its cells; NaN for regions without a cell.

    Args:
        label: train ids (B, h, w), any integer type; ids of no region, e.g. 255, do not count.
        regions: classes of each region.
        rule: "whole": the mean, rounded down to a whole cell (Attention+SSL). "nonzero": the sum of a coordinate over
            the number of cells in which it is not 0 (SS-NAN); a region in the first cell alone is absent.

    Returns:
        (B, N, 2): x and y.
    """
    # Comparisons with numbers: a table of classes would be copied from the CPU, and the step would wait for the GPU.
    nowhere = torch.zeros_like(label, dtype=torch.bool)
    inside = torch.stack([sum((label == one for one in classes), start=nowhere) for classes in regions], 1)
    of_axes = [_centre(inside.sum(axis), rule) for axis in (-2, -1)]  # cells of each column, of each row
    present = inside.any(-1).any(-1)
    if rule == "nonzero":
        present &= of_axes[0] + of_axes[1] > 0
    return torch.stack(of_axes, -1).where(present.unsqueeze(-1), torch.nan)


def structure_distance(prediction: Tensor, label: Tensor, regions: Regions, rule: Rule = "whole") -> Tensor:
    """Squared difference of the heatmaps of two label maps, summed over regions and cells.

    The weight of an image is 0.05 * 0.5 times this number in Attention+SSL, and 0.5 / (number of regions) times it in
    SS-NAN. It has no gradient.

    Args:
        prediction: predicted train ids (B, h, w).
        label: true train ids (B, h, w).
        regions: classes of each region.
        rule: rule of the centres, see `region_centres`.

    Returns:
        (B,).
    """
    rows, columns = (torch.arange(cells, device=label.device) for cells in label.shape[-2:])
    predicted, true = (
        gaussian_maps(region_centres(one, regions, rule), rows, columns, sigma=1.0, peak=PEAK)
        for one in (prediction, label)
    )
    return ((predicted - true) ** 2).sum((1, 2, 3))


def _centre(cells: Tensor, rule: Rule) -> Tensor:
    """Centre (B, N) along one axis, from the number of cells (B, N, length) at each place."""
    total = (cells * torch.arange(cells.shape[-1], device=cells.device)).sum(-1)
    if rule == "whole":
        return (total // cells.sum(-1).clamp_min(1)).float()
    return (total.double() / cells[..., 1:].sum(-1).clamp_min(1)).float()
