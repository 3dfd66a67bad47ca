"""Edges of label maps on their device: targets of systems that learn where classes meet, and their losses."""

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import sigmoid_focal_loss

from ocnet_pl.metrics import IGNORE
from ocnet_pl.model.layers import without_autocast

_SMOOTH = (1, 6, 15, 20, 15, 6, 1)
_DERIVE = (-1, -4, -5, 0, 5, 4, 1)
"""Sobel's operator of size 7."""
_SCALE = 1 / 16
"""Factor of the gradients, by which OpenCV's Canny also lowers its thresholds at size 7."""
_STEEP, _FLAT = 13573 / 2**15, 13573 / 2**15 + 2
"""Tangents of 22.5 and 67.5 degrees in OpenCV's fixed-point numbers."""


def neighbour_edges(label: Tensor) -> Tensor:
    """Pixels whose class differs from a neighbour's, as in CE2P (arXiv:1809.05996): a line of one pixel on one side.

    A pixel is marked if it differs from the pixel above, to the right, or to the lower right, or if the pixel to its
    left differs from the one below that. A pair with an ignored pixel marks nothing.

    Args:
        label: (B, H, W), 255 is ignored.

    Returns:
        Mask (B, H, W).
    """
    edges = torch.zeros_like(label, dtype=torch.bool)
    edges[:, 1:] |= _differ(label[:, 1:], label[:, :-1])
    edges[:, :, :-1] |= _differ(label[:, :, :-1], label[:, :, 1:])
    edges[:, :-1, :-1] |= _differ(label[:, :-1, :-1], label[:, 1:, 1:])
    edges[:, :-1, 1:] |= _differ(label[:, :-1, 1:], label[:, 1:, :-1])
    return edges


def canny_edges(label: Tensor) -> Tensor:
    """Edges of class numbers by Canny's method, as in DFN: OpenCV's `Canny(label, 5, 5, apertureSize=7)`.

    Ignored pixels count as class 0, so that they have edges, too. The two thresholds are one, so there is no
    hysteresis; every step between two classes exceeds it.

    Args:
        label: (B, H, W), 255 is ignored.

    Returns:
        Mask (B, H, W).
    """
    image = label.where(label != IGNORE, 0).unsqueeze(1).float()
    # Filled on the device: `new_tensor` would copy from the CPU, and the step would wait for the GPU.
    smooth, derive = (torch.stack([image.new_full((), tap) for tap in taps]) for taps in (_SMOOTH, _DERIVE))
    kernels = torch.stack([torch.outer(smooth, derive), torch.outer(derive, smooth)]).unsqueeze(1)
    with without_autocast(image):  # sums of whole numbers below 2^24 are exact
        gradients = F.conv2d(F.pad(image, (3, 3, 3, 3), mode="replicate"), kernels)
    across, down = (gradients * _SCALE).round().unbind(1)
    size = across.abs() + down.abs()
    neighbours = F.pad(size, (1, 1, 1, 1))
    height, width = size.shape[-2:]

    def at(y: int, x: int) -> Tensor:
        return neighbours[:, 1 + y : 1 + y + height, 1 + x : 1 + x + width]

    horizontal = (size > at(0, -1)) & (size >= at(0, 1))
    vertical = (size > at(-1, 0)) & (size >= at(1, 0))
    falling = (size > at(-1, -1)) & (size > at(1, 1))
    rising = (size > at(-1, 1)) & (size > at(1, -1))
    diagonal = torch.where((across < 0) ^ (down < 0), rising, falling)
    steep, flat = down.abs() > across.abs() * _FLAT, down.abs() < across.abs() * _STEEP
    return (size > 0) & torch.where(flat, horizontal, torch.where(steep, vertical, diagonal))


def dilated(mask: Tensor, width: int) -> Tensor:
    """Mask widened by a square of odd width. (B, H, W) -> (B, H, W)."""
    return F.max_pool2d(mask.float().unsqueeze(1), width, stride=1, padding=width // 2).squeeze(1).bool()


def focal_loss(logits: Tensor, edges: Tensor, counted: Tensor, *, gamma: float = 2.0, alpha: float = 0.25) -> Tensor:
    """Focal loss of edge logits (Lin et al. 2017, arXiv:1708.02002), mean over the counted pixels; 0 without any.

    Args:
        logits: (B, H, W).
        edges: mask (B, H, W) of the edges.
        counted: mask (B, H, W) of the pixels with a loss.
        gamma: exponent that lowers the loss of easy pixels.
        alpha: weight of edges; others have 1 - alpha.

    Returns:
        Scalar.
    """
    losses = sigmoid_focal_loss(logits.float(), edges.float(), alpha=alpha, gamma=gamma)
    return (losses * counted).sum() / counted.sum().clamp_min(1)


def balanced_cross_entropy(logits: Tensor, edges: Tensor) -> Tensor:
    """Cross entropy in which edges and other pixels have the same total weight, as in CE2P; 0 if one kind is missing.

    The weight of an edge is the share of the other pixels in the batch, that of another pixel the share of the edges.
    All pixels count, those without a class too.

    Args:
        logits: (B, 2, H, W): no edge, edge.
        edges: mask (B, H, W) of the edges.

    Returns:
        Scalar.
    """
    losses = F.cross_entropy(logits.float(), edges.long(), reduction="none")
    share = edges.float().mean()
    weights = torch.where(edges, 1 - share, share)
    return (weights * losses).sum() / weights.sum().clamp_min(torch.finfo(losses.dtype).tiny)


def released_focal_loss(logits: Tensor, edges: Tensor, counted: Tensor) -> Tensor:
    """Loss that DFN's code has in place of a focal loss, for comparison only; arguments as in `focal_loss`.

    It puts probabilities where logits belong. Its gradient raises every logit, at edges and elsewhere, and it averages
    over all pixels.
    """
    probability = logits.float().sigmoid()
    of_edges = 0.25 * (1 - probability).square() * probability * ~edges
    of_others = 0.75 * probability.square() * F.softplus(-probability)
    return -((of_edges + of_others) * counted).mean()


def _differ(first: Tensor, second: Tensor) -> Tensor:
    return (first != second) & (first != IGNORE) & (second != IGNORE)
