"""Partition of feature maps: the cells of Pyramid-OC (paper, section 3.2), and the interlaced groups of ISA."""

from collections.abc import Iterator

from torch import Tensor

from ocnet_pl.model.layers import symbolic


def cell_tokens(features: Tensor, cells: tuple[int, int]) -> Tensor:
    """Tokens of each cell, contiguous. (B, C, H, W) -> (B * cells, H * W / cells, C); cells must divide H and W."""
    rows, columns = cells
    grid = features.unflatten(3, (columns, -1)).unflatten(2, (rows, -1))  # B C r h c w
    return grid.permute(0, 2, 4, 3, 5, 1).flatten(3, 4).flatten(0, 2).contiguous()


def cell_image(tokens: Tensor, cells: tuple[int, int], size: tuple[int, int]) -> Tensor:
    """The inverse of `cell_tokens`. (B * cells, H * W / cells, C) -> (B, C, H, W)."""
    rows, columns = cells
    height, width = size[0] // rows, size[1] // columns
    grid = tokens.unflatten(1, (height, width)).unflatten(0, (-1, rows, columns))  # B r c h w C
    return grid.permute(0, 5, 1, 3, 2, 4).flatten(4, 5).flatten(2, 3)


def interlaced_tokens(features: Tensor, interval: tuple[int, int]) -> Tensor:
    """Tokens of each group, contiguous. (B, C, H, W) -> (B * groups, H * W / groups, C).

    A group holds the positions with the same (y mod rows, x mod columns), for an interval of (rows, columns), which
    must divide H and W.
    """
    rows, columns = interval
    grid = features.unflatten(3, (-1, columns)).unflatten(2, (-1, rows))  # B C h r w c
    return grid.permute(0, 3, 5, 2, 4, 1).flatten(3, 4).flatten(0, 2).contiguous()


def interlaced_image(tokens: Tensor, interval: tuple[int, int], size: tuple[int, int]) -> Tensor:
    """The inverse of `interlaced_tokens`. (B * groups, H * W / groups, C) -> (B, C, H, W)."""
    rows, columns = interval
    height, width = size[0] // rows, size[1] // columns
    grid = tokens.unflatten(1, (height, width)).unflatten(0, (-1, rows, columns))  # B r c h w C
    return grid.permute(0, 5, 3, 1, 4, 2).flatten(4, 5).flatten(2, 3)


def spans(length: int, cells: int) -> Iterator[tuple[slice, int]]:
    """Cut a side into runs of equal cells: (positions of the run, its number of cells).

    A cell has floor(length / cells) positions and the last one takes the remainder (authors' code): there is one run
    if the side is divisible, else two, as for a side that is a symbol.
    """
    step = length // cells
    if cells == 1 or (not symbolic([length]) and length % cells == 0):
        yield slice(0, length), cells
        return
    yield slice(0, step * (cells - 1)), cells - 1
    yield slice(step * (cells - 1), length), 1


def cell_around(index: int, length: int, cells: int) -> slice:
    """Cell that holds a position."""
    for where, count in spans(length, cells):
        if index < where.stop:
            step = (where.stop - where.start) // count
            start = index - (index - where.start) % step
            return slice(start, start + step)
    raise IndexError(f"position {index} of {length}")
