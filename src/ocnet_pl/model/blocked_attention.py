"""Attention in blocks of rows of its map, for shapes on which the fused kernels repeat their work."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

ROWS = 384
"""Of the map at once. At 9409 positions fewer are slower and more are no faster; its two buffers are 29 MB."""


@torch.compiler.disable  # type: ignore[untyped-decorator]  # it would unroll the loops over images and blocks
def blocked_attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """softmax(q k^T / sqrt(d)) v, of which `ROWS` rows are in memory at a time, forward and backward.

    The map is computed once in each direction, whatever the width of the value; the gradient is that of
    FlashAttention (Dao et al. 2022, section 3.1) with whole rows, which need no running maximum.

    Args:
        query, key: (B, N, d), contiguous, of a precision that the softmax may be summed in.
        value: (B, N, v), contiguous.

    Returns:
        (B, N, v).
    """
    context: Tensor = _BlockedAttention.apply(query, key, value)
    return context


class _BlockedAttention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        context = torch.empty_like(value)
        for q, k, v, out in zip(query, key, value, context, strict=True):
            for rows, scores, weights in _blocks(q, k):
                _weigh(q[rows] * _scale(q), k, scores, weights)
                torch.mm(weights, v, out=out[rows])
        ctx.save_for_backward(query, key, value, context)
        return context

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        query, key, value, context = ctx.saved_tensors
        d_query, d_key, d_value = torch.empty_like(query), torch.zeros_like(key), torch.zeros_like(value)
        # A row of the map times its gradient, summed, without either: FlashAttention's D.
        shift = (gradient * context).sum(-1, keepdim=True)
        for q, k, v, g, s, dq, dk, dv in zip(query, key, value, gradient, shift, d_query, d_key, d_value, strict=True):
            for rows, scores, weights in _blocks(q, k):
                scaled = q[rows] * _scale(q)
                _weigh(scaled, k, scores, weights)
                dv.addmm_(weights.T, g[rows])
                slope = torch.mm(g[rows], v.T, out=scores).sub_(s[rows]).mul_(weights)
                torch.mm(slope, k, out=dq[rows])
                dk.addmm_(slope.T, scaled)
        return d_query.mul_(_scale(query)), d_key, d_value


def _blocks(query: Tensor, key: Tensor) -> Iterator[tuple[slice, Tensor, Tensor]]:
    """Runs of rows, each with two buffers of its part of the map: made once, since fresh memory costs a third more."""
    buffers = query.new_empty(2, min(ROWS, len(query)), len(key))
    for start in range(0, len(query), ROWS):
        rows = slice(start, min(start + ROWS, len(query)))
        scores, weights = buffers[:, : rows.stop - start]
        yield rows, scores, weights


def _weigh(scaled: Tensor, key: Tensor, scores: Tensor, weights: Tensor) -> None:
    torch.softmax(torch.mm(scaled, key.T, out=scores), -1, out=weights)


def _scale(query: Tensor) -> float:
    width: int = query.shape[-1]
    return width**-0.5
