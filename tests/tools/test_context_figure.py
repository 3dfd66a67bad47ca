"""Labels and scales of a context figure."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from ocnet_pl.tools.explore.context_figure import context_figure, heat
from ocnet_pl.tools.explore.context_maps import ContextMaps, MapColumn, MarkedPixel
from ocnet_pl.tools.explore.measuring import Shares

IMAGE = np.zeros((8, 16, 3), np.uint8)


def figure_of(shares: Shares | None) -> Figure:
    maps = np.linspace(0, 5, 8 * 16, dtype=np.float32).reshape(1, 8, 16)
    truth = None if shares is None else IMAGE
    columns = [MapColumn("Base-OC", IMAGE, maps, [shares])]
    return context_figure(ContextMaps(IMAGE, truth, columns, [MarkedPixel(3, 4, "road")], [("road", IMAGE[0, 0])]))


@pytest.mark.parametrize(("shares", "explained"), [((0.5, 0.2), True), (None, False)])
def test_shares_are_explained_if_they_are_shown(shares: Shares | None, explained: bool) -> None:
    figure = figure_of(shares)
    (legend,) = figure.legends
    assert ("share of the weight on pixels" in legend.get_title().get_text()) is explained
    assert any("on own class" in axes.get_xlabel() for axes in figure.axes) is explained
    assert any("up to 5.0x" in axes.get_xlabel() for axes in figure.axes)


def test_each_map_is_scaled_to_its_own_maximum() -> None:
    weights = np.linspace(0, 1, 8 * 16, dtype=np.float32).reshape(8, 16)
    np.testing.assert_allclose(heat(weights, IMAGE), heat(7 * weights, IMAGE), rtol=1e-5)
