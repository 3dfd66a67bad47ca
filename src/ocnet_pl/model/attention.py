"""Attention without storing its map, and the textbook form for comparison."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch.nn.functional as F
from torch import Tensor

_textbook = False
"""True inside `textbook_attention`."""
_calls: list[tuple[int, int, int]] | None = None
"""Shapes (B, N, M) of the maps inside `attention_calls`."""


def attend(query: Tensor, key: Tensor, value: Tensor, scale: float | None = None) -> Tensor:
    """Attention softmax(scale q k^T) v on PyTorch's fused kernels, without the N x M map in memory.

    The kernels require key and value of one width. A wider value is cut into slices of the key's width, which share
    query and key like the heads of multi-head attention; a remainder is padded with zeros.

    Args:
        query: (B, N, d), contiguous.
        key: (B, M, d), contiguous.
        value: (B, M, v), contiguous.
        scale: factor of the similarities; None: 1 / sqrt(d).

    Returns:
        (B, N, v).
    """
    if _calls is not None:
        _calls.append((*query.shape[:2], key.shape[1]))
    width, value_width = key.shape[-1], value.shape[-1]
    scale = width**-0.5 if scale is None else scale
    if _textbook:
        return explicit_attention(query, key, value, scale)
    padding = -value_width % width
    slices = (value_width + padding) // width
    heads = (F.pad(value, (0, padding)) if padding else value).unflatten(-1, (slices, width)).transpose(1, 2)
    shape = (-1, slices, -1, -1)
    context = F.scaled_dot_product_attention(
        query.unsqueeze(1).expand(shape), key.unsqueeze(1).expand(shape), heads, scale=scale
    )
    joined = context.transpose(1, 2).flatten(2)
    return joined[..., :value_width] if padding else joined


def explicit_attention(query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
    """Textbook form, which stores the map: for comparison only."""
    return (query @ key.transpose(-2, -1) * scale).softmax(-1) @ value


def attention_rows(query: Tensor, key: Tensor, scale: float | None = None) -> Tensor:
    """Rows of the map, softmax(scale q k^T). (..., P, d) and (..., M, d) -> (..., P, M)."""
    return (query @ key.mT * (key.shape[-1] ** -0.5 if scale is None else scale)).softmax(-1)


@contextmanager
def textbook_attention() -> Iterator[None]:
    """Compute attention in the textbook form inside this context, with the map in memory: for measurements."""
    global _textbook
    before, _textbook = _textbook, True
    try:
        yield
    finally:
        _textbook = before


@contextmanager
def attention_calls() -> Iterator[list[tuple[int, int, int]]]:
    """Record the shape (B, N, M) of the map of every call inside this context, stored or not."""
    global _calls
    before, _calls = _calls, []
    try:
        yield _calls
    finally:
        _calls = before
