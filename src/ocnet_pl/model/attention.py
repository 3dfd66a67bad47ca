"""Object context pooling (paper, section 3.1, equations 1 and 2) without ever storing the map."""

from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ocnet_pl.model.layers import conv_norm_act, upsample


def fused_attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """softmax(q k^T / sqrt(d)) v on PyTorch's fused kernels: the N x N map is never in memory.

    The kernels want key and value of one width. A wider value is cut into slices of the key's width that
    share the query and the key as attention heads do; a remainder is padded with zeros.

    Args:
        query, key: (B, N, d), contiguous.
        value: (B, N, v), contiguous.

    Returns:
        (B, N, v).
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


def cell_tokens(features: Tensor, cells: tuple[int, int]) -> Tensor:
    """(B, C, H, W) with H and W multiples of the cells -> (B * cells, H * W / cells, C), contiguous."""
    rows, columns = cells
    grid = features.unflatten(3, (columns, -1)).unflatten(2, (rows, -1))  # B C r h c w
    return grid.permute(0, 2, 4, 3, 5, 1).flatten(3, 4).flatten(0, 2).contiguous()


def cell_image(tokens: Tensor, cells: tuple[int, int], size: tuple[int, int]) -> Tensor:
    """The inverse of `cell_tokens`. (B * cells, H * W / cells, C) -> (B, C, H, W)."""
    rows, columns = cells
    height, width = size[0] // rows, size[1] // columns
    grid = tokens.unflatten(1, (height, width)).unflatten(0, (-1, rows, columns))  # B r c h w C
    return grid.permute(0, 5, 1, 3, 2, 4).flatten(4, 5).flatten(2, 3)


def spans(length: int, cells: int) -> Iterator[tuple[slice, int]]:
    """Cuts a side into runs of equal cells: (where, how many cells).

    The step is floor(length / cells) and the last cell takes the remainder, as in the authors' code; so a
    side that divides is one run, any other is two.
    """
    step, remainder = divmod(length, cells)
    if remainder == 0:
        yield slice(0, length), cells
        return
    if cells > 1:
        yield slice(0, step * (cells - 1)), cells - 1
    yield slice(step * (cells - 1), length), 1


def cell_around(index: int, length: int, cells: int) -> slice:
    """The one of these cells that holds a position."""
    for where, count in spans(length, cells):
        if index < where.stop:
            step = (where.stop - where.start) // count
            start = index - (index - where.start) % step
            return slice(start, start + step)
    raise IndexError(f"{index} lies outside of {length}")


class ObjectContextPooling(nn.Module):
    """Every pixel is the sum of all pixels, weighted by how likely they are of the same object category.

    Args:
        in_channels: channels of the input.
        key_channels: width d of query and key; similarities are scaled by 1 / sqrt(d).
        value_channels: width of the value.
        out_channels: channels after the output transform W.
        grid: attend inside each cell of a grid x grid partition (Pyramid-OC).
        downsample: max-pool the input by this factor first and upsample the result (2 in ASP-OC).
        share_query_key: one transform serves as query and key (authors' code; the paper writes two).
        zero_init: W starts at zero, so that the context fades in (authors' code).
        negative_slope: of the leaky ReLU in the query and key transforms.
    """

    def __init__(
        self,
        in_channels: int,
        key_channels: int,
        value_channels: int,
        out_channels: int,
        *,
        grid: int = 1,
        downsample: int = 1,
        share_query_key: bool = True,
        zero_init: bool = True,
        negative_slope: float = 0.01,
    ) -> None:
        super().__init__()
        self.grid = grid
        self.downsample = downsample
        self.attend = fused_attention
        self.key = conv_norm_act(in_channels, key_channels, negative_slope=negative_slope)
        self.query = (
            None if share_query_key else conv_norm_act(in_channels, key_channels, negative_slope=negative_slope)
        )
        self.value = nn.Conv2d(in_channels, value_channels, 1)
        self.project = nn.Conv2d(value_channels, out_channels, 1)
        if zero_init:
            nn.init.zeros_(self.project.weight)
            if self.project.bias is not None:
                nn.init.zeros_(self.project.bias)

    def transforms(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Query, key and value maps. (B, in, H, W) -> (B, d, h, w) twice and (B, v, h, w)."""
        pooled = self.pooled(features)
        return *self.query_key(pooled), self.value(pooled)

    def pooled(self, features: Tensor) -> Tensor:
        """What is attended to. (B, in, H, W) -> (B, in, h, w)."""
        return F.max_pool2d(features, self.downsample) if self.downsample > 1 else features

    def query_key(self, pooled: Tensor) -> tuple[Tensor, Tensor]:
        """Query and key maps. (B, in, h, w) -> (B, d, h, w) twice."""
        key = self.key(pooled)
        return key if self.query is None else self.query(pooled), key

    def forward(self, features: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> (B, out_channels, H, W)."""
        query, key, value = self.transforms(features)
        columns = list(spans(value.shape[3], self.grid))
        context = _join(
            [
                _join([self._pool(query, key, value, row, column) for column in columns], 3)
                for row in spans(value.shape[2], self.grid)
            ],
            2,
        )
        return upsample(self.project(context), features.shape[-2:])

    def rows(self, features: Tensor, points: Tensor) -> Tensor:
        """What `forward` weighs every position with for some of them: those rows of the object context map alone.

        Args:
            features: (1, in_channels, H, W), what `forward` gets.
            points: (P, 2), (x, y) on the grid that the attention works on, h = H // downsample by w = W // downsample.

        Returns:
            (P, h, w), each row the softmax over the cell of its point and zero outside: its sum is 1.
        """
        query, key = self.query_key(self.pooled(features))
        rows = key.new_zeros(len(points), *key.shape[2:])
        for row, (x, y) in zip(rows, points.tolist(), strict=True):
            here = self.reach(x, y, key.shape[2:])
            similarity = torch.einsum("c,chw->hw", query[0, :, y, x], key[0, :, *here]) * key.shape[1] ** -0.5
            row[here] = similarity.flatten().softmax(0).view_as(similarity)
        return rows

    def reach(self, x: int, y: int, size: Sequence[int]) -> tuple[slice, slice]:
        """Rows and columns of a grid of such a size (h, w) that the attention of a position on it covers."""
        return cell_around(y, size[0], self.grid), cell_around(x, size[1], self.grid)

    def _pool(
        self, query: Tensor, key: Tensor, value: Tensor, row: tuple[slice, int], column: tuple[slice, int]
    ) -> Tensor:
        """Attention inside the cells of one run of rows and one of columns, all at once."""
        here = (slice(None), slice(None), row[0], column[0])
        cells = (row[1], column[1])
        keys = cell_tokens(key[here], cells)
        queries = keys if query is key else cell_tokens(query[here], cells)
        values = value[here]
        context = self.attend(queries, keys, cell_tokens(values, cells))
        return cell_image(context, cells, (values.shape[2], values.shape[3]))


def _join(parts: list[Tensor], dimension: int) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts, dimension)


Attended = list[tuple[ObjectContextPooling, Tensor]]
"""What a head's `attended(features)` gives: each of its poolings with the features (B, C, H, W) that it gets."""
