import pytest
import torch

from ocnet_pl.model.positions import Positions

PLACED = [
    Positions((9, 17), (64, 128), (64, 128)),
    Positions((4, 8), (64, 128), (64, 128)),
    Positions((60, 60), (31, 200), (473, 473)),  # fewer pixels than positions
    Positions((1, 3), (5, 7), (9, 20)),
]


@pytest.mark.parametrize("positions", PLACED)
def test_no_weight_is_lost_on_the_way_to_the_image(positions: Positions) -> None:
    weights = torch.rand(2, *positions.size, dtype=torch.float64)
    spread = positions.spread(weights)
    assert spread.shape == (2, *positions.image)
    torch.testing.assert_close(spread.sum((1, 2)), weights.sum((1, 2)))
    pixels = torch.rand(positions.image, dtype=torch.float64)
    torch.testing.assert_close((spread * pixels).sum((1, 2)), (weights * positions.average(pixels)).sum((1, 2)))
    torch.testing.assert_close(positions.average(torch.ones(positions.image)), torch.ones(positions.size))


def test_a_pixel_belongs_to_the_nearest_position_of_the_upsampling() -> None:
    positions = Positions((9, 17), (64, 128), (64, 128))
    x, y = torch.arange(128), torch.arange(64)
    at = positions.at(torch.cartesian_prod(x, y)).view(128, 64, 2)
    assert torch.equal(at[:, 0, 0], (x * 16 / 127).round().long())
    assert torch.equal(at[0, :, 1], (y * 8 / 63).round().long())
    for row in (0, 1, 8):  # it weighs on its own pixels; one in which it ends, it shares with the next
        spread = positions.spread(torch.eye(9 * 17).view(-1, 9, 17))[row * 17 + 3]
        assert spread[at[0, :, 1] == row].sum() > 0.85
    mx, my = positions.centres()
    assert (mx[0], mx[-1], my[0], my[-1]) == (0, 127, 0, 63)
