import pytest
import torch

from ocnet_pl.model.partition import cell_around, cell_image, cell_tokens, spans


def test_cells_there_and_back() -> None:
    features = torch.arange(2 * 3 * 4 * 6).view(2, 3, 4, 6).float()
    tokens = cell_tokens(features, (2, 3))
    assert tokens.shape == (12, 4, 3)
    assert tokens.is_contiguous()
    torch.testing.assert_close(tokens[1], features[0, :, 0:2, 2:4].flatten(1).T)
    torch.testing.assert_close(cell_image(tokens, (2, 3), (4, 6)), features)


@pytest.mark.parametrize(("length", "cells"), [(12, 3), (13, 3), (17, 6), (7, 1), (6, 6)])
def test_spans_are_the_authors_cells(length: int, cells: int) -> None:
    step = length // cells
    expected = [(i * step, length if i == cells - 1 else (i + 1) * step) for i in range(cells)]
    cut = []
    for where, count in spans(length, cells):
        width = (where.stop - where.start) // count
        cut += [(where.start + i * width, where.start + (i + 1) * width) for i in range(count)]
    assert cut == expected


@pytest.mark.parametrize(("length", "cells"), [(12, 3), (13, 3), (17, 6), (7, 1), (6, 6)])
def test_the_cell_around_a_position_is_that_of_the_forward_pass(length: int, cells: int) -> None:
    for where, count in spans(length, cells):
        step = (where.stop - where.start) // count
        for start in range(where.start, where.stop, step):
            for index in range(start, start + step):
                assert cell_around(index, length, cells) == slice(start, start + step)
