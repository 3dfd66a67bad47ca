"""Edges between classes, the target of CE2P's edge branch (CE2P dec670b, `dataset/target_generation.py`)."""

import torch
import torch.nn.functional as F
from torch import Tensor

IGNORED = 255


def class_edges(label: Tensor, width: int = 3) -> Tensor:
    """Mark pixels at edges between classes; a pair with an ignored pixel is no edge.

    The upper, the left and the upper left pixel of a pair of other classes are marked, for the other diagonal the upper
    right one, but for a vertical pair the lower pixel; then the marks are dilated by a square. So a mirrored label does
    not always have the mirrored edges, as in the authors' code.

    Args:
        label: train ids (B, H, W), any integer type; 255 is ignored.
        width: side of the square, odd; 1: no dilation.

    Returns:
        (B, H, W) int64, 1 at edges. An ignored pixel is 0 unless the dilation reaches it.
    """
    edge = torch.zeros_like(label, dtype=torch.bool)
    edge[:, 1:] |= _differ(label[:, 1:], label[:, :-1])
    edge[:, :, :-1] |= _differ(label[:, :, :-1], label[:, :, 1:])
    edge[:, :-1, :-1] |= _differ(label[:, :-1, :-1], label[:, 1:, 1:])
    edge[:, :-1, 1:] |= _differ(label[:, :-1, 1:], label[:, 1:, :-1])
    dilated = F.max_pool2d(edge.float().unsqueeze(1), width, stride=1, padding=width // 2)
    return dilated.squeeze(1).long()


def _differ(one: Tensor, other: Tensor) -> Tensor:
    return (one != other) & (one != IGNORED) & (other != IGNORED)
