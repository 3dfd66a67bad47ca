"""Attention without ever storing its map, and the textbook form to compare it with."""

import torch
import torch.nn.functional as F
from torch import Tensor

from ocnet_pl.model.blocked_attention import blocked_attention


def mapless_attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """softmax(q k^T / sqrt(d)) v, as networks compute it: the N x N map is never in memory.

    On PyTorch's fused kernels, but for one case that they are slower in than the textbook: a float32 value wider
    than the key on a CPU, where they take 14 products of N x N x d for each 9 of the textbook and blocks take 10.

    Args:
        query, key: (B, N, d), contiguous.
        value: (B, N, v), contiguous.

    Returns:
        (B, N, v).
    """
    wider = value.shape[-1] > key.shape[-1]
    if wider and value.device.type == "cpu" and query.dtype == key.dtype == value.dtype == torch.float32:
        return blocked_attention(query, key, value)
    return fused_attention(query, key, value)


def fused_attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """The same on PyTorch's fused kernels.

    They want key and value of one width. A wider value is cut into slices of the key's width that share the
    query and the key as attention heads do; a remainder is padded with zeros.
    """
    width, value_width = key.shape[-1], value.shape[-1]
    padding = -value_width % width
    slices = (value_width + padding) // width
    heads = (F.pad(value, (0, padding)) if padding else value).unflatten(-1, (slices, width)).transpose(1, 2)
    shape = (-1, slices, -1, -1)
    context = F.scaled_dot_product_attention(
        query.unsqueeze(1).expand(shape), key.unsqueeze(1).expand(shape), heads, scale=width**-0.5
    )
    joined = context.transpose(1, 2).flatten(2)
    return joined[..., :value_width] if padding else joined


def explicit_attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """The textbook form, which stores the map: for comparison only (`ocnet-profile --explicit-attention`)."""
    weights = (query @ key.transpose(-2, -1) * key.shape[-1] ** -0.5).softmax(-1)
    return weights @ value
